package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

const poolExtendHelp = `Makes a pool larger: to S, or by S with +S, or, without a size, as large as its device is. Of a logical volume LVM is asked
for the space first; a pool file grows by zeros; any other device must have been made larger before. It works on a mounted
pool, with I/O running. What a device gains can be used at once, and is erased in the background.

A pool also grows by itself: see the properties autoextend_threshold, autoextend_percent and autoextend_max.`

func (a *app) poolExtendCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "extend POOL [[+]S]",
		Short: "Make a pool larger",
		Long:  poolExtendHelp,
		Example: `  slatefs pool extend vms +20G
  slatefs pool extend /dev/sdb                      # after the LUN was made larger
  slatefs set autoextend_threshold=80 autoextend_max=2T vms`,
		Args:              arguments(1, 2),
		ValidArgsFunction: a.completePools(0),
		RunE: plain(func(ctx context.Context, args []string) error {
			var e control.ExtendArgs
			if len(args) == 2 {
				text, more := strings.CutPrefix(args[1], "+")
				n, err := show.ParseSize(text)
				if err != nil {
					return err
				}
				if n%chain.BlockSize != 0 || n == 0 {
					return show.Usagef("size %s: must be a multiple of %s", args[1], show.FormatSize(chain.BlockSize))
				}
				e = control.ExtendArgs{Size: n, More: more}
			}
			return resizePool(ctx, a, args[0], control.Extend, e, func(ctx context.Context, g *grower) (r control.PoolSize, err error) {
				return g.extendOp(ctx, control.Peer{}, e)
			})
		}),
	}
}

func (a *app) poolReduceCmd() *cobra.Command {
	var least show.Size
	var most bool
	cmd := &cobra.Command{
		Use:   "reduce --min|--size S POOL",
		Short: "Give the free end of a pool back to the volume group",
		Long: `Makes a pool on a logical volume smaller: the end of it that holds nothing and is erased goes back to the volume group, down
to S, or as far as it goes. Nothing is moved for that; what is promised to volumes stays. It works on a mounted pool.`,
		Example: `  slatefs pool reduce --min vms
  slatefs pool reduce --size 100G vms`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePools(0),
		RunE: plain(func(ctx context.Context, args []string) error {
			if most == least.Given {
				return show.Usagef("pool reduce: give --min or --size")
			}
			r := control.ReduceArgs{Least: least.Bytes}
			return resizePool(ctx, a, args[0], control.Reduce, r, func(ctx context.Context, g *grower) (control.PoolSize, error) {
				return g.reduceOp(ctx, control.Peer{}, r)
			})
		}),
	}
	cmd.Flags().BoolVar(&most, "min", false, "as far as it goes")
	cmd.Flags().Var(&least, "size", "not below this size")
	return cmd
}

// resizePool changes the size of a pool: through its daemon, or, if it is not mounted, here.
func resizePool[Args any](ctx context.Context, a *app, arg string, o control.Op[Args, control.PoolSize], args Args,
	here func(context.Context, *grower) (control.PoolSize, error),
) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := f.Pool(arg)
	if err != nil {
		return err
	}
	var r control.PoolSize
	if ref.Live != nil {
		r, err = o.Call(ctx, *ref.Live, args)
	} else if err = a.host.RefuseUnfinished(ctx, f, ref); err == nil {
		r, err = a.resizeOffline(ctx, ref, here)
	}
	if err != nil {
		return err
	}
	if r.Before == r.After {
		return a.note("pool %s: stays as it is, %s", ref.Name, show.FormatSize(r.After))
	}
	_, err = fmt.Fprint(a.stdout, show.Printable("pool %s: %s, was %s\n", ref.Name, show.FormatSize(r.After), show.FormatSize(r.Before)))
	return err
}

// resizeOffline opens a pool that is not mounted, as its daemon would, to change its size.
func (a *app) resizeOffline(ctx context.Context, ref host.PoolRef, here func(context.Context, *grower) (control.PoolSize, error)) (r control.PoolSize, err error) {
	dev, release, err := a.host.Reach(ctx, ref, blockdev.Options{}, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	_, id, err := host.Identify(dev)
	if err != nil {
		return r, err
	}
	lock, err := a.host.LockPool(id)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	me, err := a.host.AsHolder(a.now())
	if err != nil {
		return r, err
	}
	p, err := chain.Open(dev, chain.Options{Now: a.now, Host: me})
	if err != nil {
		return r, host.TakeOverHint(err, ref.Name)
	}
	r, err = here(ctx, newGrower(dev, p, slog.New(slog.DiscardHandler)))
	return r, errors.Join(err, p.Close())
}
