package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

const everywhere = control.OnPool | control.OnDir | control.OnVolume

func (a *app) setCmd() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{
		Use:   "set [-n] PROP=VALUE… PATH…",
		Short: "Set properties",
		Long: `Sets properties of volumes, directories or pools. They take effect at once, all of one PATH or none. What
would break a promise is refused, with the numbers.

Properties:` + propHelp(everywhere),
		Example: `  slatefs set refreservation=auto /mnt/lab/vm.raw   # it never sees "no space left"
  slatefs set quota=200G reservation=50G /mnt/lab/tenant
  slatefs set erase_throughput=50M lab`,
		Args: arguments(2, -1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.set(ctx, args, dry) }),
	}
	dryFlag(cmd, &dry)
	return cmd
}

func (a *app) set(ctx context.Context, args []string, dry bool) error {
	n := 0
	for n < len(args) && strings.Contains(args[n], "=") && !host.IsPath(args[n]) {
		n++
	}
	if n == 0 || n == len(args) {
		return show.Usagef("usage: slatefs set PROP=VALUE… PATH…")
	}
	settings, err := parseSettings(args[:n], everywhere)
	if err != nil {
		return err
	}
	return a.setProps(ctx, args[n:], control.SetArgs{Settings: settings, Dry: dry})
}

// setProps sets the same properties of several paths, one after the other.
func (a *app) setProps(ctx context.Context, paths []string, args control.SetArgs) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	for _, path := range paths {
		var l host.Live
		if l, args.Object, err = listedAt(f, path); err != nil {
			return err
		}
		list, err := control.Set.Call(ctx, l, args)
		if err == nil {
			err = a.printForecasts(list)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) inheritCmd() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "inherit [-r] PROP PATH…",
		Short: "Take properties back to what is inherited, or the default",
		Long: `Takes a property away from volumes, directories or pools: then what the directory above says holds, where the
property is inherited, else the default. With -r also from all that is below PATH and has it set, one after the other.`,
		Example: `  slatefs inherit refreservation /mnt/lab/tenant
  slatefs inherit quota /mnt/lab/tenant             # none, the default
  slatefs inherit -r refreservation /mnt/lab        # all of them have the pool's again`,
		Args: arguments(2, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			if _, err := propNamed(args[0]); err != nil {
				return err
			}
			settings := []control.Setting{{Name: args[0], Inherit: true}}
			return a.setProps(ctx, args[1:], control.SetArgs{Settings: settings, Recursive: recursive})
		}),
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "from what is below PATH as well")
	return cmd
}
