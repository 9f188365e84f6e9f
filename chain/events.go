package chain

import (
	"cmp"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// The log of events is what happened to a pool, for who runs it: rows of the catalog by their numbers, which go up by one, survive
// everything that the pool does, and are never given twice. It is bounded: the record that adds one takes the oldest away. Nobody
// decides anything by it, and nothing waits for it: who notes events (the daemon) does that beside all others, and what could not
// be noted has happened all the same. Not even a mount fails if the log cannot be read: then it takes nothing.
//
// An event has its number from when its record is made, and is shown under it only when that is durable: of a power cut's victims
// the numbers are given again, and nobody has seen them.

// Event is something that happened to a pool.
type Event struct {
	ID         uint64        // its number, from 1 on; 0: it is in no log yet
	Time, Last time.Time     // of the first and of the last of Count
	Count      int64         // how many of the kind it stands for; at least 1
	Kind       string        // a word of who noted it
	Object     uuid.UUID     // of the volume or snapshot that it is of; zero: the pool, or several
	Path       string        // how that was called then: bytes, as names are
	Text       string        // for people
	Numbers    []EventNumber // what else is known, in the order of who noted it
}

// EventNumber is a number of an event.
type EventNumber struct {
	Name  string
	Value int64 // never negative
}

// Bounds of what is kept of an event, in bytes: a row fits one value of the catalog. Of a longer path the end is kept, of a longer
// word or text the beginning.
const (
	maxEventWord    = 32
	maxEventPath    = 256
	maxEventText    = 256
	maxEventNumbers = 8
	maxEventRow     = 1000
)

// maxEventID bounds numbers: they are in keys of rows.
const maxEventID = 1<<55 - 1

// eventTable knows which numbers there are. The plan lock guards it.
type eventTable struct {
	*core
	commits *commitLog
	names   *nameTable

	last    uint64      // mu: the newest number given
	first   uint64      // mu: the oldest that is there; last+1: none is
	durable uint64      // mu: the newest that a power cut leaves
	made    []eventMark // mu: newer ones, by when they will be that
	broken  error       // mu: the log cannot be read, and takes nothing
}

// eventMark: numbers up to this are durable when so many records are.
type eventMark struct{ lsn, last uint64 }

// maxEventMarks bounds marks: further events share the last one.
const maxEventMarks = 16

// bound is how many events stay: 256 for each GiB of the pool, within limits.
func (ev *eventTable) bound() uint64 {
	return uint64(min(max(ev.format.Blocks/1024, 32), 4096))
}

// settle moves durable to what is that by now.
func (ev *eventTable) settle() {
	ev.mu.assertHeld()
	for len(ev.made) > 0 && ev.made[0].lsn <= ev.commits.durable {
		ev.durable, ev.made = ev.made[0].last, ev.made[1:]
	}
}

// next is the record of an event: it has the next number, and takes away what is too old by then.
func (ev *eventTable) next(e Event) *recEvent {
	ev.mu.assertHeld()
	r := &recEvent{n: ev.last + 1, first: ev.first, row: e.marshal()}
	for r.gone < eventsGone && r.n-r.first >= ev.bound() {
		r.first, r.gone = r.first+1, r.gone+1
	}
	return r
}

// eventsGone bounds the rows that one record takes away; more than one are too old only where the pool became smaller.
const eventsGone = 4

// load reads which numbers there are. What cannot be read is no reason not to mount.
func (ev *eventTable) load() {
	ev.mu.assertHeld()
	ev.first = 1
	v, ok, err := ev.names.cat.Get(catalog.Key(catalog.Event, 0))
	if err == nil && ok {
		d := codec.Decoder{B: v}
		ev.last, ev.first = d.Uint(), d.Uint()
		d.Attrs(nil)
		err = wrapCorrupt(d.Done())
	}
	if err == nil && (ev.last > maxEventID || ev.first == 0 || ev.first > ev.last+1) {
		err = fmt.Errorf("events %d to %d: %w", ev.first, ev.last, ErrCorrupt)
	}
	if ev.durable = ev.last; err != nil {
		ev.broken = fmt.Errorf("log of events: %w", err)
	}
}

// put is what a record of an event does.
func (ev *eventTable) put(r *recEvent) {
	ev.mu.assertHeld()
	ev.mu.step(int(r.gone) + 2)
	cat := &ev.names.cat
	for i := range r.gone {
		cat.Put(catalog.Key(catalog.Event, r.first-1-i), nil)
	}
	ev.last, ev.first = r.n, r.first
	cat.Put(catalog.Key(catalog.Event, r.n), r.row)
	cat.Put(catalog.Key(catalog.Event, 0), marshalEvents(r.n, r.first))
	ev.settle()
	if len(ev.made) == maxEventMarks {
		ev.made = ev.made[:maxEventMarks-1]
	}
	ev.made = append(ev.made, eventMark{ev.commits.lsn, r.n})
}

// marshalEvents is the row of the log's state.
func marshalEvents(last, first uint64) []byte {
	e := codec.Encoder{}
	e.Uint(last)
	e.Uint(first)
	e.Attrs(nil)
	return e.B
}

// some reads events from a number on, as many as one hold of the lock should. next: where to go on; 0: there are no more.
func (ev *eventTable) some(from uint64) (out []Event, next uint64, err error) {
	if ev.broken != nil {
		return nil, 0, ev.broken
	}
	var bad error
	at, more, err := ev.names.cat.ScanSome(catalog.Key(catalog.Event, max(from, ev.first)), eventsAtOnce, func(k meta.Key, v []byte) bool {
		ev.mu.step(1)
		var e Event
		if catalog.KindOf(k) != catalog.Event || catalog.NumberOf(k) > ev.last {
			return false
		}
		if bad = e.unmarshal(v); bad != nil {
			bad = fmt.Errorf("event %d: %w", catalog.NumberOf(k), bad)
			return false
		}
		e.ID = catalog.NumberOf(k)
		out = append(out, e)
		return true
	})
	if more && catalog.KindOf(at) == catalog.Event {
		next = catalog.NumberOf(at)
	}
	return out, next, cmp.Or(err, bad)
}

// eventsAtOnce bounds what is read, or noted, under one hold of the plan lock.
const eventsAtOnce = 8

// marshal is the row of an event, within its bounds.
func (e Event) marshal() []byte {
	w := codec.Encoder{}
	w.Time(e.Time)
	w.Time(e.Last)
	w.Int(max(e.Count, 1))
	w.Str(e.Kind[:min(len(e.Kind), maxEventWord)])
	if e.Object == uuid.Nil {
		w.Bytes(nil)
	} else {
		w.Bytes(e.Object[:])
	}
	w.Str(e.Path[max(0, len(e.Path)-maxEventPath):])
	w.Str(e.Text[:textEnd(e.Text)])
	numbers := e.Numbers[:min(len(e.Numbers), maxEventNumbers)]
	w.Uint(uint64(len(numbers)))
	for _, n := range numbers {
		w.Str(n.Name[:min(len(n.Name), maxEventWord)])
		w.Int(max(n.Value, 0))
	}
	w.Attrs(nil)
	return w.B
}

// textEnd is how many bytes of a text are kept: no letter of it in part.
func textEnd(s string) int {
	if len(s) <= maxEventText {
		return len(s)
	}
	n := maxEventText
	for n > maxEventText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

// unmarshal reads it. The number is in the row's key.
func (e *Event) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	e.Time, e.Last, e.Count, e.Kind = d.Time(), d.Time(), d.Int(), d.Str()
	switch id := d.Bytes(); len(id) {
	case 0:
	case len(e.Object):
		copy(e.Object[:], id)
	default:
		d.Fail("bad UUID")
	}
	e.Path, e.Text = d.Str(), d.Str()
	for range d.LenOf(2) {
		e.Numbers = append(e.Numbers, EventNumber{d.Str(), d.Int()})
	}
	d.Attrs(nil)
	return wrapCorrupt(d.Done())
}
