package host

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
	"slatefs/chain/super"
)

// Identify reads name and UUID of the pool on an open device. It changes nothing.
func Identify(dev *blockdev.File) (name string, id uuid.UUID, err error) {
	i, _, err := super.Read(dev)
	if err != nil {
		return "", id, fmt.Errorf("%s: %w", dev.Path(), err)
	}
	return i.Name, i.UUID, nil
}

// peeked is a device that was opened to look at its superblocks.
type peeked struct {
	*os.File
	size int64
}

// Size is a size that has room for superblocks: for a look at them it need not be right.
func (p peeked) Size() int64 { return p.size }

// Peek looks at the superblocks of a device or file, without a lock, and changes nothing: to tell what lies there, not to
// work on it. What is neither a block device nor a regular file is not opened. ErrSilent: it answers nothing.
func Peek(path string) (super.Block, error) { return within(path, peekTime, peekAt) }

// peekTime is how long a device may take to show its superblocks: one that hangs must not hide the others.
const peekTime = 10 * time.Second

// ErrSilent is for a device that does not answer in time.
var ErrSilent = errors.New("does not answer")

// within looks at a device, and leaves the look alone when it takes too long.
func within(path string, limit time.Duration, look func(string) (super.Block, error)) (super.Block, error) {
	type seen struct {
		i   super.Block
		err error
	}
	done := make(chan seen, 1)
	go func() {
		i, err := look(path)
		done <- seen{i, err}
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case s := <-done:
		return s.i, s.err
	case <-t.C:
		return super.Block{}, fmt.Errorf("%s: %w", path, ErrSilent)
	}
}

func peekAt(path string) (i super.Block, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return i, err
	}
	size := st.Size()
	switch {
	case st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0:
		size = super.Bytes
	case !st.Mode().IsRegular():
		return i, fmt.Errorf("%s: %w", path, super.ErrNotPool)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return i, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	i, _, err = super.Read(peeked{f, size})
	return i, err
}

// SameDevice tells whether two paths lead to one device, or one is a loop device over the other.
func SameDevice(one, other string) bool {
	a, errA := Backing(one)
	b, errB := Backing(other)
	return errA == nil && errB == nil && a == b
}

// Backing is the identity of a device, of a loop device that of its file.
func Backing(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		file, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/loop/backing_file", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
		if err == nil {
			return DeviceIdentity(strings.TrimSuffix(string(file), "\n"))
		}
	}
	return DeviceIdentity(path)
}
