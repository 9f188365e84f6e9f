package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs"
)

// What is noted as an event, and where it is seen: troubles begin and end as pool status has them, and others are noted by who does them.

// troubleWatch notes what troubles a pool has that it did not have before, and what is over.
type troubleWatch struct {
	chronicle *chronicle
	was       map[string]bool
	failed    int64 // bytes that could not be erased
	repairs   int64 // pages
}

// newTroubleWatch knows what the pool has brought along: blocks that could not be erased are no news.
func newTroubleWatch(c *chronicle) *troubleWatch {
	return &troubleWatch{chronicle: c, was: map[string]bool{}, failed: c.pool.Usage().Failed}
}

// Troubles that are noted each time that there is more of them.
const (
	troubleFailed  = "erase-failed"
	troubleRepairs = "pages-repaired"
)

// look compares what there is with what was.
func (w *troubleWatch) look(i *control.PoolInfo) {
	now := map[string]bool{}
	for _, t := range i.PoolTroubles() {
		if t.Kind == control.EventLogCut {
			continue // its record is
		}
		now[t.Kind] = true
		switch grown := w.grown(t.Kind, &i.Usage); {
		case len(grown) > 0 && grown[0].Value > 0, len(grown) == 0 && !w.was[t.Kind]:
			w.chronicle.note(t.Kind, subject{}, t.Text, grown...)
		}
	}
	for kind := range w.was {
		if !now[kind] {
			w.chronicle.noteAs(control.EventTroubleOver, kind, subject{}, kind+" is over")
		}
	}
	w.was, w.failed, w.repairs = now, i.Usage.Failed, i.Usage.Repairs
}

// grown is what a trouble has more than before, of those that grow; nothing for others.
func (w *troubleWatch) grown(kind string, u *control.Usage) []chain.EventNumber {
	switch kind {
	case troubleFailed:
		return []chain.EventNumber{{Name: "bytes", Value: u.Failed - w.failed}}
	case troubleRepairs:
		return []chain.EventNumber{{Name: "pages", Value: u.Repairs - w.repairs}}
	}
	return nil
}

// failureWatch notes requests that were answered with an I/O error.
func failureWatch(c *chronicle, answered func() [fs.Kinds]fs.Answered) func() {
	var was int64
	return func() {
		var n int64
		for _, a := range answered() {
			n += a.Failed
		}
		if n > was {
			c.note(control.EventIOFailed, subject{}, "requests were answered with an I/O error; the log of the daemon says which",
				chain.EventNumber{Name: "requests", Value: n - was})
		}
		was = n
	}
}

// deviceWatch notes what the device answered with an error.
func deviceWatch(c *chronicle, dev blockdev.Device) func() {
	d, ok := dev.(interface{ Failures() blockdev.Failures })
	if !ok {
		return func() {}
	}
	var was blockdev.Failures
	return func() {
		is := d.Failures()
		if is != was {
			c.note(control.EventDevice, subject{}, "the device answered with an error; the log of the daemon says which",
				chain.EventNumber{Name: "reads", Value: is.Reads - was.Reads}, chain.EventNumber{Name: "writes", Value: is.Writes - was.Writes},
				chain.EventNumber{Name: "syncs", Value: is.Syncs - was.Syncs})
		}
		was = is
	}
}

// noteStart notes how the daemon began.
func (d *Daemon) noteStart() {
	with, ro := "slatefs "+control.Version()+" on "+d.live.Dir, ""
	if d.pool.ReadOnly() {
		ro = ", for reading"
	}
	size := chain.EventNumber{Name: "bytes", Value: d.pool.Size()}
	switch {
	case d.parked == nil:
		d.chronicle.note(control.EventMounted, subject{}, with+ro, size)
	case d.parked.ByFault:
		d.chronicle.note(control.EventTakenOver, subject{}, with+ro+"; the daemon before ended by a fault of its own", size)
	default:
		d.chronicle.note(control.EventTakenOver, subject{}, with+ro+" goes on with the mount", size)
	}
}

// noteEnd notes how it ends.
func (d *Daemon) noteEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), noteEndTime)
	defer cancel()
	if d.stay {
		d.chronicle.end(ctx, control.EventReloaded, "the daemon makes way for "+d.next)
		return
	}
	d.chronicle.end(ctx, control.EventUnmounted, "from "+d.live.Dir)
}

// noteResized notes another size of the pool.
func (c *chronicle) noteResized(how string, before, after int64) {
	text := fmt.Sprintf("%s, from %s to %s", how, show.FormatSize(before), show.FormatSize(after))
	if after > before {
		c.note(control.EventGrown, subject{}, text, chain.EventNumber{Name: "bytes", Value: after - before})
	} else {
		c.note(control.EventShrunk, subject{}, text, chain.EventNumber{Name: "bytes", Value: before - after})
	}
}

// noteErased notes what a record of the erase log says: that a job is done, or that the log was cut.
func (c *chronicle) noteErased(e control.EraseRecord) {
	switch {
	case c == nil, e.Seq <= c.seen:
	case e.Cut != nil:
		c.note(control.EventLogCut, subject{}, fmt.Sprintf("the erase log begins at record %d; before it only sums are known", e.Cut.Seq+1))
	case e.ID != 0 && e.Kind == "job":
		id, err := uuid.Parse(e.VolumeUUID)
		if err != nil {
			id = uuid.Nil
		}
		text := fmt.Sprintf("job %d: %s", e.ID, e.Reason)
		if e.Who != "" {
			text += ", " + e.Who
		}
		c.note(control.EventErased, subject{id, e.Title()}, text, chain.EventNumber{Name: "freed", Value: e.Freed},
			chain.EventNumber{Name: "zeroed", Value: e.Erased}, chain.EventNumber{Name: "released", Value: e.Released},
			chain.EventNumber{Name: "kept", Value: e.Kept})
	}
}

// refusable is an operation of which it is noted that it was refused for want of space: what it needed could not be had, or not be
// promised.
func refusable[Args, Result any](s *Service, fn func(context.Context, control.Peer, Args) (Result, error),
) func(context.Context, control.Peer, Args) (Result, error) {
	return func(ctx context.Context, who control.Peer, args Args) (Result, error) {
		res, err := fn(ctx, who, args)
		if errors.Is(err, chain.ErrNoSpace) || errors.Is(err, chain.ErrQuota) {
			s.chronicle.noteAs(control.EventRefused, who.Op, subject{}, fmt.Sprintf("%s by %s: %s", who.Op, who.String(), show.ErrorText(err)))
		}
		return res, err
	}
}
