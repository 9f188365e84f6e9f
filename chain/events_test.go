package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
)

// event is the n-th of a test.
func event(n int) Event {
	return Event{
		Time: time.Unix(int64(n), 5), Last: time.Unix(int64(n)+1, 0), Count: int64(1 + n%3), Kind: fmt.Sprint("kind-", n),
		Object: uuid.UUID{0: byte(n), 3: 1}, Path: fmt.Sprint("d/", n), Text: fmt.Sprint("text of ", n), Numbers: []EventNumber{{"n", int64(n)}},
	}
}

// addEvents adds the events from one to another of a test.
func addEvents(t testing.TB, p *Pool, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		if got, err := EventsOf(p).Add(t.Context(), []Event{event(n)}); got != 1 || err != nil {
			t.Fatalf("event %d: %d, %v", n, got, err)
		}
	}
}

// eventsOf lists all events, which must be of a test, under its numbers.
func eventsOf(t testing.TB, p *Pool) (out []Event) {
	t.Helper()
	ok(t, EventsOf(p).Each(0, func(es []Event) error { out = append(out, es...); return nil }))
	st, err := EventsOf(p).State()
	ok(t, err)
	for i, e := range out {
		want := event(int(e.ID))
		if want.ID = e.ID; !reflect.DeepEqual(e, want) || e.ID != st.First+uint64(i) {
			t.Fatalf("event %d is %+v, want %+v", st.First+uint64(i), e, want)
		}
	}
	if uint64(len(out)) != st.Last+1-st.First {
		t.Fatalf("%d events, %+v", len(out), st)
	}
	return out
}

// Numbers go up by one, over mounts and crashes; what is too many leaves, the oldest first; and the first one says so.
func TestEvents(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	if len(eventsOf(t, p)) != 0 {
		t.Fatal("a new pool has events")
	}
	bound := 32
	for round := range 4 {
		addEvents(t, p, 1+round*20, 20+round*20)
		st, err := EventsOf(p).State()
		ok(t, err)
		last := uint64(20 * (round + 1))
		first := uint64(max(1, int(last)-bound+1))
		if st != (EventState{First: first, Last: last, Durable: last - 20, Bound: uint64(bound)}) {
			t.Fatalf("round %d: %+v", round, st)
		}
		eventsOf(t, p)
		p = again(t, p, round%2 == 0)
		if st, err = EventsOf(p).State(); err != nil || st.Durable != last || st.Last != last {
			t.Fatalf("after mount %d: %+v, %v", round, st, err)
		}
		eventsOf(t, p)
		mustCheck(t, p)
	}
}

// Events of one call have numbers in its order; of a long list the first ones are taken.
func TestEventsTogether(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	var list []Event
	for n := range eventsAtOnce + 3 {
		list = append(list, event(n+1))
	}
	n, err := EventsOf(p).Add(t.Context(), list)
	if n != eventsAtOnce || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err = EventsOf(p).Add(t.Context(), list[n:]); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if got := eventsOf(t, p); len(got) != len(list) {
		t.Errorf("%d events", len(got))
	}
	var from []uint64
	ok(t, EventsOf(p).Each(9, func(es []Event) error {
		for _, e := range es {
			from = append(from, e.ID)
		}
		return nil
	}))
	if fmt.Sprint(from) != "[9 10 11]" {
		t.Errorf("from 9 on: %v", from)
	}
}

// Whatever is noted of an event, its row has bounds, and what is kept is the end of the path and the beginning of the rest.
func TestEventBounds(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	long := Event{Kind: strings.Repeat("k", 99), Path: strings.Repeat("p", 999) + "end", Text: "begin" + strings.Repeat("é", 9999)}
	long.Object = uuid.UUID{1}
	for range 99 {
		long.Numbers = append(long.Numbers, EventNumber{strings.Repeat("n", 99), 1<<62 - 1})
	}
	long.Numbers[0].Value = -1
	long.Time, long.Last, long.Count = time.Unix(-1<<40, 0), time.Unix(1<<40, 999_999_999), 1<<61
	if n := len(long.marshal()); n > maxEventRow {
		t.Fatalf("%d bytes", n)
	}
	_, err := EventsOf(p).Add(t.Context(), []Event{long})
	ok(t, err)
	ok(t, EventsOf(p).Each(1, func(es []Event) error {
		e := es[0]
		kept := strings.HasSuffix(e.Path, "end") && strings.HasPrefix(e.Text, "beginéé") && e.Count == 1<<61
		if !kept || len(e.Text) != maxEventText-1 || !utf8.ValidString(e.Text) || len(e.Numbers) != maxEventNumbers || e.Numbers[0].Value != 0 {
			t.Errorf("%+v", e)
		}
		return nil
	}))
	mustCheck(t, p)
}

// A crash at every operation of the device: what was shown under a number, since it was durable, is there under it, and the next
// number is none that was shown.
func TestEventsCrash(t *testing.T) {
	base := newDisk(t, 4<<20)
	run := func(d *devtest.Disk) (shown uint64) {
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			return 0
		}
		see := func() {
			if st, err := EventsOf(p).State(); err == nil && !d.Crashed() {
				shown = st.Durable
			}
		}
		for n := 1; n <= 48; n++ {
			_, _ = EventsOf(p).Add(t.Context(), []Event{event(n)})
			switch {
			case n%7 == 0:
				_ = p.Checkpoint()
			case n%5 == 0:
				_ = p.Flush()
			}
			see()
		}
		return shown
	}
	whole := base.Clone()
	if shown := run(whole); shown < 45 {
		t.Fatalf("%d of 48 are durable", shown)
	}
	seen := map[uint64]bool{}
	for k := 1; k <= whole.Ops(); k++ {
		d := base.Clone()
		d.CrashAt(k)
		shown := run(d)
		seen[shown] = true
		p := openPool(t, d.Crash(rand.New(rand.NewPCG(7, uint64(k)))))
		st, err := EventsOf(p).State()
		ok(t, err)
		if st.Last < shown || st.Durable != st.Last {
			t.Fatalf("crash at operation %d: event %d was shown, and now there is %+v", k, shown, st)
		}
		eventsOf(t, p)
		addEvents(t, p, int(st.Last)+1, int(st.Last)+2)
		eventsOf(t, p)
		mustCheck(t, p)
	}
	if len(seen) < 10 {
		t.Errorf("crashes after %v", seen)
	}
}

// What another process made and did not flush goes on in the tail under its number, and is not durable before it is.
func TestEventsInTheTail(t *testing.T) {
	d, mem := newDisk(t, 4<<20), memFile(t)
	p, err := Open(d, Options{Now: newClock().now, Tail: mem})
	ok(t, err)
	addEvents(t, p, 1, 3)
	ok(t, p.Flush())
	addEvents(t, p, 4, 5)
	p, err = Open(d, Options{Now: newClock().now, Tail: mem, Inherit: true})
	ok(t, err)
	ok(t, p.Flush())
	addEvents(t, p, 6, 6)
	if st, err := EventsOf(p).State(); err != nil || st.Durable != 5 || st.Last != 6 {
		t.Errorf("%+v, %v", st, err)
	}
	eventsOf(t, p)
	ok(t, p.Close())
}

// A log that cannot be read takes nothing, and says why; the pool is mounted, and does all else.
func TestEventsBroken(t *testing.T) {
	for name, row := range map[string][]byte{
		"no number":      {},
		"turned around":  marshalEvents(5, 7),
		"from nothing":   marshalEvents(5, 0),
		"a large number": marshalEvents(1<<60, 1),
	} {
		d := newDisk(t, 4<<20)
		p, err := Open(d, Options{Now: newClock().now})
		ok(t, err)
		addEvents(t, p, 1, 3)
		p.mu.Lock()
		p.names.cat.Put(catalog.Key(catalog.Event, 0), row)
		p.mu.Unlock()
		ok(t, p.Checkpoint())
		p, err = Open(d, Options{Now: newClock().now})
		ok(t, err)
		n, err := EventsOf(p).Add(t.Context(), []Event{event(4)})
		if n != 0 || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if err := EventsOf(p).Each(0, func([]Event) error { return nil }); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		v := mustVolume(t, p, "v", 64<<10)
		write(t, v, fill('a', 8192), 0)
		mustSnapshot(t, v, "s")
		ok(t, p.Checkpoint())
		if r, err := p.Check(t.Context()); err != nil || len(r.Errors) != 1 || !strings.Contains(r.Errors[0], "log of events") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// In a pool without space an event is noted, or refused, and nothing is given up for it: not what was destroyed and is kept.
func TestEventsInFullPool(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	setProp(t, p, RootIno, PropDestroyDelay, "7d")
	v := mustVolume(t, p, "kept", 256<<10)
	write(t, v, fill('a', 256<<10), 0)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
	w := mustVolume(t, p, "full", 64<<20)
	for off := int64(0); len(p.destroyed.rows) == 1; off += BlockSize {
		if u := p.Usage(); u.Avail < u.Destroyed-8*BlockSize { // a little of what is kept will be needed
			break
		}
		write(t, w, fill('b', BlockSize), off)
	}
	if len(p.destroyed.rows) != 1 {
		t.Fatal("what is kept went before the pool was full")
	}
	size, last := p.Usage().Meta, uint64(0)
	for n := range 100 {
		got, err := EventsOf(p).Add(t.Context(), []Event{event(n + 1)})
		if last += uint64(got); err != nil && !errors.Is(err, ErrNoSpace) {
			t.Fatal(err)
		}
		if n%10 == 9 {
			ok(t, p.Checkpoint())
		}
	}
	if last == 0 || len(p.destroyed.rows) != 1 || p.Usage().Meta != size {
		t.Errorf("%d events were noted, %d things are kept, metadata %d, before %d", last, len(p.destroyed.rows), p.Usage().Meta, size)
	}
	mustCheck(t, p)
}

// Records of the journal that no pool makes are refused.
func TestHostileEvents(t *testing.T) {
	for name, r := range map[string]*recEvent{
		"a number left out": {n: 5, first: 1},
		"a number again":    {n: 3, first: 1},
		"none":              {n: 0, first: 1},
		"another first":     {n: 4, first: 3, gone: 1},
		"too many gone":     {n: 4, first: 6, gone: 5},
		"all gone":          {n: 4, first: 5, gone: 4},
		"before the first":  {n: 4, first: 1, gone: 1 << 63},
		"a long row":        {n: 4, first: 1, row: make([]byte, maxEventRow+1)},
	} {
		p, err := Open(newDisk(t, 4<<20), Options{Now: newClock().now})
		ok(t, err)
		addEvents(t, p, 1, 3)
		p.structure.Lock()
		p.mu.Lock()
		err = r.apply(p)
		p.mu.Unlock()
		p.structure.Unlock()
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rows that are missing, left over or damaged are found by a check; what can be read of them is.
func TestCheckFindsEvents(t *testing.T) {
	for name, c := range map[string]struct {
		row  uint64
		val  []byte
		want string
	}{
		"missing":   {2, nil, "want event 2"},
		"the last":  {5, nil, "ends before event 5"},
		"too many":  {6, event(6).marshal(), "ends before event 7"},
		"no event":  {3, []byte{1}, "event 3"},
		"left over": {0, marshalEvents(5, 2), "want event 2"},
	} {
		p, err := Open(newDisk(t, 4<<20), Options{Now: newClock().now})
		ok(t, err)
		addEvents(t, p, 1, 5)
		p.mu.Lock()
		p.names.cat.Put(catalog.Key(catalog.Event, c.row), c.val)
		if c.row == 0 {
			p.events.first = 2
		}
		p.mu.Unlock()
		r, err := p.Check(t.Context())
		if err != nil || len(r.Errors) == 0 || !strings.Contains(strings.Join(r.Errors, "\n"), c.want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
