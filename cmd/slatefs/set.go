package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

const propHelp = `
  erase_throughput   of a pool: how fast freed blocks are erased in the background, in bytes per second; an upper bound,
                     10M by default, 0 is unlimited`

func (a *app) setCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "set PROP=VALUE… PATH…",
		Short: "Set properties",
		Long:  "Sets properties. They take effect at once.\n\nProperties:" + propHelp,
		Example: `  slatefs set erase_throughput=50M /mnt/lab
  slatefs set erase_throughput=0 lab                # as fast as it goes`,
		Args: arguments(2, -1),
		RunE: plain(a.set),
	}
}

func (a *app) set(ctx context.Context, args []string) error {
	n := 0
	for n < len(args) && strings.Contains(args[n], "=") && !isPath(args[n]) {
		key, val, _ := strings.Cut(args[n], "=")
		if err := checkProp(key); err != nil {
			return err
		}
		if _, err := parseThroughput(val); err != nil {
			return err
		}
		n++
	}
	if n == 0 || n == len(args) {
		return usagef("usage: slatefs set PROP=VALUE… PATH…")
	}
	f, err := a.finder()
	if err != nil {
		return err
	}
	for _, path := range args[n:] {
		l, err := f.mountedPool(path)
		if err != nil {
			return err
		}
		for _, prop := range args[:n] {
			key, val, _ := strings.Cut(prop, "=")
			if _, err := call[none](ctx, l, opSetProp, propArgs{key, val}); err != nil {
				return err
			}
		}
	}
	return nil
}
