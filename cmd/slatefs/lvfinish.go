package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/lvm"
)

// intentOf is an intent of this host, as a tag.
func (a *app) intentOf(intent string) (string, error) {
	me, err := a.host.machineID()
	return intent + hex.EncodeToString(me[:]), err
}

// markEnding writes down that the pool on a device is to end, if that is a logical volume of a pool.
func (a *app) markEnding(ctx context.Context, device string) error {
	r, n, _, err := taggedLV(ctx, device)
	if r == nil {
		return err
	}
	intent, err := a.intentOf(tagEnding)
	if err != nil {
		return err
	}
	return r.Tag(ctx, n, []string{intent}, nil)
}

// taggedLV is the logical volume of a pool that lies at a device, and what runs lvm2 for it; nil: there is none, or an
// error.
func taggedLV(ctx context.Context, device string) (*lvm.Runner, lvm.Name, lvm.Volume, error) {
	n, ok := lvArgument(device)
	if !ok {
		return nil, n, lvm.Volume{}, nil
	}
	r, err := lvm.Find()
	if errors.Is(err, lvm.ErrMissing) {
		return nil, n, lvm.Volume{}, nil
	}
	if err != nil {
		return nil, n, lvm.Volume{}, err
	}
	v, _, err := r.Volume(ctx, n)
	if err != nil || !v.Tagged(tagPool) {
		return nil, n, v, err
	}
	return r, n, v, nil
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
	case err != nil || !v.Tagged(tagPool):
		return err
	case v.Tagged(tagMade):
		return r.Remove(ctx, n)
	}
	if err := r.Tag(ctx, n, nil, ownTags(v)); err != nil {
		return err
	}
	return a.note("the logical volume is left: lvremove %s", n)
}

// ownTags are the tags of a volume that are slatefs's.
func ownTags(v lvm.Volume) []string {
	return slices.DeleteFunc(slices.Clone(v.Tags), func(t string) bool { return t != tagPool && !strings.HasPrefix(t, tagUUID) })
}

// unfinished tells whether a command of this host began something with a volume and is not at it any more.
func (a *app) unfinished(p lvPool) bool {
	_, by, ok := strings.Cut(p.intent, "=")
	me, err := a.host.machineID()
	return ok && err == nil && by == hex.EncodeToString(me[:]) && !held(a.host.lockPath(p.UUID))
}

// finishLVs finishes what commands of this host began with logical volumes and did not end: they were killed, or the host
// crashed. What can't be finished is warned of, and in nobody's way but of who wants the same volume.
func (a *app) finishLVs(ctx context.Context) {
	pools, err := lvPools(ctx)
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
func (a *app) finishLV(ctx context.Context, p lvPool) error {
	r, err := lvm.Find()
	if err != nil {
		return err
	}
	done := "was half-made, and is undone"
	switch {
	case strings.HasPrefix(p.intent, tagEnding):
		done = "was half destroyed, and is gone now"
		err = a.endLV(ctx, p.lv)
	case strings.HasPrefix(p.intent, tagMaking):
		err = r.Remove(ctx, p.lv)
	default:
		if err = a.wipeTaken(ctx, p); err == nil {
			err = r.Tag(ctx, p.lv, nil, ownTags(p.vol))
		}
	}
	if err != nil {
		return fmt.Errorf("pool %s on %s is unfinished, and can't be ended: %w", p.Name, p.lv, err)
	}
	a.forget(p.UUID)
	return a.note("pool %s on %s %s", p.Name, p.lv, done)
}

// wipeTaken takes the superblocks off a volume that was taken for a pool, if they are written already: else it would hold that
// pool still when its tags are gone.
func (a *app) wipeTaken(ctx context.Context, p lvPool) error {
	undo, err := activate(ctx, p.Device, false)
	if err != nil {
		return err
	}
	dev, err := a.host.openDevice(p.Device, blockdev.Options{})
	if err != nil {
		return errors.Join(err, undo())
	}
	if _, id, bad := a.identify(dev); bad == nil && id == p.UUID {
		err = chain.Wipe(dev)
	}
	return errors.Join(err, dev.Close(), undo())
}

// refuseUnfinished refuses a pool on a logical volume that is not whole yet or any more, and finishes one that nobody
// works on.
func (a *app) refuseUnfinished(ctx context.Context, f *finder, ref poolRef) error {
	n, ok := lvArgument(ref.device)
	if !ok {
		return nil
	}
	on := func(p lvPool) bool { return p.lv == n }
	pools, err := f.lvs()
	i := slices.IndexFunc(pools, on)
	if i < 0 && err != nil { // another group may be in trouble: this one counts
		if pools, err = lvPools(ctx, n.VG); err != nil {
			return err
		}
		i = slices.IndexFunc(pools, on)
	}
	switch {
	case i < 0 || pools[i].intent == "":
		return nil
	case a.unfinished(pools[i]):
		return errors.Join(fmt.Errorf("pool %s on %s: a pool create or destroy did not come to its end", pools[i].Name, n), a.finishLV(ctx, pools[i]))
	}
	return fmt.Errorf("pool %s on %s: is being made or destroyed just now, here or on another host", pools[i].Name, n)
}
