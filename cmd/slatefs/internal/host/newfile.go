package host

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// NewFile is a file that is to be: under its name it is not there before it is whole and durable, whatever ends the process.
// Then it is there, and takes the place of no other.
type NewFile struct {
	*os.File
	path string
	over bool // it was kept, or dropped
}

// CreateNew makes a file with mode 0600, which must not exist. Its owner writes it, and keeps or drops it.
func CreateNew(path string) (*NewFile, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: unix.EEXIST}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".slatefs-*.tmp")
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: errors.Unwrap(err)}
	}
	return &NewFile{File: f, path: path}, nil
}

// Keep makes it durable, under its name. On error it is not there, unless it is just not known to be durable.
func (f *NewFile) Keep() error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return errors.Join(err, f.Drop())
	}
	if err := renameNew(f.Name(), f.path); err != nil {
		return errors.Join(err, f.Drop())
	}
	f.over = true
	return SyncDir(filepath.Dir(f.path))
}

// Drop takes it away, if it was not kept.
func (f *NewFile) Drop() error {
	if f == nil || f.over {
		return nil
	}
	f.over = true
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return errors.Join(err, RemoveIfThere(f.Name()))
	}
	return RemoveIfThere(f.Name())
}

// renameNew renames a file to a name that nothing has. Where the file system cannot promise that it is looked at first.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		if _, err = os.Lstat(to); err == nil {
			err = unix.EEXIST
		} else {
			err = unix.Rename(from, to)
		}
	}
	if err != nil {
		return &os.PathError{Op: "create", Path: to, Err: err}
	}
	return nil
}
