package chain

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
)

// chainOf is the chain of a pool's log, which must hold from where it begins to its head.
func chainOf(t testing.TB, p *Pool) (es []evidence.Entry) {
	t.Helper()
	recs, err := p.EraseLog()
	ok(t, err)
	for _, r := range recs {
		if r.Seq != 0 {
			es = append(es, r.Entry)
		}
	}
	l := p.Log().State()
	if h, err := evidence.Verify(l.Cut.At, es); err != nil || h != l.Head {
		t.Errorf("the chain ends at %v, the head is %v: %v", h, l.Head, err)
	}
	return es
}

// erasedVolume makes a record: of a volume with so many blocks.
func erasedVolume(t testing.TB, p *Pool, name string, blocks int) {
	t.Helper()
	v := mustVolume(t, p, name, 256<<10)
	if blocks > 0 {
		write(t, v, fill('a', blocks*BlockSize), 0)
	}
	ok(t, p.DestroyVolume(Req{UID: 7}, v.ino, DestroyOptions{}))
	eraseAll(t, p)
}

// Each record is tied to the one before it, from the pool's own beginning, and stays what it was through crashes, checkpoints
// and mounts.
func TestLogIsAChain(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	if l := p.Log().State(); l.Head != evidence.Genesis(p.uuid) || l.Cut.At != l.Head || l.Records != 0 {
		t.Fatalf("an empty log: %+v", l)
	}
	for i := range 3 {
		erasedVolume(t, p, fmt.Sprint("v", i), i+1)
	}
	want := chainOf(t, p)
	if len(want) != 3 || want[0].Prev != evidence.Genesis(p.uuid).Hash {
		t.Fatalf("%+v", want)
	}
	for i := range 4 {
		if i == 2 {
			ok(t, p.Checkpoint())
		}
		p = again(t, p, i%2 == 0)
		got := chainOf(t, p)
		if len(got) < len(want) || !reflect.DeepEqual(got[:len(want)], want) {
			t.Fatalf("after mount %d: %+v, want %+v", i, got, want)
		}
		erasedVolume(t, p, fmt.Sprint("w", i), 1)
		want = chainOf(t, p)
	}
	for i, e := range want {
		r, err := evidence.Unmarshal(e.Row)
		ok(t, err)
		var some []EraseRecord
		ok(t, p.Log().Each(e.Seq, func(recs []EraseRecord) error { some = append(some, recs...); return nil }))
		if len(some) != len(want)-i || some[0].Seq != e.Seq || some[0].Freed != r.Freed*BlockSize {
			t.Errorf("from record %d: %+v", e.Seq, some)
		}
	}
}

// logStory does all that comes to the log: a job, lines of days, a day that is over, a line of what owned nothing, a signature,
// and a cut, with the rows that go.
func logStory(p *Pool, clock *clock) error {
	p.opt.Now = clock.now
	p.SetZeroNow(nil)
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	house := func() {
		for p.keeper.keepHouse(tContext) {
		}
	}
	step := func(i int) error {
		a, err := p.Create(Req{}, RootIno, fmt.Sprint("v", i), 0o600)
		if err != nil {
			return err
		}
		v, err := p.Volume(a.Ino)
		if err != nil {
			return err
		}
		ops := []func() error{
			func() error { _, err := v.WriteAt(fill('a', 16<<10), 0); return err },
			func() error { return v.Punch(0, 8<<10) },
			func() error { return p.Snapshot(Req{}, []Ino{a.Ino}, "s") },
			func() error { return p.Snapshot(Req{}, []Ino{a.Ino}, "empty") },
			func() error { return p.DestroySnapshots(Req{UID: 3}, a.Ino, []string{"empty"}, DestroyOptions{}) },
			func() error { return p.EraseDrain(tContext) },
			func() error { _, err := eraseSome(p, 1<<20); return err },
			func() error { return p.DestroyVolume(Req{}, a.Ino, DestroyOptions{Snapshots: true}) },
			func() error { return p.EraseDrain(tContext) },
			func() error { _, err := eraseSome(p, 1<<20); return err },
			func() error { return p.Log().Sign(evidence.SignHead(key, p.uuid, p.Log().State().Head, clock.t)) },
			p.Flush,
		}
		for _, op := range ops {
			if err := op(); err != nil {
				return err
			}
		}
		clock.t = clock.t.Add(25 * time.Hour)
		house()
		return p.Failed()
	}
	for i := range 14 {
		if err := step(i); err != nil {
			return err
		}
		if i == 7 {
			if err := p.Checkpoint(); err != nil {
				return err
			}
		}
	}
	return p.Flush()
}

var tContext = context.Background()

// After a crash at any operation the chain is a part of what it would have been, from its beginning, and goes on.
func TestLogCrash(t *testing.T) {
	base := newDisk(t, 4<<20)
	run := func(d *devtest.Disk) ([]EraseRecord, error) {
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			return nil, err
		}
		err = logStory(p, newClock())
		return p.Told(), err
	}
	whole := base.Clone()
	told, err := run(whole)
	ok(t, err)
	p := openPool(t, whole.Crash(rand.New(rand.NewPCG(1, 1))))
	all := p.Log().State()
	if all.Cut.At.Seq == 0 || all.Head.Seq < 40 || len(all.Signed) == 0 {
		t.Fatalf("the story has too little in it: %+v", all)
	}
	heads := []evidence.Head{evidence.Genesis(p.uuid)}
	for _, r := range told {
		heads = append(heads, r.Entry.Head())
	}
	for k := 1; k <= whole.Ops(); k += 3 {
		d := base.Clone()
		d.CrashAt(k)
		_, _ = run(d)
		p := openPool(t, d.Crash(rand.New(rand.NewPCG(7, uint64(k)))))
		l := p.Log().State()
		if h := heads[l.Head.Seq]; h != l.Head {
			t.Fatalf("crash at %d: the log ends at %v, want %v", k, l.Head, h)
		}
		chainOf(t, p)
		house(t, p)
		mustCheck(t, p)
		eraseAll(t, p)
		erasedVolume(t, p, "after", 2)
		chainOf(t, p)
		if n := p.Log().State().Head.Seq; n <= l.Head.Seq {
			t.Fatalf("crash at %d: the log does not go on: %d, %d", k, l.Head.Seq, n)
		}
	}
}

// A line is closed when its day is over, though nobody writes; a clock that is set back or forward breaks nothing.
func TestLogDaysAndClocks(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	clock := &clock{t: time.Date(2026, 11, 29, 23, 0, 0, 0, time.UTC)}
	p.opt.Now = clock.now
	v := mustVolume(t, p, "vm", 256<<10)
	overwrite := func() {
		t.Helper()
		write(t, v, fill('a', 16<<10), 0)
		ok(t, v.Punch(0, 16<<10))
		eraseAll(t, p)
	}
	overwrite()
	house(t, p)
	if l := p.Log().State(); l.Open != 1 || l.Head.Seq != 0 {
		t.Fatalf("before the day is over: %+v", l)
	}
	if d, any := p.keeper.untilDue(); !any || d > time.Hour {
		t.Errorf("the housekeeping rests for %v, %v", d, any)
	}
	p = again(t, p, true)
	clock.t = clock.t.Add(61 * time.Minute)
	p.opt.Now = clock.now
	v = existing(t, p, "vm")
	for r := p.jobs.oldestLine(); r != nil && r.Volume != uint64(v.ino); r = nil {
		t.Errorf("another line: %+v", r)
	}
	house(t, p)
	days := func() (out []string) {
		recs, err := p.EraseLog()
		ok(t, err)
		for _, r := range recs {
			if r.Kind == evidence.Day {
				out = append(out, fmt.Sprintf("%s %d %d", r.Day, r.Seq, r.Freed/BlockSize))
			}
		}
		return out
	}
	want := func(what string, lines ...string) {
		t.Helper()
		if got := days(); !slices.Equal(got, lines) {
			t.Errorf("%s: %q, want %q", what, got, lines)
		}
		chainOf(t, p)
		mustCheck(t, p)
	}
	want("an idle pool at midnight", "2026-11-29 1 4")
	overwrite()
	clock.t = clock.t.AddDate(0, 0, -3) // set back
	overwrite()
	house(t, p)
	want("set back", "2026-11-29 1 4", "2026-11-27 0 4", "2026-11-30 0 4")
	clock.t = clock.t.AddDate(2, 0, 0) // far forward
	house(t, p)
	overwrite()
	// Record 2 is what the crash left claimed.
	want("set forward", "2026-11-29 1 4", "2026-11-27 3 4", "2026-11-30 4 4", "2028-11-27 0 4")
	clock.t = clock.t.AddDate(-2, 0, 3) // and right again: the day has a second record
	overwrite()
	house(t, p)
	want("set right", "2026-11-29 1 4", "2026-11-27 3 4", "2026-11-30 4 4", "2026-11-30 0 4", "2028-11-27 0 4")
	p = again(t, p, true)
	chainOf(t, p)
}

// What owned nothing costs the log the bytes of its number: a line for each day and volume, and a record when the day is over.
func TestLogOfNothing(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	clock := newClock()
	p.opt.Now = clock.now
	v := mustVolume(t, p, "idle", 256<<10)
	write(t, v, fill('a', 16<<10), 0)
	takeSnapshot(t, p, "base", v)
	var layers []uuid.UUID
	const hours = 200
	for i := range hours {
		name := fmt.Sprintf("hourly-%02d", i)
		takeSnapshot(t, p, name, v)
		all := p.tree.byVol[v.ino]
		layers = append(layers, p.LayerUUID(all[len(all)-2].id))
		ok(t, p.DestroySnapshots(Req{UID: 7, Actor: []string{"me", "you"}[i%2]}, v.ino, []string{name}, DestroyOptions{}))
	}
	recs, err := p.EraseLog()
	ok(t, err)
	if len(recs) != 1 {
		t.Fatalf("%d records: %+v", len(recs), recs)
	}
	r := recs[0]
	if r.Kind != evidence.Nothing || r.Seq != 0 || !reflect.DeepEqual(r.Layers, layers) || r.Who != "uid 7, me; uid 7, you" || r.Freed != 0 || r.Volume != "idle" {
		t.Errorf("%+v", r)
	}
	if n := len(p.jobs.oldestLine().MarshalLine()); n > 200+3*hours {
		t.Errorf("%d bytes for %d records of nothing", n, hours)
	}
	p = again(t, p, true)
	clock.t = clock.t.Add(25 * time.Hour)
	p.opt.Now = clock.now
	house(t, p)
	es := chainOf(t, p)
	if len(es) != 1 {
		t.Fatalf("%d records", len(es))
	}
	// A line that gets too long for a row becomes a record before the day is over.
	v = existing(t, p, "idle")
	for i := range 700 {
		takeSnapshot(t, p, "x", v)
		ok(t, p.DestroySnapshots(Req{UID: 7, Actor: fmt.Sprint("somebody else ", i/100)}, v.ino, []string{"x"}, DestroyOptions{}))
	}
	recs, err = p.EraseLog()
	ok(t, err)
	n := 0
	for _, r := range recs {
		n += len(r.Layers)
	}
	if l := p.Log().State(); n != hours+700 || l.Open != 1 || l.Head.Seq < 2 || l.Head.Seq > 5 {
		t.Errorf("%d layers in %+v", n, l)
	}
	p = again(t, p, false)
	chainOf(t, p)
}

// Volumes that come and go in a day and own nothing do not make the log longer than its bound.
func TestLinesAreBounded(t *testing.T) {
	p := logOnly(openPool(t, newDisk(t, 4<<20)))
	bound := p.jobs.logBound()
	for i := range 4 * bound {
		erasedVolume(t, p, fmt.Sprint("v", i), 0)
		house(t, p)
		if l := p.Log().State(); l.Open > bound/4 || l.Records > bound+bound/4+1 {
			t.Fatalf("%d volumes: %+v", i, l)
		}
	}
	if l := p.Log().State(); l.Cut.At.Seq == 0 {
		t.Errorf("nothing was cut: %+v", l)
	}
	chainOf(t, p)
}

// A record of a thousand layers comes back, alone and among others.
func TestLongRecords(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	ok(t, p.works.change(func(now time.Time) error {
		for i, n := range []int{1, 30_000, 2, 400, 500, 0, 12_000} {
			r := evidence.Row{Kind: evidence.Closed, Reason: "test", Number: uint64(i)}
			for l := range n {
				r.Layers = append(r.Layers, LayerID(l))
			}
			p.jobs.appendRow(&r)
		}
		return nil
	}))
	ok(t, p.Checkpoint())
	for range 2 {
		es := chainOf(t, p)
		for i, e := range es {
			if r, err := evidence.Unmarshal(e.Row); err != nil || r.Number != uint64(i) || len(es) != 7 {
				t.Errorf("record %d of %d: %v", i, len(es), err)
			}
		}
		p = again(t, p, false)
	}
}

// A signature is kept if it is of this pool and of what is there, with the last of its kind.
func TestLogSigned(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{5}, 32))
	erasedVolume(t, p, "a", 1)
	first := p.Log().State().Head
	erasedVolume(t, p, "b", 1)
	erasedVolume(t, p, "c", 1)
	sign := func(h evidence.Head) error { return p.Log().Sign(evidence.SignHead(key, p.uuid, h, storyTime(5))) }
	ok(t, sign(first))
	ok(t, sign(p.Log().State().Head))
	ok(t, sign(evidence.Genesis(p.uuid)))
	bad := evidence.SignHead(key, p.uuid, first, storyTime(5))
	bad.Sig[3] ^= 1
	for name, err := range map[string]error{
		"another hash": sign(evidence.Head{Seq: first.Seq, Hash: evidence.Hash{1}}), "the future": sign(evidence.Head{Seq: 9, Hash: first.Hash}),
		"another pool": p.Log().Sign(evidence.SignHead(key, uuid.New(), first, storyTime(5))), "another signature": p.Log().Sign(bad),
	} {
		if err == nil || !errors.Is(err, ErrNotFound) && !errors.Is(err, evidence.ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := p.Log().State().Signed
	if len(want) != 3 || want[0].Head != first || want[0].Verify(p.uuid) != nil {
		t.Fatalf("%+v", want)
	}
	for i := range 2 {
		p = again(t, p, i == 0)
		if got := p.Log().State().Signed; !reflect.DeepEqual(got, want) {
			t.Errorf("after mount %d: %+v, want %+v", i, got, want)
		}
	}
	for range maxSigned {
		ok(t, sign(p.Log().State().Head))
	}
	p = again(t, p, false)
	if got := p.Log().State().Signed; len(got) != maxSigned || got[0].Head == first {
		t.Errorf("%d signatures, the first of %v", len(got), got[0].Head)
	}
}

// Check notices a log that was altered below the pool: a flipped bit, a record taken out, put in or moved, one rewritten with
// all that follows, a line, a signature, a place where it begins.
func TestLogCheck(t *testing.T) {
	row := func(p *Pool, n uint64) (meta.Key, []byte) {
		k := catalog.Key(catalog.Chain, n)
		v, there, err := p.names.cat.Get(k)
		if err != nil || !there {
			t.Fatalf("record %d: %v, %v", n, there, err)
		}
		return k, slices.Clone(v)
	}
	for name, c := range map[string]struct {
		spoil func(p *Pool)
		want  string
	}{
		"bit": {func(p *Pool) {
			k, v := row(p, 2)
			v[len(v)-3] ^= 1
			p.names.cat.Put(k, v)
		}, "record 3 names as the hash before it"},
		"last": {func(p *Pool) {
			k, v := row(p, 3)
			v[len(v)-3] ^= 1
			p.names.cat.Put(k, v)
		}, "its head is record 3"},
		"prev": {func(p *Pool) {
			k, v := row(p, 2)
			v[0] ^= 1
			p.names.cat.Put(k, v)
		}, "record 2 names as the hash before it"},
		"gone": {func(p *Pool) { k, _ := row(p, 2); p.names.cat.Put(k, nil) }, "record 3 follows record 1"},
		"moved": {func(p *Pool) {
			k, v := row(p, 1)
			l, w := row(p, 2)
			p.names.cat.Put(k, w)
			p.names.cat.Put(l, v)
		}, "names as the hash before it"},
		"more": {func(p *Pool) {
			_, v := row(p, 3)
			p.names.cat.Put(catalog.Key(catalog.Chain, 4), v)
		}, "record 4 names as the hash before it"},
		"cut off":   {func(p *Pool) { k, _ := row(p, 3); p.names.cat.Put(k, nil) }, "it ends with record 2"},
		"garbage":   {func(p *Pool) { k, v := row(p, 2); p.names.cat.Put(k, v[:31]) }, "row 16/2"},
		"rewritten": {func(p *Pool) { rewrite(t, p) }, "somebody has signed record 2"},
		"line":      {func(p *Pool) { p.jobs.oldestLine().Freed++ }, "is another in memory"},
		"lost line": {func(p *Pool) { p.jobs.lines.CutAt(linePlace(meta.Key{})) }, "lines of days that are not over"},
		"begin":     {func(p *Pool) { p.jobs.chain.cut.At.Hash[0] ^= 1 }, "record 1 names as the hash before it"},
		"signature": {func(p *Pool) { p.jobs.chain.signs[0].Sig[0] ^= 1 }, "signature of record 2"},
		"count":     {func(p *Pool) { p.jobs.chain.signed++ }, "1 signatures of 2"},
	} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			erasedVolume(t, p, "a", 1)
			erasedVolume(t, p, "b", 2)
			ok(t, p.Log().Sign(evidence.SignHead(ed25519.NewKeyFromSeed(make([]byte, 32)), p.uuid, p.Log().State().Head, storyTime(1))))
			erasedVolume(t, p, "c", 3)
			w := mustVolume(t, p, "w", 64<<10)
			write(t, w, fill('a', 8<<10), 0)
			ok(t, w.Punch(0, 8<<10))
			eraseAll(t, p)
			ok(t, p.Checkpoint())
			mustCheck(t, p)
			q, err := Open(p.dev.(*devtest.Disk).Clone(), Options{Now: newClock().now, ReadOnly: true})
			ok(t, err)
			q.mu.Lock()
			c.spoil(q)
			q.mu.Unlock()
			r, err := q.checkMemory(t.Context(), true)
			ok(t, err)
			if all := strings.Join(r.Errors, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("found %q, want %q", all, c.want)
			}
		})
	}
}

// rewrite makes another history of the log, each record tied to the last as it should be, and another head.
func rewrite(t *testing.T, p *Pool) {
	h := evidence.Genesis(p.uuid)
	for n := uint64(1); n <= p.jobs.chain.head.Seq; n++ {
		k := catalog.Key(catalog.Chain, n)
		v, _, err := p.names.cat.Get(k)
		ok(t, err)
		r, err := evidence.Unmarshal(v[32:])
		ok(t, err)
		r.Who = "nobody"
		e := evidence.NewEntry(h, r.Marshal())
		p.names.cat.Put(k, append(e.Prev[:], e.Row...))
		h = e.Head()
	}
	p.jobs.chain.head = h
}
