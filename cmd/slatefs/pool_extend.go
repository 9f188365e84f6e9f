package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
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
		Args: arguments(1, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			var e control.ExtendArgs
			if len(args) == 2 {
				text, more := strings.CutPrefix(args[1], "+")
				n, err := show.ParseSize(text)
				if err != nil {
					return err
				}
				if n%control.BlockSize != 0 || n == 0 {
					return show.Usagef("size %s: must be a multiple of %s", args[1], show.FormatSize(control.BlockSize))
				}
				e = control.ExtendArgs{Size: n, More: more}
			}
			return resizePool(ctx, a, args[0], control.Extend, e,
				func(ctx context.Context, g *daemon.Grower) (r control.PoolSize, err error) {
					return g.ExtendOp(ctx, control.Peer{}, e)
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
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			if most == least.Given {
				return show.Usagef("pool reduce: give --min or --size")
			}
			r := control.ReduceArgs{Least: least.Bytes}
			return resizePool(ctx, a, args[0], control.Reduce, r, func(ctx context.Context, g *daemon.Grower) (control.PoolSize, error) {
				return g.ReduceOp(ctx, control.Peer{}, r)
			})
		}),
	}
	cmd.Flags().BoolVar(&most, "min", false, "as far as it goes")
	cmd.Flags().Var(&least, "size", "not below this size")
	return cmd
}

// resizePool changes the size of a pool: through its daemon, or, if it is not mounted, here.
func resizePool[Args any](ctx context.Context, a *app, arg string, o control.Op[Args, control.PoolSize], args Args,
	here func(context.Context, *daemon.Grower) (control.PoolSize, error),
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
	_, err = fmt.Fprint(a.stdout, show.Printable("pool %s: %s, was %s\n",
		ref.Name, show.FormatSize(r.After), show.FormatSize(r.Before)))
	return err
}
