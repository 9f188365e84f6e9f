package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) eraseWaitCmd() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait [--timeout T] [ID…] POOL",
		Short: "Wait until what was freed is erased",
		Long: `Waits until the erase jobs with these IDs have ended, or, without an ID, until nothing is left to erase. Progress goes to
stderr: a bar on a terminal, elsewhere lines as Proxmox's task log has them. It fails when time runs out, and when blocks
could not be erased.`,
		Example: `  slatefs erase wait lab
  slatefs erase wait --timeout 10m 17 18 /mnt/lab`,
		Args: arguments(1, -1),
		RunE: plain(func(ctx context.Context, args []string) error {
			var ids []uint64
			for _, arg := range args[:len(args)-1] {
				id, err := strconv.ParseUint(arg, 10, 64)
				if err != nil {
					return show.Usagef("erase wait: %q is not the ID of a job", arg)
				}
				ids = append(ids, id)
			}
			l, err := a.mountedPool(args[len(args)-1])
			if err != nil {
				return err
			}
			if timeout < 0 {
				return show.Usagef("erase wait: --timeout %v: want a time as 90s or 2h", timeout)
			}
			within := ctx
			if timeout > 0 {
				var cancel context.CancelFunc
				within, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			w := newEraseWait(ids)
			err = a.waitErased(within, l, w)
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return a.timeUp(ctx, l, w, timeout)
			}
			return err
		}),
	}
	cmd.Flags().Var((*show.Span)(&timeout), "timeout", "give up after this time, as 90s, 2h or 1d")
	return cmd
}

// pollTime is how often jobs are looked at.
const pollTime = 100 * time.Millisecond

// waitErased waits until jobs have ended; no ids: until nothing is left to erase.
func (a *app) waitErased(ctx context.Context, l host.Live, w *eraseWait) (err error) {
	// What is freed without a job yet gets one by this, so that an empty list means what it says.
	if _, err := control.Drain.Call(ctx, l, control.None{}); err != nil {
		return err
	}
	bar := show.NewProgress(a.stderr, a.now, "erase")
	defer func() { err = errors.Join(err, bar.End(), a.sayReleased(w)) }()
	t := time.NewTicker(pollTime)
	defer t.Stop()
	for {
		info, err := control.Jobs.Call(ctx, l, control.None{})
		if err != nil {
			return err
		}
		done, total, left := w.look(info)
		w.tellSkipped(a.stderr)
		if err := errors.Join(bar.Set(done, total), a.sayResting(w, info, left)); err != nil {
			return err
		}
		switch {
		case left > 0:
			w.swept = false
		case w.swept || len(w.ids) > 0:
			return nil
		default: // a sweep may find more
			if _, err := control.Drain.Call(ctx, l, control.None{}); err != nil {
				return err
			}
			w.swept = true
			continue
		}
		if err := w.stuck(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// eraseWait follows jobs to their end.
type eraseWait struct {
	ids     []uint64          // empty: all
	seen    map[uint64]int64  // of each job, the bytes that were freed
	before  map[uint64]int64  // and those that had been erased when it was first seen
	active  []control.JobInfo // those that are waited for, at the last look
	none    map[uint64]bool   // jobs with erase=none, which are not waited for
	skipped []uint64          // of them, those that were asked for, to be told
	swept   bool              // nothing was left, and a sweep found nothing yet
	told    bool              // why nothing moves

	released struct{ first, last int64 } // bytes that the pool had released, at the first look and the last
}

func newEraseWait(ids []uint64) *eraseWait {
	return &eraseWait{ids: ids, seen: map[uint64]int64{}, before: map[uint64]int64{}, none: map[uint64]bool{}}
}

// tellSkipped says once which of the jobs that were asked for are not waited for.
func (w *eraseWait) tellSkipped(out io.Writer) {
	for _, id := range w.skipped {
		_, _ = fmt.Fprintf(out, "job %d is not scheduled (erase=none) and not waited for\n", id) //nolint:errcheck // a remark
	}
	w.skipped = nil
}

// look takes in a list of jobs: bytes done and in all since the wait began, and how many jobs are left. What was erased
// before does not count: the rate that is shown would be above that of the pool.
func (w *eraseWait) look(info control.EraseInfo) (done, total int64, left int) {
	if len(w.before) == 0 {
		w.released.first = info.Released
	}
	w.released.last = info.Released
	w.active = w.active[:0]
	open := map[uint64]int64{}
	for _, j := range info.Jobs {
		asked := slices.Contains(w.ids, j.ID)
		if len(w.ids) > 0 && !asked {
			continue
		}
		if j.Policy == control.EraseNone {
			if asked && !w.none[j.ID] {
				w.skipped = append(w.skipped, j.ID)
			}
			w.none[j.ID] = true
			continue
		}
		if _, ok := w.before[j.ID]; !ok {
			w.before[j.ID] = j.Erased + j.Released
		}
		w.seen[j.ID] = max(j.Freed-j.Kept, j.Erased+j.Released+j.Dirty+j.Failed)
		open[j.ID] = j.Dirty + j.Failed
		if j.Dirty+j.Failed > 0 || j.State != "queued" {
			w.active = append(w.active, j)
		}
	}
	for id, n := range w.seen {
		total += n - w.before[id]
		done += n - w.before[id] - open[id]
	}
	left = len(w.active)
	if len(w.ids) == 0 && info.Dirty-info.Unsched+info.Freeing+info.Failed > 0 {
		left = max(left, 1)
	}
	return done, total, left
}

// sayReleased tells what of it was not erased.
func (a *app) sayReleased(w *eraseWait) error {
	if n := w.released.last - w.released.first; n > 0 {
		return a.note("%s were released, and released is not erased: what they held is left on the disk below", show.FormatSize(n))
	}
	return nil
}

// sayResting tells once why nothing moves.
func (a *app) sayResting(w *eraseWait, info control.EraseInfo, left int) error {
	switch {
	case w.told || left == 0:
		return nil
	case info.Paused:
		w.told = true
		return a.note("erasing is paused; slatefs erase resume %s goes on", info.Pool)
	case info.Opens != nil:
		w.told = true
		return a.note("the window %s opens %s; slatefs set erase_window=none %s goes on at once",
			info.Window, show.FormatTime(*info.Opens), info.Pool)
	}
	return nil
}

// stuck is an error when nothing is left but blocks that could not be erased, or whose job is damaged.
func (w *eraseWait) stuck() error {
	var failed int64
	why := ""
	for _, j := range w.active {
		if j.State != "failed" {
			return nil
		}
		failed += j.Failed
		if j.Error != "" {
			failed += j.Dirty
			why = ": " + show.Escape(j.Error)
		}
	}
	switch {
	case len(w.active) == 0:
		return nil
	case failed == 0:
		return show.Hinted(fmt.Errorf("what %d jobs freed cannot be found: a page of metadata is damaged", len(w.active)),
			"slatefs pool check says which; the blocks are not used again")
	}
	return show.Hinted(fmt.Errorf("%s could not be erased, and are not used again%s", show.FormatSize(failed), why),
		"the daemon's log has the device's errors; it tries again by itself")
}

// answerTime is how long timeUp waits for the daemon.
const answerTime = 2 * time.Second

// timeUp says what is left when the time that was given has run out, and why nothing moves, however far the wait had come.
func (a *app) timeUp(ctx context.Context, l host.Live, w *eraseWait, given time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	info, err := control.Jobs.Call(ctx, l, control.None{})
	if err != nil {
		return fmt.Errorf("time is up after %v, and what is left is not known: %w", given, err)
	}
	_, _, left := w.look(info)
	if err := a.sayResting(w, info, left); err != nil {
		return err
	}
	return show.Hinted(errors.New(w.left(info, given)), "slatefs erase status %s shows how far it is", l.Name)
}

// left is what is left after the given time.
func (w *eraseWait) left(info control.EraseInfo, given time.Duration) string {
	var bytes int64
	for _, j := range w.active {
		bytes += j.Dirty + j.Failed
	}
	s := fmt.Sprintf("time is up: %s in %d jobs are not erased after %v", show.FormatSize(bytes), len(w.active), given)
	if len(w.ids) == 0 && info.Freeing > 0 {
		s += fmt.Sprintf(", and %s are freed and in no job yet", show.FormatSize(info.Freeing))
	}
	return s
}
