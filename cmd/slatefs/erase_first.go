package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) eraseFirstCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "first ID POOL",
		Short: "Put an erase job before all others",
		Long: `Puts an erase job before all others: it is worked off first, after a restart too. Else the oldest goes first. The IDs
are those of erase status.`,
		Example: `  slatefs erase first 17 lab`,
		Args:    arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return show.Usagef("erase first: %q is not the ID of a job", args[0])
			}
			l, err := a.mountedPool(args[1])
			if err != nil {
				return err
			}
			_, err = control.First.Call(ctx, l, control.FirstArgs{ID: id})
			return err
		}),
	}
}
