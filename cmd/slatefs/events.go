package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// eventsFlags are the flags of events.
type eventsFlags struct {
	since  string
	follow bool
	show.Format
}

func (a *app) eventsCmd() *cobra.Command {
	var f eventsFlags
	cmd := &cobra.Command{
		Use:   "events [-fHj] [--since TIME] [POOL]",
		Short: "Show what happened to a pool",
		Long: `Shows the events of a pool, or of all that are mounted here, the oldest first: mounts and takeovers, growth, refused promises and
writers, blocks that could not be erased, jobs that are done, lost superblocks, I/O errors, a pool that turned read-only. Times are UTC.

Each has a number, which goes up, is kept in the pool over restarts and is never given twice. The log lies in the pool and is bounded: where
it does not begin with 1, older ones have left it. What is alike and comes again soon is one event, with how many (xN). What the
pool could not keep, since it is read-only, has no number, and is known to its daemon alone.

With -f events that come are shown until it is interrupted, over restarts of the daemon too; with -j each is a line of JSON then. A
pool that is not mounted is opened for reading.`,
		Example: `  slatefs events lab
  slatefs events --since 1h
  slatefs events -f -j lab | jq -r .kind`,
		Args: arguments(0, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.events(ctx, args, f) }),
	}
	cmd.Flags().StringVar(&f.since, "since", "",
		"only what happened at `TIME` or later: 2026-11-25, 2026-11-25T14:00, or 1h, that is an hour ago")
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on with what happens from now on")
	f.Flags(cmd, "Hj")
	return cmd
}

func (a *app) events(ctx context.Context, args []string, f eventsFlags) error {
	since, err := a.parseSince(f.since)
	if err != nil {
		return err
	}
	find, err := a.finder()
	if err != nil {
		return err
	}
	pools := find.Live
	if len(args) == 1 {
		ref, err := find.Pool(args[0])
		if err != nil {
			return err
		}
		if ref.Live == nil {
			return a.eventsOffline(ctx, ref, f, since)
		}
		pools = []host.Live{*ref.Live}
	}
	if f.follow {
		return a.followEvents(ctx, pools, f, since)
	}
	var all []control.Event
	var infos []control.EventsInfo
	for _, l := range pools {
		info, err := control.Events.Call(ctx, l, control.EventsArgs{}, func(es []control.Event) { all = append(all, es...) })
		if err != nil {
			return err
		}
		infos = append(infos, info)
	}
	return a.showEvents(all, infos, f, since)
}

// eventsOffline shows those of a pool that no daemon has.
func (a *app) eventsOffline(ctx context.Context, ref host.PoolRef, f eventsFlags, since time.Time) error {
	if f.follow {
		return show.Usagef("-f is for a pool that is mounted")
	}
	p, close, err := a.openOffline(ctx, ref)
	if err != nil {
		return err
	}
	all, info, err := daemon.Events(p)
	if err := errors.Join(err, close()); err != nil {
		return err
	}
	return a.showEvents(all, []control.EventsInfo{info}, f, since)
}

// showEvents prints events, and what is to be said of the log.
func (a *app) showEvents(all []control.Event, infos []control.EventsInfo, f eventsFlags, since time.Time) error {
	all = slices.DeleteFunc(all, func(e control.Event) bool { return e.Last.Before(since) })
	if len(infos) > 1 {
		slices.SortStableFunc(all, func(a, b control.Event) int { return a.Last.Compare(b.Last) })
	}
	if f.JSON {
		out := make([]control.PublicEvent, len(all))
		for i, e := range all {
			out[i] = e.Public()
		}
		return show.WriteJSON(a.stdout, "slatefs events", "events", out)
	}
	rows := make([][]string, len(all))
	for i, e := range all {
		rows[i] = eventRow(e)
	}
	if err := f.Table(a.stdout, show.Columns(">ID TIME POOL KIND OBJECT TEXT"), rows); err != nil {
		return err
	}
	for _, i := range infos {
		if i.Trouble == "" && i.Lost == 0 {
			continue
		}
		text := "the pool keeps no events just now"
		if i.Trouble != "" {
			text += ": " + i.Trouble
		}
		if i.Lost > 0 {
			text += fmt.Sprintf("; %d are lost", i.Lost)
		}
		if _, err := fmt.Fprintln(a.stderr, show.Escape(text)); err != nil {
			return err
		}
	}
	return nil
}

// eventRow is an event as cells of a row, which are not escaped yet.
func eventRow(e control.Event) []string {
	id, text := "", e.Text
	if e.ID > 0 {
		id = strconv.FormatUint(e.ID, 10)
	}
	if e.Count > 1 {
		text = fmt.Sprintf("x%d: %s", e.Count, text)
	}
	return []string{id, e.Last.UTC().Format("2006-01-02T15:04:05Z"), e.Pool, e.Kind, e.Path, text}
}

// follower shows events of several pools as they come.
type follower struct {
	a     *app
	f     eventsFlags
	since time.Time

	mu  sync.Mutex
	err error // of writing
}

// show prints some, a line each.
func (w *follower) show(es []control.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range es {
		if w.err != nil || e.Last.Before(w.since) {
			continue
		}
		if w.f.JSON {
			var line []byte
			if line, w.err = show.PublicJSON(e.Public()); w.err == nil {
				_, w.err = fmt.Fprintln(w.a.stdout, string(line))
			}
			continue
		}
		row := eventRow(e)
		for i := range row {
			if row[i] = show.Escape(row[i]); row[i] == "" {
				row[i] = "-"
			}
		}
		form := "%6s  %s  %s  %-16s  %s  %s\n"
		if w.f.Scripted {
			form = "%s\t%s\t%s\t%s\t%s\t%s\n"
		}
		_, w.err = fmt.Fprintf(w.a.stdout, form, row[0], row[1], row[2], row[3], row[4], row[5])
	}
	return w.err
}

// followAgain is how long to wait for a daemon that has ended, until it is asked again.
const followAgain = time.Second

// followEvents shows events until ctx ends, or the output does.
func (a *app) followEvents(ctx context.Context, pools []host.Live, f eventsFlags, since time.Time) error {
	if len(pools) == 0 {
		return errors.New("no pool is mounted here")
	}
	w := &follower{a: a, f: f, since: since}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for _, l := range pools {
		all.Go(func() {
			defer cancel()
			w.follow(ctx, l)
		})
	}
	all.Wait()
	return w.err
}

// follow shows what happens to one pool. A daemon that ends is waited for: the numbers say where to go on.
func (w *follower) follow(ctx context.Context, l host.Live) {
	args := control.EventsArgs{Follow: true}
	for {
		_, err := control.Events.Call(ctx, l, args, func(es []control.Event) {
			for _, e := range es {
				args.From = max(args.From, e.ID+1)
			}
			_ = w.show(es) //nolint:errcheck // it is kept, and looked at below
		})
		w.mu.Lock()
		failed := w.err
		w.mu.Unlock()
		if failed != nil || ctx.Err() != nil {
			return
		}
		if errors.Is(err, control.ErrOtherVersion) || errors.Is(err, control.ErrPerm) {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(followAgain):
		}
		if now, ok := w.a.host.Live(l.UUID); ok {
			l = now
		}
	}
}
