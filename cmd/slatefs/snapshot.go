package main

import (
	"context"

	"slatefs/cmd/slatefs/internal/control"

	"github.com/spf13/cobra"
)

func (a *app) snapshotCmd() *cobra.Command {
	var recursive, dry bool
	cmd := &cobra.Command{
		Use:     "snapshot [-rn] FILE@NAME…|DIR@NAME",
		Aliases: []string{"snap"},
		Short:   "Freeze volumes as they are now, all at one instant",
		Long: `Makes snapshots: the volumes as they are at one instant, with every write that was acknowledged before. Writers go on.
Several volumes are frozen together, under one name. DIR@NAME means all volumes in DIR.
A snapshot can be read as DIR/.snap/FILE@NAME.

A snapshot takes no space. But what a volume with a refreservation has written is promised to it once more, since all of it
may be overwritten: the smaller one of the two must be available.`,
		Example: `  slatefs snapshot /mnt/lab/vm.raw@clean
  slatefs snapshot /mnt/lab/os.raw@monday /mnt/lab/data.raw@monday
  slatefs snapshot -r /mnt/lab@nightly              # every volume of the pool
  cmp /mnt/lab/vm.raw /mnt/lab/.snap/vm.raw@clean`,
		Args: arguments(1, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, objs, err := objectsAt(f, args)
			if err != nil {
				return err
			}
			list, err := control.Snapshot.Call(ctx, l, control.SnapshotArgs{Objects: objs, Recursive: recursive, Dry: dry})
			if err != nil {
				return err
			}
			return a.printForecasts(list)
		}),
	}
	recursiveFlag(cmd, &recursive)
	dryFlag(cmd, &dry)
	return cmd
}

// recursiveFlag is -r of commands that take DIR@NAME.
func recursiveFlag(cmd *cobra.Command, recursive *bool) {
	cmd.Flags().BoolVarP(recursive, "recursive", "r", false, "the volumes in directories below DIR as well")
}
