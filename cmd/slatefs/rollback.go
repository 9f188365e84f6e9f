package main

import (
	"context"

	"slatefs/cmd/slatefs/internal/control"

	"github.com/spf13/cobra"
)

func (a *app) rollbackCmd() *cobra.Command {
	var recursive, force, dry bool
	cmd := &cobra.Command{
		Use:   "rollback [-rn] [--force] FILE@NAME|DIR@NAME",
		Short: "Make a volume what a snapshot shows",
		Long: `Makes a volume what one of its snapshots shows, size included. What was written since is freed, and erased in the
background. Any snapshot will do, not only the newest; later ones stay. While the volume is open for writing it is
refused, unless forced.

DIR@NAME means all volumes in DIR that have such a snapshot: all of them may go back, or none does. Up to four go back at one
instant; after a crash in the middle of more the same command does the rest.`,
		Example: `  slatefs rollback /mnt/lab/vm.raw@clean
  slatefs rollback /mnt/lab/vm7@clean               # all disks of a guest
  slatefs rollback --force /mnt/lab/vm.raw@clean    # under a guest that is paused`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, o, err := objectAt(f, args[0])
			if err != nil {
				return err
			}
			list, err := control.Rollback.Call(ctx, l, control.RollbackArgs{Object: o, Recursive: recursive, Force: force, Dry: dry})
			if err != nil {
				return err
			}
			showSize(l, o)
			return a.printForecasts(list)
		}),
	}
	recursiveFlag(cmd, &recursive)
	cmd.Flags().BoolVar(&force, "force", false, "even while the volume is open for writing")
	dryFlag(cmd, &dry)
	return cmd
}
