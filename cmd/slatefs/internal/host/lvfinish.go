package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/chain/blockdev"
	"slatefs/chain/lvm"
	"slatefs/chain/super"
)

// intentOf is an intent of this host, as a tag.
func (h Host) intentOf(intent string) (string, error) {
	me, err := h.MachineID()
	return intent + hex.EncodeToString(me[:]), err
}

// MarkEnding writes down that the pool on a device is to end, if that is a logical volume of a pool.
func (h Host) MarkEnding(ctx context.Context, device string) error {
	r, n, _, err := TaggedLV(ctx, device)
	if r == nil {
		return err
	}
	intent, err := h.intentOf(TagEnding)
	if err != nil {
		return err
	}
	return r.Tag(ctx, n, []string{intent}, nil)
}

// EndLV ends a logical volume whose pool is gone: one that was made for it is removed, any other loses the tags and stays.
func (h Host) EndLV(ctx context.Context, n lvm.Name) error {
	r, err := lvm.Find()
	if errors.Is(err, lvm.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	v, _, err := r.Volume(ctx, n)
	switch {
	case err != nil || !v.Tagged(TagPool):
		return err
	case v.Tagged(TagMade):
		return r.Remove(ctx, n)
	}
	if err := r.Tag(ctx, n, nil, OwnTags(v)); err != nil {
		return err
	}
	return h.Note("the logical volume is left: lvremove %s", n)
}

// unfinished tells whether a command of this host began something with a volume and is not at it any more.
func (h Host) unfinished(p LVPool) bool {
	_, by, ok := strings.Cut(p.Intent, "=")
	me, err := h.MachineID()
	return ok && err == nil && by == hex.EncodeToString(me[:]) && !h.Held(p.UUID)
}

// FinishLVs finishes what commands of this host began with logical volumes and did not end: they were killed, or the host
// crashed. What can't be finished is warned of, and in nobody's way but of who wants the same volume.
func (h Host) FinishLVs(ctx context.Context) {
	pools, err := LVPools(ctx)
	if err != nil {
		h.Warn("pools on logical volumes may be unfinished: %v", err)
	}
	for _, p := range pools {
		if h.unfinished(p) {
			if err := h.finishLV(ctx, p); err != nil {
				h.Warn("%v", err)
			}
		}
	}
}

// finishLV undoes a pool that is not whole, and ends one that was to end.
func (h Host) finishLV(ctx context.Context, p LVPool) error {
	r, err := lvm.Find()
	if err != nil {
		return err
	}
	done := "was half-made, and is undone"
	switch {
	case strings.HasPrefix(p.Intent, TagEnding):
		done = "was half destroyed, and is gone now"
		err = h.EndLV(ctx, p.LV)
	case strings.HasPrefix(p.Intent, TagMaking):
		err = r.Remove(ctx, p.LV)
	default:
		if err = h.wipeTaken(ctx, p); err == nil {
			err = r.Tag(ctx, p.LV, nil, OwnTags(p.Volume))
		}
	}
	if err != nil {
		return fmt.Errorf("pool %s on %s is unfinished, and can't be ended: %w", p.Name, p.LV, err)
	}
	h.Drop(p.UUID)
	return h.Note("pool %s on %s %s", p.Name, p.LV, done)
}

// wipeTaken takes the superblocks off a volume that was taken for a pool, if they are written already: else it would hold that
// pool still when its tags are gone.
func (h Host) wipeTaken(ctx context.Context, p LVPool) error {
	undo, err := Activate(ctx, p.Device, false)
	if err != nil {
		return err
	}
	dev, err := h.OpenDevice(p.Device, blockdev.Options{})
	if err != nil {
		return errors.Join(err, undo())
	}
	if _, id, bad := Identify(dev); bad == nil && id == p.UUID {
		err = super.Wipe(dev)
	}
	return errors.Join(err, dev.Close(), undo())
}

// RefuseUnfinished refuses a pool on a logical volume that is not whole yet or any more, and finishes one that nobody
// works on.
func (h Host) RefuseUnfinished(ctx context.Context, f *Finder, ref PoolRef) error {
	n, ok := LVArgument(ref.Device)
	if !ok {
		return nil
	}
	on := func(p LVPool) bool { return p.LV == n }
	pools, err := f.LVs()
	i := slices.IndexFunc(pools, on)
	if i < 0 && err != nil { // another group may be in trouble: this one counts
		if pools, err = LVPools(ctx, n.VG); err != nil {
			return err
		}
		i = slices.IndexFunc(pools, on)
	}
	switch {
	case i < 0 || pools[i].Intent == "":
		return nil
	case h.unfinished(pools[i]):
		return errors.Join(fmt.Errorf("pool %s on %s: a pool create or destroy did not come to its end", pools[i].Name, n),
			h.finishLV(ctx, pools[i]))
	}
	return fmt.Errorf("pool %s on %s: is being made or destroyed just now, here or on another host", pools[i].Name, n)
}
