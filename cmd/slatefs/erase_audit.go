package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) eraseAuditCmd() *cobra.Command {
	var f show.Format
	cmd := &cobra.Command{
		Use:   "audit [-pj] POOL",
		Short: "Read the device, and report what should be zero and is not",
		Long: `Reads everything on the device that is neither in use by a volume or snapshot, nor about to be, nor metadata, past the page
cache, and prints the address of each block that is not zero and in no erase job. Exit code 1: there are such blocks, or
some that cannot be read. What is in jobs is counted, and how much of it is not zero yet. Nothing is changed. A mounted
pool stays in use, and nobody waits for it; one that is not mounted is opened read-only. Progress
goes to stderr if it takes longer than two seconds.`,
		Example: `  slatefs erase audit lab
  slatefs erase audit /dev/vg0/lab                  # not mounted`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.audit(ctx, args[0], f) }),
	}
	f.Flags(cmd, "pj")
	return cmd
}

func (a *app) audit(ctx context.Context, arg string, f show.Format) error {
	find, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := find.Pool(arg)
	if err != nil {
		return err
	}
	var info control.AuditInfo
	if ref.Live != nil {
		info, err = a.auditOnline(ctx, *ref.Live)
	} else {
		info, err = a.auditOffline(ctx, ref)
	}
	if err != nil {
		return err
	}
	if f.JSON {
		err = show.WriteJSON(a.stdout, "slatefs erase audit", "audit", info)
	} else {
		err = printAudit(a.stdout, info, f)
	}
	if err == nil && len(info.Found)+len(info.Unread) > 0 {
		return show.ErrQuiet
	}
	return err
}

// auditOffline audits a pool that is not mounted, in this process.
func (a *app) auditOffline(ctx context.Context, ref host.PoolRef) (info control.AuditInfo, err error) {
	p, close, err := a.openOffline(ctx, ref)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, close()) }()
	var at progressMark
	return slowly(ctx, a, "audit", at.get, func(ctx context.Context) (control.AuditInfo, error) {
		r, err := p.Audit(ctx, at.set)
		if err != nil {
			return control.AuditInfo{}, err
		}
		return daemon.AuditInfoOf(p.Name(), r), nil
	})
}

// auditOnline lets the daemon do it, which tells how far it is.
func (a *app) auditOnline(ctx context.Context, l host.Live) (control.AuditInfo, error) {
	var at progressMark
	return slowly(ctx, a, "audit", at.get, func(ctx context.Context) (control.AuditInfo, error) {
		return control.Audit.Call(ctx, l, control.None{}, func(p control.Progress) { at.set(p.Done, p.Total) })
	})
}

// slowTime is after how long a command shows progress.
const slowTime = 2 * time.Second

// slowly runs something, and shows where it is if it takes longer than slowTime. It has ended when slowly returns, by itself or
// because that could not be shown.
func slowly[T any](ctx context.Context, a *app, name string, where func(context.Context) (done, total int64),
	do func(context.Context) (T, error),
) (res T, err error) {
	type result struct {
		res T
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan result, 1)
	start := a.now()
	go func() {
		res, err := do(ctx)
		ended <- result{res, err}
	}()
	var bar *show.Progress
	t := time.NewTicker(2 * pollTime)
	defer t.Stop()
	for {
		select {
		case r := <-ended:
			if bar != nil {
				r.err = errors.Join(r.err, bar.Set(where(ctx)), bar.End())
			}
			return r.res, r.err
		case <-t.C:
			if bar == nil && a.now().Sub(start) > slowTime {
				bar = show.NewProgress(a.stderr, a.now, name)
				bar.Began(start)
			}
			if bar != nil {
				if err := bar.Set(where(ctx)); err != nil {
					cancel()
					return res, errors.Join(err, (<-ended).err)
				}
			}
		}
	}
}

// progressMark is where something is, told by one side and read by another.
type progressMark struct{ done, total atomic.Int64 }

func (m *progressMark) set(done, total int64) {
	m.total.Store(total)
	m.done.Store(done)
}

func (m *progressMark) get(context.Context) (done, total int64) { return m.done.Load(), m.total.Load() }

// printAudit shows what was found: addresses first, what was read last.
func printAudit(w io.Writer, i control.AuditInfo, f show.Format) error {
	var b strings.Builder
	for _, at := range i.Found {
		fmt.Fprintf(&b, "residue: block at byte %d (%#x) is not zero and in no erase job\n", at, at)
	}
	if i.More > 0 {
		fmt.Fprintf(&b, "residue: and %d blocks more\n", i.More)
	}
	for _, text := range i.Unread {
		b.WriteString(show.Printable("unreadable: %s\n", text))
	}
	b.WriteString(show.Printable("pool %s: read %s that are free", i.Pool, f.Size(i.Clean)))
	if i.Lost > 0 {
		fmt.Fprintf(&b, ", %s that nothing owns", f.Size(i.Lost))
	}
	fmt.Fprintf(&b, ", %s in erase jobs (%s not zero yet): ", f.Size(i.Queued), f.Size(i.NotYet))
	if n := int64(len(i.Found)) + i.More; n+int64(len(i.Unread)) == 0 {
		b.WriteString("no residue\n")
	} else {
		fmt.Fprintf(&b, "%d blocks of residue, %d unreadable\n", n, len(i.Unread))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
