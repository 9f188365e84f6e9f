package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) resizeCmd() *cobra.Command {
	var shrink bool
	cmd := &cobra.Command{
		Use:   "resize [--shrink] FILE [+]S",
		Short: "Change the size of a volume",
		Long: `Makes a volume S bytes long, or S longer with +S. What a volume gains reads as zeros. Shrinking must be asked for; what
is cut off is freed, but for what snapshots hold.`,
		Example: `  slatefs resize /mnt/lab/vm.raw 40G
  slatefs resize /mnt/lab/vm.raw +8G
  slatefs resize --shrink /mnt/lab/vm.raw 10G`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			text, grow := strings.CutPrefix(args[1], "+")
			n, err := parseSize(text)
			if err != nil {
				return err
			}
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, o, err := f.object(args[0])
			if err != nil {
				return err
			}
			_, err = call[none](ctx, l, opResize, resizeArgs{o, n, grow, shrink})
			return err
		}),
	}
	cmd.Flags().BoolVar(&shrink, "shrink", false, "the new size may be smaller")
	return cmd
}
