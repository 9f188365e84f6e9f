package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/show"
)

// What the host remembers of a pool is where it was: files are moved, devices change their names, and what lies there now may
// be another pool. The UUID is what was named. So commands reach the device of a pool through Reach only, which compares the
// UUID that lies there with the one that is meant before anything is done; a device that was named itself is what lies there.

// ErrOtherPool is for a device on which another pool lies than the one that is meant, or none.
var ErrOtherPool = errors.New("nothing was done")

// Reach opens the device of a pool that is not mounted. On return the pool that ref means lies on it, or, as far as can be
// told, what is left of that pool. A ref without a UUID means what lies there, whatever that is. release closes the device,
// and takes away the logical volume if it is there for this command; always: in any case. On an error there is nothing to
// release; errors are ErrOtherPool, ErrInUse, or the device's.
func (h Host) Reach(ctx context.Context, ref PoolRef, o blockdev.Options, always bool) (
	dev *blockdev.File, release func() error, err error,
) {
	undo, err := Activate(ctx, ref.Device, always)
	if err != nil {
		return nil, nil, err
	}
	if dev, err = h.OpenDevice(ref.Device, o); err != nil {
		return nil, nil, errors.Join(err, undo())
	}
	if err := ref.lies(dev); err != nil {
		return nil, nil, errors.Join(err, dev.Close(), undo())
	}
	return dev, func() error { return errors.Join(dev.Close(), undo()) }, nil
}

// lies refuses a device on which surely another pool lies, or none, or one that can't be told.
func (r PoolRef) lies(dev *blockdev.File) error {
	if r.UUID == uuid.Nil {
		return nil
	}
	i, _, err := super.Read(dev)
	there := "pool " + i.Name + " " + Paren(i.UUID)
	switch {
	case err == nil && i.UUID == r.UUID, err != nil && slices.Contains(super.Remains(dev), r.UUID):
		return nil
	case errors.Is(err, super.ErrNotPool):
		there = "no pool"
	case err != nil:
		return show.Hinted(fmt.Errorf("pool %s %s is expected on %s, and whether it lies there cannot be told: %w",
			r.Name, Paren(r.UUID), dev.Path(), err),
			"a path means what lies there, as %s", dev.Path())
	}
	return show.Hinted(fmt.Errorf("pool %s %s is expected on %s, and %s lies there: %w",
		r.Name, Paren(r.UUID), dev.Path(), there, ErrOtherPool),
		"slatefs pool import -d %s finds pools that were moved, slatefs pool forget %v forgets this one; a path means what lies there",
		filepath.Dir(dev.Path()), r.UUID)
}

// CopyOf refuses a pool that another device of this host has already: one of the two is a copy, and which one is not for us
// to say.
func (h Host) CopyOf(ctx context.Context, id uuid.UUID, device string) error {
	k, err := h.KnownAs(id)
	if err != nil || k.Device == device || SameDevice(k.Device, device) || !h.StillThere(ctx, k) {
		return nil // it was moved, or is new here
	}
	return show.Hinted(fmt.Errorf("pool %s %s lies on %s, and on %s too: one of them is a copy",
		k.Name, Paren(id), k.Device, device),
		"slatefs pool reguid %s makes that a pool of its own; with --adopt it is the pool from now on, and %s the copy",
		device, k.Device)
}

// StillThere tells whether a known pool may be where it was. Only what surely is not says no.
func (h Host) StillThere(ctx context.Context, k Known) bool {
	if n, ok := LVArgument(k.Device); ok { // which need not be active
		pools, err := LVPools(ctx)
		if err != nil || slices.ContainsFunc(LVsOf(pools, k.UUID), func(p LVPool) bool { return p.LV == n }) {
			return true
		}
	}
	i, err := Peek(k.Device)
	switch {
	case err == nil:
		return i.UUID == k.UUID
	case errors.Is(err, os.ErrNotExist), errors.Is(err, super.ErrNotPool), errors.Is(err, unix.ENOTDIR):
		return false
	}
	return true
}

// Remember makes a pool known as what lies on its device. What else was known to lie there is gone, and that is told. Other
// places are not looked at: one may be on a file system that does not answer.
func (h Host) Remember(k Known) error {
	for _, other := range h.KnownPools() {
		if other.UUID != k.UUID && other.Device == k.Device {
			h.Warn("pool %s %v, which was known to lie on %s, is forgotten: pool %s lies there",
				other.Name, Paren(other.UUID), other.Device, k.Name)
			if err := h.Forget(other.UUID); err != nil {
				return err
			}
		}
	}
	return h.Register(k)
}

// Gone forgets a pool that was on a device, and what else is known to lie there. A copy's end is not the pool's: what is known to
// lie elsewhere stays.
func (h Host) Gone(id uuid.UUID, device string) {
	for _, k := range h.KnownPools() {
		if k.Device == device || k.UUID == id && SameDevice(k.Device, device) {
			h.Drop(k.UUID)
		}
	}
}
