package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) poolStatusCmd() *cobra.Command {
	var (
		f        show.Format
		troubled bool
	)
	cmd := &cobra.Command{
		Use:   "status [-x] [-j] [POOL…]",
		Short: "Show the state of pools",
		Long: `Shows the state of pools: where they are, and what their blocks are used for. Without a POOL, of all that this host knows.
A pool that is not mounted is opened read-only. Each trouble has a line. -x shows the pools with troubles alone, and its exit code is
1 if there are any; -j has each trouble with a kind, a word that stays: docs/troubles.md has them.`,
		Example: `  slatefs pool status lab
  slatefs pool status -x                            # only those in trouble
  slatefs pool status -j /dev/vg0/lab`,
		RunE: plain(func(ctx context.Context, args []string) error { return a.poolStatus(ctx, args, troubled, f) }),
	}
	cmd.Flags().BoolVarP(&troubled, "trouble", "x", false, "only pools with troubles; exit code 1 if there are any")
	f.Flags(cmd, "j")
	return cmd
}

func (a *app) poolStatus(ctx context.Context, args []string, troubled bool, f show.Format) error {
	pools, err := a.poolsNamed(ctx, args)
	if err != nil {
		return err
	}
	shown := []poolState{}
	for _, p := range pools {
		if p.State == stateUnmounted || p.State == stateReplaced || p.State == stateDead {
			err := a.lookInto(ctx, &p)
			if err != nil && (len(args) > 0 || ctx.Err() != nil) {
				return err
			}
			if err != nil { // of one pool, which must not hide the others
				p.Unread = show.ErrorText(err)
			}
		}
		if p.Troubles = p.troubles(); !troubled || len(p.Troubles) > 0 {
			shown = append(shown, p)
		}
	}
	var code error
	if troubled && len(shown) > 0 {
		code = show.ErrQuiet
	}
	if f.JSON {
		return errors.Join(show.WriteJSON(a.stdout, "slatefs pool status", "pools", shown), code)
	}
	if len(shown) == 0 {
		text := "no pools are known here"
		if troubled {
			text = "all pools are healthy"
		}
		_, err := fmt.Fprintln(a.stdout, text)
		return err
	}
	for i, p := range shown {
		if err := p.print(a.stdout, f, i > 0); err != nil {
			return err
		}
	}
	return code
}

// poolsNamed finds the pools that are named, or all that are known.
func (a *app) poolsNamed(ctx context.Context, args []string) (pools []poolState, err error) {
	if len(args) == 0 {
		return a.poolStates(ctx)
	}
	find, err := a.finder()
	if err != nil {
		return nil, err
	}
	for _, arg := range args {
		ref, err := find.Pool(arg)
		if err != nil {
			return nil, err
		}
		if ref.Live != nil { // its device is not looked at: it may answer nothing
			pools = append(pools, liveState(ctx, *ref.Live))
			continue
		}
		p := poolState{Name: ref.Name, UUID: ref.UUID, Device: ref.Device, State: unmountedState(ref.Device, ref.UUID)}
		pools = append(pools, a.whetherDead(p))
	}
	lvs, err := find.LVs()
	if err != nil {
		return pools, a.note("volume groups are not shown: %v", err)
	}
	for i := range pools {
		if lv, ok := host.LVByUUID(lvs, pools[i].UUID, pools[i].Device); ok {
			pools[i].VG = &vgState{lv.LV.VG, lv.Free}
			if pools[i].State == stateMissing || pools[i].State == stateReplaced {
				pools[i].State, pools[i].Device = stateUnmounted, lv.Device
			}
		}
	}
	return pools, nil
}

// lookInto opens a pool that is not mounted. What the pool itself refuses is its state.
func (a *app) lookInto(ctx context.Context, p *poolState) error {
	pool, close, err := a.openOffline(ctx, host.PoolRef{Device: p.Device, UUID: p.UUID, Name: p.Name})
	for _, known := range []error{
		host.ErrOtherPool, control.ErrCorrupt, control.ErrNotPool, control.ErrVersion, control.ErrFeature,
	} {
		if errors.Is(err, known) {
			p.Unread = show.ErrorText(err)
			return nil
		}
	}
	if err != nil {
		return err
	}
	p.Host = heldBy(pool)
	p.Name, p.UUID = pool.Name(), pool.UUID()
	p.Info = &control.PoolInfo{Usage: daemon.UsageOf(pool.Usage())}
	p.Lost = daemon.LostOf(pool)
	return close()
}

// print shows a pool in a block of lines.
func (p poolState) print(w io.Writer, f show.Format, gap bool) error {
	var b strings.Builder
	if gap {
		b.WriteString("\n")
	}
	line := func(key, text string, args ...any) { fmt.Fprintf(&b, "%11s: %s\n", key, show.Printable(text, args...)) }
	line("pool", "%s", p.Name)
	if p.UUID != uuid.Nil {
		line("uuid", "%v", p.UUID)
	}
	line("state", "%s", p.State)
	for _, t := range p.Troubles {
		line("trouble", "%s", t.Text)
	}
	line("device", "%s", p.Device)
	if p.Host != "" {
		line("held by", "%s", p.Host)
	}
	if p.VG != nil {
		line("VG", "%s, could give %s more", p.VG.Name, f.Size(p.VG.Free))
	}
	if i := p.Info; i != nil && i.Live.Dir != "" {
		line("mountpoint", "%s", i.Live.Dir)
		line("transport", "%s", transportText(i))
		line("takeover", "%s", takeoverText(i))
		line("daemon", "process %d since %s, %d files open", i.Live.PID, show.FormatTime(i.Live.Started), i.OpenFiles)
		if m := i.Memory; m.Limit > 0 {
			line("memory", "%s of %s, %s at most so far", f.Size(m.Used), f.Size(m.Limit), f.Size(m.Most))
		}
		if i.Live.Log != "" {
			line("log", "%s", i.Live.Log)
		}
	}
	if p.Info != nil && p.Info.Usage.Total > 0 {
		p.printUsage(f, line)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// transportText says how requests are served.
func transportText(i *control.PoolInfo) string {
	switch {
	case i.NoLoop != "":
		return i.Transport + ": no loop: " + i.NoLoop
	case i.Loops > 1:
		return fmt.Sprintf("%s, on %d threads", i.Transport, i.Loops)
	}
	return i.Transport
}

// takeoverText says whether a mount outlives its daemon, and how often it did.
func takeoverText(i *control.PoolInfo) string {
	if i.NoTakeover != "" {
		return "none: " + i.NoTakeover
	}
	by := "systemd"
	if i.Live.Supervisor != 0 {
		by = fmt.Sprintf("process %d", i.Live.Supervisor)
	}
	return fmt.Sprintf("by %s; %d so far", by, i.Takeovers)
}

// printUsage shows what the blocks are used for.
func (p poolState) printUsage(f show.Format, line func(key, text string, args ...any)) {
	u := p.Info.Usage
	line("holds", "%d volumes, %d snapshots, %d layers", u.Volumes, u.Snapshots, u.Layers)
	for _, n := range []struct {
		key   string
		bytes int64
	}{
		{"size", u.Total},
		{"live", u.Live},
		{"metadata", u.Meta},
		{"clean", u.Clean},
		{"claimed", u.Claimed},
		{"dirty", u.Dirty},
		{"freeing", u.Freeing},
		{"stranded", u.Stranded},
		{"failed", u.Failed},
		{"reserve", u.Reserve},
		{"promised", u.Promised},
		{"destroyed", u.Kept},
		{"meta prom.", u.MetaProm},
		{"available", u.Avail},
	} {
		if n.bytes == 0 && n.key == "stranded" {
			continue
		}
		line(n.key, "%s", f.Size(n.bytes))
	}
	line("journal", "%s of %s, generation %d", f.Size(u.JournalUse), f.Size(u.Journal), u.Generation)
}
