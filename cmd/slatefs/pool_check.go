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

// checkFlags are how pool check was called.
type checkFlags struct {
	show.Format
	online, reclaim bool
	rate            string
}

func (a *app) poolCheckCmd() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [-j] [--online [--rate S]|--reclaim] POOL",
		Short: "Check a pool's metadata",
		Long: `Reads all metadata of a pool and checks that it adds up: one owner for each block, nothing lost, every checksum right.
Nothing is changed. A mounted pool needs --online: a checkpoint of it is checked, in the daemon, while it is in use and later ones
follow; nobody waits for that. It reads 64M a second, or what --rate says (0: as fast as it can). Not checked then: that free
blocks are zero (slatefs erase audit does), and what is only in memory. So much may be written meanwhile that it has to give up: it
says so, and is to be tried again.
With --reclaim it also proves that all that counts as available can be had: in memory, over the device as it is, everything
that was freed or destroyed is freed and erased to the end, and what is clean then is compared. What would not come is named.
A superblock, or one of two copies of a page, that the device has lost is named as lost: the other one is whole, and a mounted
pool writes it anew (pool repair does as well), but there is no third. Exit code 1: something is wrong, or lost. Progress goes to
stderr if it takes longer than two seconds.`,
		Example: `  slatefs pool check lab
  slatefs pool check ./lab.pool
  slatefs pool check --online /mnt/lab
  slatefs pool check --online --rate 200M lab
  slatefs pool check --reclaim lab`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("rate") && !f.online {
				return show.Usagef("--rate is for --online")
			}
			return a.poolCheck(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().BoolVar(&f.online, "online", false, "check a mounted pool")
	cmd.Flags().StringVar(&f.rate, "rate", "64M", "read at most `S` of metadata a second; 0: as fast as it can")
	cmd.Flags().BoolVar(&f.reclaim, "reclaim", false, "prove as well that what counts as available can be had")
	cmd.MarkFlagsMutuallyExclusive("online", "reclaim")
	f.Flags(cmd, "j")
	return cmd
}

func (a *app) poolCheck(ctx context.Context, arg string, f checkFlags) error {
	rate, err := show.ParseSize(f.rate)
	if err != nil {
		return err
	}
	find, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := find.Pool(arg)
	if err != nil {
		return err
	}
	var r control.CheckReport
	switch {
	case ref.Live != nil && !f.online:
		return show.Hinted(fmt.Errorf("pool %s is mounted on %s", ref.Name, ref.Live.Dir),
			"pool check --online checks it while it is in use")
	case ref.Live != nil:
		var at progressMark
		r, err = slowly(ctx, a, "check", at.get, func(ctx context.Context) (control.CheckReport, error) {
			return control.Check.Call(ctx, *ref.Live, control.CheckArgs{Rate: rate}, func(p control.Progress) { at.set(p.Done, p.Total) })
		})
	default:
		r, err = a.checkOffline(ctx, ref, f.reclaim)
	}
	if err != nil {
		return err
	}
	if f.JSON {
		err = a.writeCheck(ref, r)
	} else {
		err = a.printCheck(ref.Name, r)
	}
	if err == nil && len(r.Errors)+len(r.Leaks)+len(r.Lost) > 0 {
		return show.ErrQuiet
	}
	return err
}

// checkResult is a report as -j prints it.
type checkResult struct {
	Pool      string   `json:"pool"`
	Online    bool     `json:"online"`
	Errors    []string `json:"errors"`
	Leaks     []string `json:"leaks"`
	Lost      []string `json:"lost"`
	Blocks    int64    `json:"blocks"` // whose state was looked at
	Pages     int      `json:"pages"`
	Layers    int      `json:"layers"`
	NotLooked []string `json:"not_checked"`         // what was left out because it is in use, in words
	Counted   int64    `json:"counted,omitempty"`   // of --reclaim
	Reclaimed int64    `json:"reclaimed,omitempty"` // of --reclaim
}

// notOnline is what a check of a pool in use leaves out.
var notOnline = []string{"that free blocks are zero", "what is only in memory: the accounts of space"}

func (a *app) writeCheck(ref host.PoolRef, r control.CheckReport) error {
	list := func(l []string) []string { return append([]string{}, l...) }
	res := checkResult{
		Pool: ref.Name, Online: ref.Live != nil, Errors: list(r.Errors), Leaks: list(r.Leaks), Lost: list(r.Lost),
		Blocks: r.Blocks, Pages: r.Pages, Layers: r.Layers, NotLooked: []string{}, Counted: r.Counted, Reclaimed: r.Reclaimed,
	}
	if res.Online {
		res.NotLooked = notOnline
	}
	return show.WriteJSON(a.stdout, "slatefs pool check", "check", res)
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
	_, err := io.WriteString(a.stdout, text+"\n")
	return err
}
