package main

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
	"slatefs/cmd/slatefs/internal/host"
)

// intentOf is an intent of this host, as a tag.
func (a *app) intentOf(intent string) (string, error) {
	me, err := a.host.MachineID()
	return intent + hex.EncodeToString(me[:]), err
}

// markEnding writes down that the pool on a device is to end, if that is a logical volume of a pool.
func (a *app) markEnding(ctx context.Context, device string) error {
	r, n, _, err := host.TaggedLV(ctx, device)
	if r == nil {
		return err
	}
	intent, err := a.intentOf(host.TagEnding)
	if err != nil {
		return err
	}
	return r.Tag(ctx, n, []string{intent}, nil)
}

// endLV ends a logical volume whose pool is gone: one that was made for it is removed, any other loses the tags and stays.
func (a *app) endLV(ctx context.Context, n lvm.Name) error {
	r, err := lvm.Find()
	if errors.Is(err, lvm.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	v, _, err := r.Volume(ctx, n)
	switch {
	case err != nil || !v.Tagged(host.TagPool):
		return err
	case v.Tagged(host.TagMade):
		return r.Remove(ctx, n)
	}
	if err := r.Tag(ctx, n, nil, host.OwnTags(v)); err != nil {
		return err
	}
	return a.note("the logical volume is left: lvremove %s", n)
}

// unfinished tells whether a command of this host began something with a volume and is not at it any more.
func (a *app) unfinished(p host.LVPool) bool {
	_, by, ok := strings.Cut(p.Intent, "=")
	me, err := a.host.MachineID()
	return ok && err == nil && by == hex.EncodeToString(me[:]) && !a.host.Held(p.UUID)
}

// finishLVs finishes what commands of this host began with logical volumes and did not end: they were killed, or the host
// crashed. What can't be finished is warned of, and in nobody's way but of who wants the same volume.
func (a *app) finishLVs(ctx context.Context) {
	pools, err := host.LVPools(ctx)
	if err != nil {
		a.warnOnce("pools on logical volumes may be unfinished: %v", err)
	}
	for _, p := range pools {
		if a.unfinished(p) {
			if err := a.finishLV(ctx, p); err != nil {
				a.warnOnce("%v", err)
			}
		}
	}
}

// finishLV undoes a pool that is not whole, and ends one that was to end.
func (a *app) finishLV(ctx context.Context, p host.LVPool) error {
	r, err := lvm.Find()
	if err != nil {
		return err
	}
	done := "was half-made, and is undone"
	switch {
	case strings.HasPrefix(p.Intent, host.TagEnding):
		done = "was half destroyed, and is gone now"
		err = a.endLV(ctx, p.LV)
	case strings.HasPrefix(p.Intent, host.TagMaking):
		err = r.Remove(ctx, p.LV)
	default:
		if err = a.wipeTaken(ctx, p); err == nil {
			err = r.Tag(ctx, p.LV, nil, host.OwnTags(p.Volume))
		}
	}
	if err != nil {
		return fmt.Errorf("pool %s on %s is unfinished, and can't be ended: %w", p.Name, p.LV, err)
	}
	a.forget(p.UUID)
	return a.note("pool %s on %s %s", p.Name, p.LV, done)
}

// wipeTaken takes the superblocks off a volume that was taken for a pool, if they are written already: else it would hold that
// pool still when its tags are gone.
func (a *app) wipeTaken(ctx context.Context, p host.LVPool) error {
	undo, err := host.Activate(ctx, p.Device, false)
	if err != nil {
		return err
	}
	dev, err := a.host.OpenDevice(p.Device, blockdev.Options{})
	if err != nil {
		return errors.Join(err, undo())
	}
	if _, id, bad := a.identify(dev); bad == nil && id == p.UUID {
		err = super.Wipe(dev)
	}
	return errors.Join(err, dev.Close(), undo())
}

// refuseUnfinished refuses a pool on a logical volume that is not whole yet or any more, and finishes one that nobody
// works on.
func (a *app) refuseUnfinished(ctx context.Context, f *finder, ref poolRef) error {
	n, ok := host.LVArgument(ref.device)
	if !ok {
		return nil
	}
	on := func(p host.LVPool) bool { return p.LV == n }
	pools, err := f.lvs()
	i := slices.IndexFunc(pools, on)
	if i < 0 && err != nil { // another group may be in trouble: this one counts
		if pools, err = host.LVPools(ctx, n.VG); err != nil {
			return err
		}
		i = slices.IndexFunc(pools, on)
	}
	switch {
	case i < 0 || pools[i].Intent == "":
		return nil
	case a.unfinished(pools[i]):
		return errors.Join(fmt.Errorf("pool %s on %s: a pool create or destroy did not come to its end", pools[i].Name, n), a.finishLV(ctx, pools[i]))
	}
	return fmt.Errorf("pool %s on %s: is being made or destroyed just now, here or on another host", pools[i].Name, n)
}
