package main

import (
	"context"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
)

func (a *app) cloneCmd() *cobra.Command {
	var props []string
	var recursive bool
	cmd := &cobra.Command{
		Use:   "clone [-o PROP=VALUE]… FILE[@NAME] NEWFILE | [-r] DIR@NAME NEWDIR",
		Short: "Make a new volume of a snapshot, or of a volume as it is now",
		Long: `Makes a new volume that begins as a snapshot, or as a volume is now. Nothing is copied: the two share what neither has
changed. NEWFILE lies in the same pool, and is promised nothing, whatever FILE is, unless -o says so.

DIR@NAME means all volumes in DIR that have such a snapshot: their clones have the same names in NEWDIR, which is there already.
What cannot be done as a whole is not done.

Properties for -o:` + propHelp(control.OnVolume),
		Example: `  slatefs clone /mnt/lab/vm.raw@clean /mnt/lab/test1.raw
  slatefs clone /mnt/lab/vm.raw /mnt/lab/now.raw    # no snapshot needed
  slatefs clone /mnt/lab/vm7@clean /mnt/lab/vm8     # all disks of a guest
  slatefs clone -o refreservation=auto /mnt/lab/vm.raw@clean /mnt/lab/test2.raw`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			settings, err := parseSettings(props, control.OnVolume)
			if err != nil {
				return err
			}
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, objs, err := objectsAt(f, args)
			if err != nil {
				return err
			}
			_, err = control.Clone.Call(ctx, l, control.CloneArgs{Object: objs[0], New: objs[1], Settings: settings, Recursive: recursive})
			return err
		}),
	}
	recursiveFlag(cmd, &recursive)
	cmd.Flags().StringArrayVarP(&props, "property", "o", nil, "set a property of the new volume, as `PROP=VALUE`")
	return cmd
}
