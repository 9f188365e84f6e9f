package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) cloneCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "clone FILE[@NAME] NEWFILE",
		Short: "Make a new volume of a snapshot, or of a volume as it is now",
		Long: `Makes a new volume that begins as a snapshot, or as a volume is now. Nothing is copied: the two share what neither has
changed. NEWFILE lies in the same pool.`,
		Example: `  slatefs clone /mnt/lab/vm.raw@clean /mnt/lab/test1.raw
  slatefs clone /mnt/lab/vm.raw /mnt/lab/now.raw    # no snapshot needed`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, objs, err := f.objects(args)
			if err != nil {
				return err
			}
			_, err = call[none](ctx, l, opClone, cloneArgs{objs[0], objs[1]})
			return err
		}),
	}
}
