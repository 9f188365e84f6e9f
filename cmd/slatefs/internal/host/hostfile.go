package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteWhole replaces a file as a whole: who reads it, and who finds it after a power cut, has what it was before or all
// of b. On error what it was before is there still.
func WriteWhole(path string, b []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := writeSynced(tmp, b, mode); err != nil {
		return errors.Join(err, RemoveIfThere(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, RemoveIfThere(tmp))
	}
	return SyncDir(dir)
}

// writeSynced writes a new file, durably but for its name.
func writeSynced(path string, b []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// RemoveIfThere removes a file; that it is gone is no error.
func RemoveIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
