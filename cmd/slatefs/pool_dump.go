package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
)

func (a *app) poolDumpCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "dump POOL",
		Short: "Print what a pool consists of",
		Long: `Prints superblock, space, volumes with their layers, and erase jobs of a pool, for people. The form may change; scripts
use the -j of other commands. A pool that is not mounted is opened read-only.`,
		Example: `  slatefs pool dump lab
  slatefs pool dump ./lab.pool`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			f, err := a.finder()
			if err != nil {
				return err
			}
			ref, err := f.Pool(args[0])
			if err != nil {
				return err
			}
			if ref.Live != nil {
				text, err := control.Dump.Call(ctx, *ref.Live, control.None{})
				if err != nil {
					return err
				}
				_, err = io.WriteString(a.stdout, text)
				return err
			}
			p, close, err := a.openOffline(ctx, ref)
			if err != nil {
				return err
			}
			return errors.Join(daemon.Dump(ctx, a.stdout, p), close())
		}),
	}
}
