package main

import (
	"context"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) createCmd() *cobra.Command {
	var (
		sz    show.Size
		props []string
		dry   bool
	)
	cmd := &cobra.Command{
		Use:   "create [-n] [-o PROP=VALUE]… --size S FILE…",
		Short: "Make volumes",
		Long: `Makes volumes of a size. They read as zeros and take no space until they are written.
truncate(1), qemu-img create and cp make volumes as well.

Properties for -o:` + propHelp(control.OnVolume),
		Example: `  slatefs create --size 20G /mnt/lab/vm.raw
  slatefs create -o refreservation=auto --size 20G /mnt/lab/db.raw   # never sees "no space left"
  slatefs create --size 4g /mnt/lab/a.raw /mnt/lab/b.raw
  qemu-img create -f raw /mnt/lab/c.raw 20G        # the same`,
		Args: arguments(1, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			if !sz.Given {
				return show.Usagef("create: --size is missing, as in --size 20G")
			}
			settings, err := parseSettings(props, control.OnVolume)
			if err != nil {
				return err
			}
			return a.create(ctx, args, control.CreateArgs{Size: sz.Bytes, Settings: settings, Dry: dry})
		}),
	}
	cmd.Flags().VarP(&sz, "size", "V", "size of each volume, as 20G")
	dryFlag(cmd, &dry)
	cmd.Flags().StringArrayVarP(&props, "property", "o", nil, "set a property of the volumes, as `PROP=VALUE`")
	return cmd
}

func (a *app) create(ctx context.Context, files []string, args control.CreateArgs) (err error) {
	f, err := a.finder()
	if err != nil {
		return err
	}
	var l host.Live
	if l, args.Objects, err = objectsAt(f, files); err != nil {
		return err
	}
	umask := unix.Umask(0)
	unix.Umask(umask)
	args.Mode = uint32(0o666 &^ umask)
	list, err := control.Create.Call(ctx, l, args)
	if err != nil {
		return err
	}
	return a.printForecasts(list)
}
