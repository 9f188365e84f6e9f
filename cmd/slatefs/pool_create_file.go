package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// planFile checks the size of a new file.
func (n *newPool) planFile(f poolCreateFlags) error {
	switch {
	case isDeviceName(n.device):
		return fmt.Errorf("%s: no such device", n.device)
	case !f.size.Given:
		return show.Usagef("%s: does not exist; --size makes a new file, as --size 20G", n.device)
	case f.zeroNow || f.assumeZero:
		return show.Usagef("%s: --zero-now and --assume-zero are for devices; a new file is zeros", n.device)
	case f.size.Bytes%chain.BlockSize != 0:
		return show.Usagef("--size %d: must be a multiple of %s", f.size.Bytes, show.FormatSize(chain.BlockSize))
	}
	n.file = f.size.Bytes
	if err := bigEnough(n.file); err != nil {
		return err
	}
	return n.roomForFile()
}

// isDeviceName tells whether a path that is not there could only be a device: it lies below /dev, and on no other file
// system than /dev itself, as /dev/shm is.
func isDeviceName(path string) bool {
	var dev, dir unix.Stat_t
	if !strings.HasPrefix(path, "/dev/") {
		return false
	}
	err := errors.Join(unix.Stat("/dev", &dev), unix.Stat(filepath.Dir(path), &dir))
	return err != nil || dev.Dev == dir.Dev
}

// roomForFile refuses a file of zeros that surely does not fit: writing it would fill the file system before it fails.
func (n *newPool) roomForFile() error {
	if n.sparse {
		return nil
	}
	dir := filepath.Dir(n.device)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if free := st.Bavail * uint64(st.Frsize); uint64(n.file) > free {
		return show.Hinted(fmt.Errorf("%s: has %s free, a pool file of %s does not fit",
			dir, show.FormatSize(int64(free)), show.FormatSize(n.file)),
			"--sparse makes a file that takes its space when it is written to")
	}
	return nil
}

// The name of a pool file that is being made: hidden, with the process that makes it.
const (
	makingPrefix = ".slatefs-making-"
	makingSuffix = ".pool"
)

// makeInFile makes the pool in a new file, which gets its name when the pool is whole.
func (a *app) makeInFile(ctx context.Context, n newPool, id uuid.UUID) error {
	dir := filepath.Dir(n.device)
	tmp := filepath.Join(dir, fmt.Sprintf("%s%d-%v%s", makingPrefix, os.Getpid(), id, makingSuffix))
	dev, err := a.createFile(ctx, tmp, n)
	if err != nil {
		return err
	}
	err = mayLay(dev, n)
	if err == nil {
		err = a.layPool(ctx, dev, n, id)
	}
	if err == nil {
		err = renameNew(tmp, n.device)
	}
	if err != nil {
		return errors.Join(err, dev.Close(), host.RemoveIfThere(tmp))
	}
	// The lock goes last: it tells that somebody is at work.
	return errors.Join(host.SyncDir(dir), dev.Close())
}

// renameNew gives a file its name, if nobody else has it.
func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // this file system has no such rename
		if _, err := os.Lstat(to); err == nil {
			return fmt.Errorf("%s: %w", to, os.ErrExist)
		}
		err = os.Rename(from, to)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	return nil
}

// clearHalfMade removes what a pool create that was killed left in a directory: files that nobody has locked, of processes that
// are not there. What can't be removed is in nobody's way.
func (a *app) clearHalfMade(dir string) {
	paths, err := filepath.Glob(filepath.Join(globEscape(dir), makingPrefix+"*"+makingSuffix))
	if err != nil {
		return // the pattern is well-formed
	}
	for _, path := range paths {
		size, err := removeHalfMade(path)
		switch {
		case err != nil:
			a.warnOnce("a pool create that was killed has left %s: %v", path, err)
		case size >= 0:
			a.warnOnce("a pool create was killed, what it left is removed: %s, %s", path, show.FormatSize(size))
		}
	}
}

// globEscape makes a path a pattern that means it.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// removeHalfMade removes a half-made pool file and returns its size; negative: somebody is at work on it.
func removeHalfMade(path string) (int64, error) {
	text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), makingPrefix), "-")
	pid, err := strconv.Atoi(text)
	if err != nil || pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		return -1, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // nothing was written
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return -1, nil // in another process namespace
	}
	st, err := f.Stat()
	if err != nil {
		return -1, err
	}
	return st.Size(), os.Remove(path)
}

// createFile makes a file for a new pool, and shows progress when that takes long. When ctx ends the file is removed; the
// process is to end then, for what writes it goes on.
func (a *app) createFile(ctx context.Context, path string, n newPool) (*blockdev.File, error) {
	type result struct {
		f   *blockdev.File
		err error
	}
	done := make(chan result, 1)
	go func() {
		f, err := blockdev.Create(path, n.file, n.sparse)
		done <- result{f, err}
	}()
	var bar *show.Progress
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for start := a.now(); ; {
		select {
		case r := <-done:
			switch {
			case bar == nil:
			case r.err == nil:
				return r.f, errors.Join(bar.Set(n.file, n.file), bar.End())
			default: // as far as it came
				return r.f, errors.Join(r.err, bar.End())
			}
			return r.f, r.err
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), host.RemoveIfThere(path))
		case <-t.C:
			if bar == nil && a.now().Sub(start) > 2*time.Second {
				bar = show.NewProgress(a.stderr, a.now, "zeros")
				bar.Began(start) // its rate counts the time before it was shown
			}
			if st, err := os.Stat(path); err == nil && bar != nil {
				if err := bar.Set(st.Size(), n.file); err != nil {
					return nil, err
				}
			}
		}
	}
}
