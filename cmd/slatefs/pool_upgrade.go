package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) poolUpgradeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade POOL",
		Short: "Bring a pool to the newest format, or say that it is there",
		Long: `Says which format a pool has, and which features, and brings it to the newest that this program knows. Nothing else does: a newer
program serves an older pool as it is, so that the older program can have it back. There is one format up to now, 1, and no feature,
so that there is nothing to bring; a pool of a later program is refused, with the names of what this one does not know. The pool may be
mounted.`,
		Example: `  slatefs pool upgrade lab
  slatefs pool upgrade ./lab.pool`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.poolUpgrade(ctx, args[0]) }),
	}
}

func (a *app) poolUpgrade(ctx context.Context, arg string) error {
	find, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := find.Pool(arg)
	if err != nil {
		return err
	}
	f, err := a.host.FormatOf(ctx, ref)
	if errors.Is(err, control.ErrVersion) || errors.Is(err, control.ErrFeature) {
		return show.Hinted(fmt.Errorf("%s: %w", ref.Device, err), "slatefs of a later version has made it; this is %s", control.Version())
	}
	if err != nil {
		return err
	}
	features := "none"
	if len(f.Features) > 0 {
		features = strings.Join(f.Features, "; ")
	}
	text := fmt.Sprintf("pool %s: is at format %d, the newest; features: %s\n", f.Name, f.Version, show.Escape(features))
	if f.ReadOnly {
		text += "this program does not know all of them, and serves the pool for reading only (-o ro)\n"
	}
	_, err = fmt.Fprint(a.stdout, text)
	return err
}
