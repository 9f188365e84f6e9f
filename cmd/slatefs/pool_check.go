package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) poolCheckCmd() *cobra.Command {
	var online, reclaim bool
	cmd := &cobra.Command{
		Use:   "check [--online|--reclaim] POOL",
		Short: "Check a pool's metadata",
		Long: `Reads all metadata of a pool and checks that it adds up: one owner for each block, nothing lost, every checksum right.
Nothing is changed. A mounted pool needs --online: the daemon checks it then, and writers may wait.
With --reclaim it also proves that all that counts as available can be had: in memory, over the device as it is, everything
that was freed or destroyed is freed and erased to the end, and what is clean then is compared. What would not come is named.
A superblock, or one of two copies of a page, that the device has lost is named as lost: the other one is whole, and a mounted
pool writes it anew, but there is no third. Exit code 1: something is wrong, or lost.`,
		Example: `  slatefs pool check lab
  slatefs pool check ./lab.pool
  slatefs pool check --online /mnt/lab
  slatefs pool check --reclaim lab`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.poolCheck(ctx, args[0], online, reclaim) }),
	}
	cmd.Flags().BoolVar(&online, "online", false, "check a mounted pool")
	cmd.Flags().BoolVar(&reclaim, "reclaim", false, "prove as well that what counts as available can be had")
	cmd.MarkFlagsMutuallyExclusive("online", "reclaim")
	return cmd
}

func (a *app) poolCheck(ctx context.Context, arg string, online, reclaim bool) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := f.Pool(arg)
	if err != nil {
		return err
	}
	var r control.CheckReport
	switch {
	case ref.Live != nil && !online:
		return show.Hinted(fmt.Errorf("pool %s is mounted on %s", ref.Name, ref.Live.Dir),
			"pool check --online checks it while it is in use")
	case ref.Live != nil:
		r, err = control.Check.Call(ctx, *ref.Live, control.None{})
	default:
		r, err = a.checkOffline(ctx, ref, reclaim)
	}
	if err != nil {
		return err
	}
	return a.printCheck(ref.Name, r)
}

func (a *app) checkOffline(ctx context.Context, ref host.PoolRef, reclaim bool) (found control.CheckReport, err error) {
	p, close, err := a.openOffline(ctx, ref)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, close()) }()
	r, err := p.Check(ctx)
	if err != nil {
		return found, err
	}
	if found = control.CheckReport(*r); !reclaim {
		return found, nil
	}
	more, err := chain.CheckReclaim(ctx, p.Device(), chain.Options{Properties: control.Served, Now: a.now})
	if err != nil {
		return found, err
	}
	more.Errors, more.Leaks, more.Lost = append(r.Errors, more.Errors...), append(r.Leaks, more.Leaks...), append(r.Lost, more.Lost...)
	return control.CheckReport(*more), nil
}

func (a *app) printCheck(name string, r control.CheckReport) error {
	for _, kind := range []struct {
		word string
		list []string
	}{{"error", r.Errors}, {"leak", r.Leaks}, {"lost", r.Lost}} {
		for _, e := range kind.list {
			if _, err := io.WriteString(a.stdout, show.Printable("%s: %s\n", kind.word, e)); err != nil {
				return err
			}
		}
	}
	if r.Counted > 0 {
		text := show.Printable("pool %s: %s count as available or reserved, %s were clean in the end\n",
			name, show.FormatSize(r.Counted), show.FormatSize(r.Reclaimed))
		if _, err := io.WriteString(a.stdout, text); err != nil {
			return err
		}
	}
	text := show.Printable("pool %s: %d errors, %d leaks", name, len(r.Errors), len(r.Leaks))
	if len(r.Lost) > 0 {
		text += fmt.Sprintf(", %d copies lost", len(r.Lost))
	}
	if _, err := io.WriteString(a.stdout, text+"\n"); err != nil {
		return err
	}
	if len(r.Errors)+len(r.Leaks)+len(r.Lost) > 0 {
		return show.ErrQuiet
	}
	return nil
}
