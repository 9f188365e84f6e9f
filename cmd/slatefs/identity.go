package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// What the host remembers of a pool is where it was: files are moved, devices change their names, and what lies there now may
// be another pool. The UUID is what was named. So commands reach the device of a pool through reach only, which compares the
// UUID that lies there with the one that is meant before anything is done; a device that was named itself is what lies there.

// errOtherPool is for a device on which another pool lies than the one that is meant, or none.
var errOtherPool = errors.New("nothing was done")

// reach opens the device of a pool that is not mounted. On return the pool that ref means lies on it, or, as far as can be
// told, what is left of that pool. A ref without a UUID means what lies there, whatever that is. release closes the device,
// and takes away the logical volume if it is there for this command; always: in any case.
func (a *app) reach(ctx context.Context, ref poolRef, o blockdev.Options, always bool) (dev *blockdev.File, release func() error, err error) {
	undo, err := host.Activate(ctx, ref.device, always)
	if err != nil {
		return nil, nil, err
	}
	if dev, err = a.host.OpenDevice(ref.device, o); err != nil {
		return nil, nil, errors.Join(err, undo())
	}
	if err := ref.lies(dev); err != nil {
		return nil, nil, errors.Join(err, dev.Close(), undo())
	}
	return dev, func() error { return errors.Join(dev.Close(), undo()) }, nil
}

// lies refuses a device on which surely another pool lies, or none, or one that can't be told.
func (r poolRef) lies(dev *blockdev.File) error {
	if r.id == uuid.Nil {
		return nil
	}
	i, err := chain.Identify(dev)
	there := "pool " + i.Name + " " + paren(i.UUID)
	switch {
	case err == nil && i.UUID == r.id, err != nil && slices.Contains(super.Remains(dev), r.id):
		return nil
	case errors.Is(err, chain.ErrNotPool):
		there = "no pool"
	case err != nil:
		return show.Hinted(fmt.Errorf("pool %s %s is expected on %s, and whether it lies there cannot be told: %w", r.name, paren(r.id), dev.Path(), err),
			"a path means what lies there, as %s", dev.Path())
	}
	return show.Hinted(fmt.Errorf("pool %s %s is expected on %s, and %s lies there: %w", r.name, paren(r.id), dev.Path(), there, errOtherPool),
		"slatefs pool import -d %s finds pools that were moved, slatefs pool forget %v forgets this one; a path means what lies there", filepath.Dir(dev.Path()), r.id)
}

func paren(id uuid.UUID) string { return "(" + id.String() + ")" }

// peeked is a device that was opened to look at its superblocks.
type peeked struct {
	*os.File
	size int64
}

// Size is a size that has room for superblocks: for a look at them it need not be right.
func (p peeked) Size() int64 { return p.size }

// peek looks at the superblocks of a device or file, without a lock, and changes nothing: to tell what lies there, not to
// work on it. What is neither a block device nor a regular file is not opened. errSilent: it answers nothing.
func peek(path string) (chain.Identity, error) { return within(path, peekTime, peekAt) }

// peekTime is how long a device may take to show its superblocks: one that hangs must not hide the others.
const peekTime = 10 * time.Second

// errSilent is for a device that does not answer in time.
var errSilent = errors.New("does not answer")

// within looks at a device, and leaves the look alone when it takes too long.
func within(path string, limit time.Duration, look func(string) (chain.Identity, error)) (chain.Identity, error) {
	type seen struct {
		i   chain.Identity
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
		return chain.Identity{}, fmt.Errorf("%s: %w", path, errSilent)
	}
}

func peekAt(path string) (i chain.Identity, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return i, err
	}
	size := st.Size()
	switch {
	case st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0:
		size = super.Bytes
	case !st.Mode().IsRegular():
		return i, fmt.Errorf("%s: %w", path, chain.ErrNotPool)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return i, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	return chain.Identify(peeked{f, size})
}

// sameDevice tells whether two paths lead to one device, or one is a loop device over the other.
func sameDevice(one, other string) bool {
	a, errA := backing(one)
	b, errB := backing(other)
	return errA == nil && errB == nil && a == b
}

// backing is the identity of a device, of a loop device that of its file.
func backing(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		file, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/loop/backing_file", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
		if err == nil {
			return host.DeviceIdentity(strings.TrimSuffix(string(file), "\n"))
		}
	}
	return host.DeviceIdentity(path)
}

// copyOf refuses a pool that another device of this host has already: one of the two is a copy, and which one is not for us
// to say.
func (a *app) copyOf(ctx context.Context, id uuid.UUID, device string) error {
	k, err := a.host.KnownAs(id)
	if err != nil || k.Device == device || sameDevice(k.Device, device) || !a.stillThere(ctx, k) {
		return nil // it was moved, or is new here
	}
	return show.Hinted(fmt.Errorf("pool %s %s lies on %s, and on %s too: one of them is a copy", k.Name, paren(id), k.Device, device),
		"slatefs pool reguid %s makes that a pool of its own; with --adopt it is the pool from now on, and %s the copy", device, k.Device)
}

// stillThere tells whether a known pool may be where it was. Only what surely is not says no.
func (a *app) stillThere(ctx context.Context, k host.Known) bool {
	if n, ok := host.LVArgument(k.Device); ok { // which need not be active
		pools, err := host.LVPools(ctx)
		if err != nil || slices.ContainsFunc(host.LVsOf(pools, k.UUID), func(p host.LVPool) bool { return p.LV == n }) {
			return true
		}
	}
	i, err := peek(k.Device)
	switch {
	case err == nil:
		return i.UUID == k.UUID
	case errors.Is(err, os.ErrNotExist), errors.Is(err, chain.ErrNotPool), errors.Is(err, unix.ENOTDIR):
		return false
	}
	return true
}

// remember makes a pool known as what lies on its device. What else was known to lie there is gone, and that is told. Other places
// are not looked at: one may be on a file system that does not answer.
func (a *app) remember(k host.Known) error {
	for _, other := range a.knownPools() {
		if other.UUID != k.UUID && other.Device == k.Device {
			a.warnOnce("pool %s %v, which was known to lie on %s, is forgotten: pool %s lies there", other.Name, paren(other.UUID), other.Device, k.Name)
			if err := a.host.Forget(other.UUID); err != nil {
				return err
			}
		}
	}
	return a.host.Register(k)
}

// gone forgets a pool that was on a device, and what else is known to lie there. A copy's end is not the pool's: what is known to
// lie elsewhere stays.
func (a *app) gone(id uuid.UUID, device string) {
	for _, k := range a.knownPools() {
		if k.Device == device || k.UUID == id && sameDevice(k.Device, device) {
			a.forget(k.UUID)
		}
	}
}
