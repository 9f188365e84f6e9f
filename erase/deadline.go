package erase

import (
	"fmt"
	"math"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/size"
)

// A job may be due at a time (erase_deadline). The queue hands out what is due first first, so that each job is zero in time
// if for every one of them all that goes before it, and it, can be written until then. The least rate by which they can is
// what is needed: once a second the background reckons it, and where it is more than SetRate's it goes up to it, at most to
// that of SetReserve. A window and a pause are kept: what they break is said, not mended.
const (
	dueTime = time.Second     // how often it is reckoned
	dueLag  = 2 * time.Second // from when a block is written until it is reported, in which nothing is earned
	// dueShare bounds what reckoning takes of all time, where there are very many jobs.
	dueShare = 20
)

// asFastAsMaybe is a need that no rate meets: it is late already.
const asFastAsMaybe = math.MaxInt64

// reckon finds out what rate is needed, if its time has come, and tells of jobs that begin to be late.
func (e *Eraser) reckon(now time.Time, b *bucket) {
	if now.Before(e.reckonAt) {
		return
	}
	e.stats.find(now, b.rate)
	dues := e.queue.Deadlines()
	e.need.Store(steady(e.need.Load(), needed(now, e.window.Load(), dues)))
	e.tellLate(now, dues)
	after := e.clock.Now()
	e.reckonAt = after.Add(max(dueTime, dueShare*after.Sub(now)))
}

// needed is the least rate, in bytes/s, by which all are zero in time, and an eighth for what goes wrong; 0: there is nothing
// to be done.
func needed(now time.Time, w *Window, dues []blockdev.Due) (rate int64) {
	var open time.Duration // of the window, up to the last one
	from := now
	for _, d := range dues {
		if d.At.Before(from) { // it was put first, and is due later than this one; or it is late
			open, from = 0, now
		}
		if d.At.After(from) {
			open += w.Open(from, d.At)
			from = d.At
		}
		if d.Ahead <= 0 {
			continue
		}
		left := (open - dueLag).Seconds()
		if left <= 0 {
			return asFastAsMaybe
		}
		if need := float64(d.Ahead) / left * 9 / 8; need < math.MaxInt64/2 {
			rate = max(rate, int64(need)+1)
		} else {
			return asFastAsMaybe
		}
	}
	return rate
}

// steady keeps the bound from moving every second, which would lose what was earned: a need is met by a step of a scale, and
// a step is left when much less would do.
func steady(was, need int64) int64 {
	switch {
	case need == 0 || need == asFastAsMaybe:
		return need
	case was != asFastAsMaybe && need <= was && need > was/8*5:
		return was
	}
	step := int64(blockBytes)
	for step < need && step < math.MaxInt64/2 {
		step += step / 4
	}
	return max(step, need)
}

// Outlook is what becomes of a deadline as it looks now, if nothing else comes.
type Outlook struct {
	blockdev.Due
	Late   time.Duration // it is or will be zero so much later; 0: in time
	Broken bool          // its time is over
	Never  bool          // as things are it will not be zero at all; Late is what it is now
	Why    string        // if it is not in time
}

// Bad tells that somebody should look at it.
func (o Outlook) Bad() bool { return o.Broken || o.Late > 0 || o.Never }

// Outlook tells what becomes of a job that is due.
func (s Stats) Outlook(now time.Time, d blockdev.Due) Outlook {
	o := Outlook{Due: d, Broken: now.After(d.At)}
	end, rate := now, s.top()
	if d.Ahead > 0 {
		if end = s.Window.Opens(now); rate > 0 {
			end = s.Window.End(now, d.Ahead, rate)
		}
	}
	if d.Failed && d.Retry.After(end) {
		end = d.Retry
	}
	switch o.Late = max(0, end.Sub(d.At)); {
	case s.Paused:
		o.Never, o.Late = true, max(0, now.Sub(d.At))
		o.Why = "erasing is paused"
	case !o.Bad():
	case d.Failed && d.Ahead == 0:
		o.Why = "some of it could not be erased, and is tried again"
	case s.Window.Opens(now).After(now):
		o.Why = fmt.Sprintf("erasing rests outside the window %v", s.Window)
	case rate > 0:
		o.Why = fmt.Sprintf("%s are to be erased until then, at %s/s at most", size.Format(d.Ahead), size.Format(rate))
	default:
		o.Why = fmt.Sprintf("%s are to be erased still", size.Format(d.Ahead))
	}
	return o
}

// top is the most that the background does, in bytes/s: what it may do, or what it found that the device does; 0: not known.
func (s Stats) top() int64 {
	if s.Device > 0 && (s.Top == 0 || s.Device < s.Top) {
		return s.Device
	}
	return s.Top
}

// Worst is the latest of some, and how many are not in time, and how many of these are over.
func Worst(all []Outlook) (worst Outlook, late, broken int) {
	for _, o := range all {
		if !o.Bad() {
			continue
		}
		if late++; o.Broken {
			broken++
		}
		if late == 1 || o.Late > worst.Late || o.Late == worst.Late && o.At.Before(worst.At) {
			worst = o
		}
	}
	return worst, late, broken
}

// Outlooks tells what becomes of each job that is due.
func (e *Eraser) Outlooks() []Outlook { return e.outlooks(e.clock.Now(), e.queue.Deadlines()) }

func (e *Eraser) outlooks(now time.Time, dues []blockdev.Due) (all []Outlook) {
	if len(dues) == 0 {
		return nil
	}
	s := e.Stats()
	for _, d := range dues {
		all = append(all, s.Outlook(now, d))
	}
	return all
}

// tellLate logs that another job than before is the latest, or that its time is over.
func (e *Eraser) tellLate(now time.Time, dues []blockdev.Due) {
	worst, late, broken := Worst(e.outlooks(now, dues))
	if e.toldLate == worst.Job && e.toldBroken == worst.Broken {
		return
	}
	e.toldLate, e.toldBroken = worst.Job, worst.Broken
	switch {
	case late == 0:
		e.log.Info("erase: no deadline is at risk any more")
	case worst.Broken:
		e.log.Error("erase: a deadline is broken", "job", worst.Job, "due", worst.At, "late", worst.Late, "why", worst.Why, "jobs", late, "broken", broken)
	default:
		e.log.Warn("erase: a deadline is at risk", "job", worst.Job, "due", worst.At, "late", worst.Late, "why", worst.Why, "jobs", late)
	}
}
