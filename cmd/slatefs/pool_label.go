package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) poolRenameCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "rename POOL NEWNAME",
		Short: "Give a pool another name",
		Long: `Gives a pool that is not mounted another name: on its device, in the tags of its logical volume, and on this host. Its UUID
stays.`,
		Example: `  slatefs pool rename lab old-lab
  slatefs pool rename ./copy.pool lab2              # by its device`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			if err := chain.CheckPoolName(args[1]); err != nil || !poolName.MatchString(args[1]) {
				return show.Usagef("pool name %q: want letters, digits, and - _ . : inside, at most 100", args[1])
			}
			return a.relabel(ctx, args[0], newLabel{name: args[1]})
		}),
	}
}

func (a *app) poolReguidCmd() *cobra.Command {
	var take bool
	cmd := &cobra.Command{
		Use:   "reguid [--take-over] DEVICE",
		Short: "Make a copy of a pool a pool of its own",
		Long: `Gives the pool on a device a new UUID, as a copy of a pool needs one: two with the same are refused on a host. The pool must
not be mounted; of a copy that is a file the original may be. Its name stays, see pool rename. The UUIDs of its volumes and
snapshots follow from the pool's, and are new as well, also in what its erase log tells.

What this host knows of the pool (its name, its settings) goes with the new UUID, unless it is known to lie elsewhere: then
the device has a copy, and is not known until it is mounted or imported. A copy of a pool that was mounted on another host says
that this host holds it: --take-over is for those who know that it is a copy.`,
		Example: `  slatefs pool reguid ./copy.pool
  slatefs pool reguid vg0/restored`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			if !host.IsPath(args[0]) && !strings.Contains(args[0], "/") {
				return show.Hinted(show.Usagef("%s: is no device", args[0]), "a path starts with / or ./; an LV is VG/LV")
			}
			id, err := uuid.NewRandom()
			if err != nil {
				return err
			}
			return a.relabel(ctx, args[0], newLabel{id: id, take: take})
		}),
	}
	cmd.Flags().BoolVar(&take, "take-over", false, "even if another host holds the pool, of which this is a copy")
	return cmd
}

// newLabel is what a pool gets; what is empty or zero stays.
type newLabel struct {
	name string
	id   uuid.UUID
	take bool // even if another host holds it
}

// relabel gives a pool that is not mounted another name or UUID.
func (a *app) relabel(ctx context.Context, arg string, n newLabel) error {
	f, ref, err := a.unmounted(arg)
	if err != nil {
		return err
	}
	if err := a.host.RefuseUnfinished(ctx, f, ref); err != nil {
		return err
	}
	if n.name != "" {
		if err := a.nameFree(ctx, n.name, ref.Device); err != nil {
			return err
		}
	}
	return a.relabelOn(ctx, ref, n)
}

func (a *app) relabelOn(ctx context.Context, ref host.PoolRef, n newLabel) (err error) {
	dev, release, err := a.host.Reach(ctx, ref, blockdev.Options{}, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	oldName, old, err := host.Identify(dev)
	if err != nil {
		return err
	}
	unlock, err := a.lockCopy(old, dev)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	k, knownErr := a.host.KnownAs(old)
	moves := knownErr == nil && (k.Device == ref.Device || host.SameDevice(k.Device, ref.Device))
	me, err := a.host.AsHolder(a.now())
	if err != nil {
		return err
	}
	err = chain.Relabel(dev, chain.Options{Properties: control.Served, Now: a.now, Host: me, TakeOver: n.take}, n.name, n.id)
	switch {
	case errors.Is(err, chain.ErrHeld) && n.id != uuid.Nil:
		return show.Hinted(err, "if this is a copy of that pool: slatefs pool reguid --take-over %s", ref.Device)
	case err != nil:
		return host.TakeOverHint(err, oldName)
	}
	now, newID, err := host.Identify(dev)
	if err == nil {
		err = a.relabelLV(ctx, ref.Device, now, newID)
	}
	if err != nil {
		return err
	}
	if moves {
		if k.UUID, k.Name = newID, now; newID != old {
			a.host.Drop(old)
			a.host.MoveSettings(old, newID)
		}
		err = a.host.Remember(k)
	}
	if err == nil {
		_, err = fmt.Fprint(a.stdout, show.Printable("pool %s, UUID %v, was %s, %v\n", now, newID, oldName, old))
	}
	return err
}

// lockCopy takes the lock of a pool, or, where a daemon has it, makes sure that dev is another file than the daemon's, and so a
// copy. Of two block devices that can't be told: one may lie on the other.
func (a *app) lockCopy(id uuid.UUID, dev *blockdev.File) (unlock func() error, err error) {
	lock, err := a.host.LockPool(id)
	if err == nil {
		return lock.Release, nil
	}
	if l, ok := a.host.Live(id); ok && l.IsCopy(dev) {
		return func() error { return nil }, nil
	}
	return nil, err
}

// relabelLV brings the tags of a pool's logical volume up to date.
func (a *app) relabelLV(ctx context.Context, device, name string, id uuid.UUID) error {
	r, n, v, err := host.TaggedLV(ctx, device)
	if r == nil {
		return err
	}
	tags := []string{host.TagUUID + id.String(), host.TagName + name}
	old := slices.DeleteFunc(slices.Clone(v.Tags), func(t string) bool {
		_, err := uuid.Parse(strings.TrimPrefix(t, host.TagUUID))
		return !strings.HasPrefix(t, host.TagName) && (!strings.HasPrefix(t, host.TagUUID) || err != nil)
	})
	return r.Tag(ctx, n, lacking(tags, v.Tags), lacking(old, tags))
}

func (a *app) poolForgetCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME|UUID",
		Short: "Make this host forget a pool",
		Long: `Takes a pool out of those that this host knows. Nothing is changed on its device, which may be gone; pool import makes it
known again. A pool on a logical volume is still found by its tags. Settings that this host keeps for the pool stay.`,
		Example: `  slatefs pool forget lab`,
		Args:    arguments(1, 1),
		RunE: plain(func(_ context.Context, args []string) error {
			k, err := a.knownOne(args[0])
			if err != nil {
				return err
			}
			if l, ok := a.host.Live(k.UUID); ok {
				return show.Hinted(host.InUse(l), "slatefs umount %s", l.Dir)
			}
			return a.host.Forget(k.UUID)
		}),
	}
}

// knownOne finds the one known pool of a name or UUID.
func (a *app) knownOne(arg string) (host.Known, error) {
	if id, err := uuid.Parse(arg); err == nil {
		if k, err := a.host.KnownAs(id); err == nil {
			return k, nil
		}
	}
	same := slices.DeleteFunc(a.host.KnownPools(), func(k host.Known) bool { return k.Name != arg })
	switch len(same) {
	case 0:
		return host.Known{}, show.Hinted(fmt.Errorf("%s: %w", arg, host.ErrUnknown), "slatefs pool list shows the known ones")
	case 1:
		return same[0], nil
	}
	return host.Known{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the UUID, %v or %v",
		len(same), arg, same[0].Device, same[1].Device, same[0].UUID, same[1].UUID)
}
