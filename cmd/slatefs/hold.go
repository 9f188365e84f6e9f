package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) holdCmd() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "hold [-r] TAG FILE@SNAPS|DIR@SNAPS…",
		Short: "Hold snapshots: nothing destroys them until they are released",
		Long: `Gives snapshots a tag that holds them. While a snapshot has any nothing destroys it: not destroy, with whatever flags, nor rm or
mv over its volume, nor autosnap. It can be renamed, cloned and rolled back to. Who needs it has a tag of his own: letters,
digits and -_.:, up to 64 bytes, and up to 8 on one snapshot. One that has the tag already keeps it.

SNAPS are names and ranges, as destroy takes them.`,
		Example: `  slatefs hold backup /mnt/lab/vm.raw@monday
  slatefs hold -r backup /mnt/lab@monday            # of every volume of the pool
  slatefs holds /mnt/lab/vm.raw`,
		Args: arguments(2, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			_, err := a.tag(ctx, args, control.TagArgs{Recursive: recursive})
			return err
		}),
	}
	recursiveFlag(cmd, &recursive)
	return cmd
}

func (a *app) releaseCmd() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "release [-r] TAG FILE@SNAPS|DIR@SNAPS…",
		Short: "Release snapshots that hold holds",
		Long: `Takes a tag from snapshots, so that they can be destroyed when they have no other. Those that have it not are passed over; that
none has it is an error.`,
		Example: `  slatefs release backup /mnt/lab/vm.raw@monday
  slatefs release -r backup /mnt/lab@%              # all that backup holds in the pool`,
		Args: arguments(2, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			n, err := a.tag(ctx, args, control.TagArgs{Recursive: recursive, Off: true})
			if err == nil && n == 0 {
				err = fmt.Errorf("release: none of these snapshots is held by %s: %w", args[0], control.ErrNotFound)
			}
			return err
		}),
	}
	recursiveFlag(cmd, &recursive)
	return cmd
}

// tag gives snapshots a tag, or takes it from them: args are the tag, then the snapshots.
func (a *app) tag(ctx context.Context, args []string, q control.TagArgs) (changed int, err error) {
	f, err := a.finder()
	if err != nil {
		return 0, err
	}
	l, objs, err := objectsAt(f, args[1:])
	if err != nil {
		return 0, err
	}
	q.Tag, q.Objects = args[0], objs
	return control.Tag.Call(ctx, l, q)
}

func (a *app) holdsCmd() *cobra.Command {
	var recursive bool
	var f show.Format
	cmd := &cobra.Command{
		Use:   "holds [-rHpj] FILE[@SNAPS]|DIR[@SNAPS]…",
		Short: "Show what holds snapshots",
		Long:  `Lists the tags that hold snapshots, and since when. FILE means all snapshots of a volume, DIR those of all volumes in it.`,
		Example: `  slatefs holds /mnt/lab/vm.raw@monday
  slatefs holds -r /mnt/lab                         # all of the pool`,
		Args: arguments(1, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			find, err := a.finder()
			if err != nil {
				return err
			}
			l, objs, err := objectsAt(find, args)
			if err != nil {
				return err
			}
			list, err := control.Holds.Call(ctx, l, control.HoldsArgs{Objects: objs, Recursive: recursive})
			if err != nil {
				return err
			}
			if f.JSON {
				return show.WriteJSON(a.stdout, "slatefs holds", "holds", list)
			}
			var rows [][]string
			for _, h := range list {
				rows = append(rows, []string{h.Name, h.Tag, f.Time(h.Since)})
			}
			return f.Table(a.stdout, []show.Column{{Head: "NAME"}, {Head: "TAG"}, {Head: "SINCE"}}, rows)
		}),
	}
	recursiveFlag(cmd, &recursive)
	f.Flags(cmd, "Hpj")
	return cmd
}
