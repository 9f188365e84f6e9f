package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/fs"
)

// diary is a chronicle of a test's pool, on a clock of its own. What it tells is in told.
type diary struct {
	*chronicle
	t    *testing.T
	disk *devtest.Disk
	s    *Service
	at   time.Time
	told []control.Event
	said bytes.Buffer
}

func newDiary(t *testing.T) *diary {
	t.Helper()
	disk := devtest.New(64<<20, 512)
	err := chain.Create(disk, chain.Format{Name: "lab", UUID: uuid.UUID{9}, Zeroed: true, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	p, err := chain.Open(disk, chain.Options{Properties: control.Served, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	d := &diary{t: t, disk: disk, at: time.Unix(1_700_000_000, 0)}
	d.chronicle = newChronicle(p, slog.New(slog.NewTextHandler(&d.said, nil)), func() time.Time { return d.at })
	d.tell = func(e control.Event) { d.told = append(d.told, e) }
	d.s = &Service{Pool: p, chronicle: d.chronicle}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && p.Failed() == nil {
			t.Error(err)
		}
	})
	return d
}

// written has all written and made durable that is to be by now, and lists what is in the log, as KIND or KINDxCOUNT.
func (d *diary) written() (list []string) {
	d.t.Helper()
	d.turn(d.t.Context())
	if d.pool.Failed() == nil {
		if err := d.pool.Flush(); err != nil {
			d.t.Fatal(err)
		}
	}
	d.turn(d.t.Context())
	_, err := d.s.events(d.t.Context(), control.Peer{}, control.EventsArgs{}, func(es []control.Event) error {
		for _, e := range es {
			s := e.Kind
			if e.Count > 1 {
				s += fmt.Sprint("x", e.Count)
			}
			list = append(list, s)
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return list
}

func (d *diary) skip(by time.Duration) { d.at = d.at.Add(by) }

// A storm of what is alike is a line, then one with a count when its time is over, later each time; another kind is not held up.
func TestStormIsOneEvent(t *testing.T) {
	d := newDiary(t)
	one := subject{uuid.UUID{1}, "a"}
	storm := func(n int) {
		for range n {
			d.note("refused", one, "no", chain.EventNumber{Name: "n", Value: 2})
		}
	}
	storm(1000)
	d.note("other", subject{}, "")
	if got := d.written(); !slices.Equal(got, []string{"refused", "other"}) {
		t.Fatal(got)
	}
	d.skip(alikeFirst)
	if got := d.written(); !slices.Equal(got, []string{"refused", "other", "refusedx999"}) {
		t.Fatal(got)
	}
	last := d.told[2]
	if last.Numbers[0].Value != 2*999 || last.Path != "a" || last.Object != one.id.String() || !last.Last.Equal(last.Time) || last.ID != 3 {
		t.Errorf("%+v", last)
	}
	lines := 0
	for range 24 * 60 { // a day of it, each minute
		storm(10)
		d.skip(time.Minute)
		lines = len(d.written())
	}
	if lines > 40 {
		t.Errorf("a day of it is %d lines", lines)
	}
	d.skip(2 * alikeLast)
	d.written()
	d.skip(2 * alikeLast)
	d.written()
	if len(d.held) != 0 {
		t.Errorf("%d things are remembered when all is quiet", len(d.held))
	}
}

// Of many of a kind the first are told apart, the others counted; a flood of kinds and objects is bounded, too.
func TestManyOfAKind(t *testing.T) {
	d := newDiary(t)
	for i := range 1000 {
		d.note("erased", subject{uuid.UUID{byte(i), byte(i >> 8)}, fmt.Sprint("v", i)}, "done", chain.EventNumber{Name: "bytes", Value: 1})
	}
	d.skip(alikeFirst)
	d.written()
	n, bytes := int64(0), int64(0)
	for _, e := range d.told {
		n += e.Count
		bytes += e.Numbers[0].Value
	}
	if n != 1000 || bytes != 1000 || len(d.told) != apartMost+2 {
		t.Errorf("%d events of %d, %d bytes", len(d.told), n, bytes)
	}
	if e := d.told[len(d.told)-1]; e.Path != "" || e.Object != "" || e.Count != 1000-apartMost-1 {
		t.Errorf("%+v", e)
	}
	for i := range 50_000 {
		d.note(fmt.Sprint("kind", i%50), subject{path: fmt.Sprint(i)}, "")
	}
	if len(d.queue) > queueMost || len(d.held) > heldMost+50 {
		t.Errorf("%d wait, %d are remembered", len(d.queue), len(d.held))
	}
}

// Numbers go on over mounts, and what was noted last is durable before the pool is closed.
func TestChronicleEnds(t *testing.T) {
	disk := devtest.New(64<<20, 512)
	if err := chain.Create(disk, chain.Format{Name: "lab", UUID: uuid.UUID{9}, Zeroed: true, Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	for mount := range uint64(3) {
		p, err := chain.Open(disk, chain.Options{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		var told []uint64
		c := newChronicle(p, slog.New(slog.DiscardHandler), time.Now)
		c.tell = func(e control.Event) { told = append(told, e.ID) }
		c.note(control.EventMounted, subject{}, "")
		c.turn(t.Context())
		c.note("again", subject{}, "") // is added up
		c.note("again", subject{}, "")
		c.end(t.Context(), control.EventUnmounted, "")
		if want := []uint64{4*mount + 1, 4*mount + 2, 4*mount + 3, 4*mount + 4}; !slices.Equal(told, want) {
			t.Errorf("mount %d: told %v, want %v", mount, told, want)
		}
		disk = disk.Durable() // without a close
	}
}

// What a pool that has failed cannot keep is shown from memory, without a number, and is in the daemon's log; and the numbers that were not
// durable are nobody's.
func TestEventsOfAFailedPool(t *testing.T) {
	d := newDiary(t)
	d.note("first", subject{}, "")
	if got := d.written(); !slices.Equal(got, []string{"first"}) {
		t.Fatal(got)
	}
	d.note("second", subject{}, "")
	d.write(t.Context())
	d.disk.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync {
			return errors.New("lost")
		}
		return nil
	})
	if err := d.pool.Flush(); err == nil {
		t.Fatal("the sync did not fail")
	}
	d.note("third", subject{}, "text of it")
	if got := d.written(); !slices.Equal(got, []string{"first", "second", "third"}) {
		t.Fatal(got)
	}
	for i, want := range []uint64{1, 0, 0} {
		if d.told[i].ID != want {
			t.Errorf("%s has number %d", d.told[i].Kind, d.told[i].ID)
		}
	}
	if s := d.said.String(); !strings.Contains(s, "kind=third") || !strings.Contains(s, "text of it") {
		t.Error(s)
	}
	if i := d.info(); i.Last != 1 || !strings.Contains(i.Trouble, "read-only") {
		t.Errorf("%+v", i)
	}
	for range 3 * unkeptMost {
		d.note(fmt.Sprint("kind", len(d.held)), subject{}, "")
		d.turn(t.Context())
	}
	if len(d.unkept) != unkeptMost || d.info().Lost == 0 {
		t.Errorf("%d are remembered, %d lost", len(d.unkept), d.info().Lost)
	}
	d.disk.Fail(nil)
}

// Who is told of events is told of each once, though the pool fails: what is durable under its number, what may be durable or not without
// one, and that not again at the next mount, where it is in the log. And nobody who notes something waits for who is told.
func TestEachIsToldOnce(t *testing.T) {
	d := newDiary(t)
	var told []string
	d.tell = func(e control.Event) {
		told = append(told, fmt.Sprint(e.Kind, e.ID))
		if !d.mu.TryLock() {
			t.Error("whoever notes something waits for who is told of ", e.Kind)
			return
		}
		d.mu.Unlock()
	}
	d.note("first", subject{}, "")
	d.written()
	d.note("second", subject{}, "") // is durable before it is told
	d.write(t.Context())
	if err := d.pool.Flush(); err != nil {
		t.Fatal(err)
	}
	d.note("third", subject{}, "") // is on the device when the sync fails
	d.write(t.Context())
	var wrote atomic.Bool // the record of it
	d.disk.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync && wrote.Load() {
			return errors.New("lost")
		}
		wrote.Store(wrote.Load() || op.Kind == devtest.OpWrite)
		return nil
	})
	if err := d.pool.Flush(); err == nil {
		t.Fatal("the sync did not fail")
	}
	d.note("fourth", subject{}, "")
	d.written()
	d.written()
	if want := []string{"first1", "second2", "third0", "fourth0"}; !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	d.disk.Fail(nil)
	p, err := chain.Open(d.disk.Clone(), chain.Options{Properties: control.Served, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	st, err := chain.EventsOf(p).State()
	if err != nil || st.Last != 3 {
		t.Errorf("%+v, %v: the third is not in the log at the next mount", st, err)
	}
	c := newChronicle(p, slog.New(slog.DiscardHandler), d.now)
	c.tell = func(e control.Event) { t.Errorf("%s is told again", e.Kind) }
	c.turn(t.Context())
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// What is durable and cannot be read just now is told when it can be, and the log says that once.
func TestUnreadIsToldLater(t *testing.T) {
	d := newDiary(t)
	const n = 30
	for i := range n {
		d.note(fmt.Sprint("kind", i), subject{path: strings.Repeat("p", 250)}, strings.Repeat("t", 250)) // more than a page has room for
	}
	d.written()
	if err := d.pool.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	disk := d.disk.Clone()
	p, err := chain.Open(disk, chain.Options{Properties: control.Served, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	var told []uint64
	c := newChronicle(p, slog.New(slog.NewTextHandler(&said, nil)), d.now)
	c.told, c.tell = 0, func(e control.Event) { told = append(told, e.ID) }
	disk.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpRead {
			return errors.New("not now")
		}
		return nil
	})
	c.show()
	c.show()
	if len(told) == n || strings.Count(said.String(), "events cannot be read") != 1 {
		t.Errorf("told of %v while they could not be read, the log says: %s", told, said.String())
	}
	disk.Fail(nil)
	c.show()
	for i := range uint64(n) {
		if len(told) != n || told[i] != i+1 {
			t.Fatalf("told of %v", told)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// A device that does not write does not stop who notes something; when it does, all is there.
func TestNotingWaitsForNothing(t *testing.T) {
	d := newDiary(t)
	release := d.disk.Hold(func(op devtest.Op) bool { return op.Kind == devtest.OpSync })
	var flushes sync.WaitGroup
	flushes.Go(func() { _ = d.pool.Flush() })
	ran := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ran <- d.run(ctx) }()
	for i := range 25 {
		d.note(fmt.Sprint("kind", i), subject{}, "") // would hang here
	}
	release()
	flushes.Wait()
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	if got := d.written(); len(got) != 25 {
		t.Errorf("%d events", len(got))
	}
}

// Who follows sees what was, what comes, and what the pool cannot keep; and is let go when he goes.
func TestFollow(t *testing.T) {
	d := newDiary(t)
	d.note("before", subject{}, "")
	d.written()
	ctx, cancel := context.WithCancel(t.Context())
	seen, ended := make(chan string, 10), make(chan error)
	go func() {
		_, err := d.s.events(ctx, control.Peer{}, control.EventsArgs{Follow: true}, func(es []control.Event) error {
			for _, e := range es {
				seen <- fmt.Sprint(e.Kind, e.ID)
			}
			return nil
		})
		ended <- err
	}()
	want := func(text string) {
		t.Helper()
		if got := <-seen; got != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
	want("before1")
	d.note("then", subject{}, "")
	d.written()
	want("then2")
	d.mu.Lock()
	d.queue = append(d.queue, chain.Event{Kind: "unkept"})
	d.mu.Unlock()
	d.keepNone(chain.ErrReadOnly)
	want("unkept0")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// failing is a device that counts what it answered with an error.
type failing struct {
	*devtest.Disk
	n blockdev.Failures
}

func (f *failing) Failures() blockdev.Failures { return f.n }

// What fails is an event, with how much of it is new.
func TestFailuresAreEvents(t *testing.T) {
	d := newDiary(t)
	dev, answered := &failing{}, [fs.Kinds]fs.Answered{}
	d.looks = append(d.looks, deviceWatch(d.chronicle, dev), failureWatch(d.chronicle, func() [fs.Kinds]fs.Answered { return answered }))
	deviceWatch(d.chronicle, devtest.New(1<<20, 512))()
	if got := d.written(); len(got) != 0 {
		t.Fatal(got)
	}
	for round := range int64(2) {
		dev.n.Reads += 2 + round
		answered[fs.KindRead].Failed += 5
		d.skip(2 * alikeLast)
		d.written()
		d.skip(2 * alikeLast)
		d.written()
		dev, io := d.told[len(d.told)-2], d.told[len(d.told)-1]
		if dev.Kind != control.EventDevice || dev.Numbers[0].Value != 2+round || io.Kind != control.EventIOFailed || io.Numbers[0].Value != 5 {
			t.Errorf("%+v, %+v", dev, io)
		}
	}
	if len(d.told) != 4 {
		t.Errorf("%+v", d.told)
	}
}

// docs/events.md has every kind, and no other; of troubles those that stand in their own table.
func TestEventsAreTold(t *testing.T) {
	doc, err := os.ReadFile("../../../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| kind |")
	var told []string
	for line := range strings.Lines(table) {
		cell, row := strings.CutPrefix(line, "| ")
		if !row {
			continue
		}
		cell, _, _ = strings.Cut(cell, " |")
		for word := range strings.SplitSeq(cell, ", ") {
			if name, ok := strings.CutPrefix(word, "`"); ok {
				told = append(told, strings.TrimSuffix(name, "`"))
			}
		}
	}
	want := slices.Clone(control.EventKinds)
	slices.Sort(want)
	slices.Sort(told)
	if !slices.Equal(told, want) {
		t.Errorf("told of %v, there are %v", told, want)
	}
}

// Jobs that are done and cuts of the erase log are noted from its records: from those that are newer than the daemon, for after a crash
// they are told again.
func TestErasedIsAnEvent(t *testing.T) {
	d := newDiary(t)
	d.seen = 7
	d.noteErased(control.EraseRecord{Kind: "job", Seq: 7, ID: 3})
	d.noteErased(control.EraseRecord{Kind: "day", Seq: 8, Day: "2026-11-30"})
	d.noteErased(control.EraseRecord{Kind: "cut", Seq: 9, Cut: &control.LogCut{Seq: 4}})
	job := control.EraseRecord{Kind: "job", Seq: 10, ID: 4, Volume: "d/v", Snapshot: "s", Reason: "gone", Who: "uid 0"}
	job.VolumeUUID, job.Freed, job.Erased, job.Released, job.Kept = uuid.UUID{5}.String(), 10, 4, 5, 1
	d.noteErased(job)
	if got := d.written(); !slices.Equal(got, []string{"log-cut", "erased"}) {
		t.Fatal(got)
	}
	e := d.told[1].Public()
	want := map[string]int64{"freed": 10, "zeroed": 4, "released": 5, "kept": 1}
	if e.Path != "d/v@s" || e.Object != job.VolumeUUID || e.Text != "job 4: gone, uid 0" || !maps.Equal(e.Numbers, want) {
		t.Errorf("%+v", e)
	}
	if text := d.told[0].Text; !strings.Contains(text, "begins at record 5") {
		t.Error(text)
	}
}

// Troubles are noted when they begin and when they are over, growing ones each time that they grow.
func TestTroublesAreEvents(t *testing.T) {
	d := newDiary(t)
	w := newTroubleWatch(d.chronicle)
	look := func(want string, i control.PoolInfo) {
		t.Helper()
		d.skip(2 * alikeLast)
		d.written()
		had := len(d.told)
		w.look(&i)
		d.written()
		var got []string
		for _, e := range d.told[had:] {
			got = append(got, e.Kind)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	look("", control.PoolInfo{})
	look("grow-stuck writers-refused", control.PoolInfo{Stuck: "x", Usage: control.Usage{Refused: control.Refused{Count: 1}}})
	look("", control.PoolInfo{Stuck: "y", Usage: control.Usage{Refused: control.Refused{Count: 9}}})
	look("trouble-over", control.PoolInfo{Stuck: "y"})
	look("erase-failed trouble-over", control.PoolInfo{Usage: control.Usage{Failed: 8192}})
	if !slices.ContainsFunc(d.told, func(e control.Event) bool {
		return e.Kind == troubleFailed && e.Numbers[0] == control.EventNumber{Name: "bytes", Value: 8192}
	}) {
		t.Errorf("%+v", d.told)
	}
	look("", control.PoolInfo{Usage: control.Usage{Failed: 8192}})
	look("", control.PoolInfo{Usage: control.Usage{Failed: 4096}})
	look("erase-failed pages-repaired", control.PoolInfo{Usage: control.Usage{Failed: 12288, Repairs: 2}})
	look("trouble-over", control.PoolInfo{Usage: control.Usage{Failed: 4096}})
	held := control.PoolInfo{Usage: control.Usage{Failed: 4096}, PagesHeld: &control.HeldInfo{Since: d.now(), All: true}}
	held.Asked = held.PagesHeld.Since.Add(time.Second)
	look("", held) // it may take a while
	held.Asked = held.PagesHeld.Since.Add(time.Minute)
	look("pages-held", held)
	look("trouble-over", control.PoolInfo{Usage: control.Usage{Failed: 4096}})
}
