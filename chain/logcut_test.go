package chain

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
)

// logOnly keeps the housekeeping from closing accounts: their records are others than those that the test counts.
func logOnly(p *Pool) *Pool {
	p.keeper.chores = slices.DeleteFunc(p.keeper.chores, func(c *chore) bool { return strings.HasPrefix(c.name, "accounts") })
	return p
}

// What is cut leaves its sums, the hash at which the chain goes on, a record that says so, and a line in the daemon's log.
func TestLogCut(t *testing.T) {
	var said bytes.Buffer
	p := logOnly(openPool(t, newDisk(t, 4<<20)))
	p.log = slog.New(slog.NewTextHandler(&said, nil))
	var out []EraseRecord
	p.Log().SetExport(func(recs []EraseRecord) error { out = append(out, recs...); return nil })
	bound := int(p.jobs.logBound())
	for i := range bound + 1 {
		erasedVolume(t, p, fmt.Sprint("v", i), 1+i%3)
	}
	all := chainOf(t, p)
	if l := p.Log().State(); l.Cut.Records() != 0 {
		t.Fatalf("cut before its time: %+v", l)
	}
	house(t, p)
	l := p.Log().State()
	n := int(l.Cut.At.Seq)
	if n != 1+bound/8 || l.Cut.At != all[n-1].Head() || l.Cut.Records() != int64(n) || l.Cut.Exported != int64(n) || len(out) != n || l.Records != int64(bound+2-n) {
		t.Fatalf("%+v", l)
	}
	var freed int64
	for i, r := range out {
		if freed += r.Freed / BlockSize; !reflect.DeepEqual(r.Entry, all[i]) {
			t.Errorf("record %d was exported as %+v", i+1, r)
		}
	}
	if l.Cut.Freed != freed || l.Cut.Erased != freed || l.Cut.Kept != 0 || !l.Cut.From.Equal(out[0].Since) || !l.Cut.To.Equal(out[n-1].Last) {
		t.Errorf("%+v, freed %d", l.Cut, freed)
	}
	recs, err := p.EraseLog()
	ok(t, err)
	if r := recs[len(recs)-1]; r.Kind != evidence.Cut || !reflect.DeepEqual(*r.Cut, l.Cut) || r.Freed != 0 || recs[0].Seq != uint64(n+1) {
		t.Errorf("%+v", r)
	}
	if s := said.String(); !strings.Contains(s, "the erase log was cut") || !strings.Contains(s, fmt.Sprintf("exported=%d of=%d begins=%d", n, n, n+1)) {
		t.Errorf("the log says %s", s)
	}
	if p.jobs.chain.gone != l.Cut.At.Seq {
		t.Errorf("rows are gone up to record %d", p.jobs.chain.gone)
	}
	for i := range 2 {
		p = logOnly(again(t, p, i == 0))
		if got := p.Log().State().Cut; !got.From.Equal(l.Cut.From) || got.At != l.Cut.At || got.Freed != l.Cut.Freed {
			t.Errorf("after mount %d: %+v, want %+v", i, got, l.Cut)
		}
		chainOf(t, p)
	}
	// What is not exported is said to be lost; sums go on.
	p.Log().SetExport(nil)
	for i := range bound {
		erasedVolume(t, p, fmt.Sprint("w", i), 1)
		house(t, p)
	}
	chainOf(t, p)
	if l := p.Log().State(); l.Cut.Exported != int64(n) || l.Cut.Records() <= int64(n) || l.Cut.Freed <= freed {
		t.Errorf("%+v", l)
	}
}

// Rows that have left go in steps; a crash in the middle of them loses no record and shows none twice.
func TestLogCutCrash(t *testing.T) {
	base := newDisk(t, 8<<20)
	p := logOnly(openPool(t, base))
	bound := int(p.jobs.logBound())
	for i := range bound + 1 {
		erasedVolume(t, p, fmt.Sprint("v", i), 1)
	}
	all := chainOf(t, p)
	ok(t, p.Close())
	run := func(d *devtest.Disk) {
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			return
		}
		for logOnly(p).keeper.keepHouse(t.Context()) {
			_ = p.Flush()
		}
		_ = p.Checkpoint()
	}
	whole := base.Clone()
	run(whole)
	cut, steps := 0, map[uint64]bool{}
	for k := 1; k <= whole.Ops(); k++ {
		d := base.Clone()
		d.CrashAt(k)
		run(d)
		p := logOnly(openPool(t, d.Crash(rand.New(rand.NewPCG(7, uint64(k))))))
		l := p.Log().State()
		steps[p.jobs.chain.gone] = true
		if l.Cut.At.Seq != 0 {
			cut++
		}
		recs, err := p.EraseLog()
		ok(t, err)
		var es []evidence.Entry
		for _, r := range recs {
			if r.Kind == evidence.Job {
				es = append(es, r.Entry)
			}
		}
		if !reflect.DeepEqual(es, all[l.Cut.At.Seq:]) {
			t.Fatalf("crash at %d: begins behind record %d, and %d of %d records are there", k, l.Cut.At.Seq, len(es), len(all))
		}
		mustCheck(t, p)
		house(t, p)
		chainOf(t, p)
		if p.jobs.chain.gone != p.Log().State().Cut.At.Seq {
			t.Fatalf("crash at %d: rows are gone up to record %d", k, p.jobs.chain.gone)
		}
	}
	if cut == 0 || len(steps) < 2 {
		t.Errorf("no crash after the cut: %d, rows gone up to %v", cut, steps)
	}
}

// A reader whom a cut overtakes is told.
func TestLogCutBesideAReader(t *testing.T) {
	p := logOnly(openPool(t, newDisk(t, 16<<20)))
	bound := int(p.jobs.logBound())
	for i := range bound + 1 {
		erasedVolume(t, p, fmt.Sprint("v", i), 1)
	}
	first := true
	err := p.Log().Each(0, func(recs []EraseRecord) error {
		if first && len(recs) > 0 {
			first = false
			p.jobs.mu.Lock()
			p.jobs.chain.cut.At.Seq += uint64(bound)
			p.jobs.mu.Unlock()
		}
		return nil
	})
	p.jobs.mu.Lock()
	p.jobs.chain.cut.At.Seq -= uint64(bound)
	p.jobs.mu.Unlock()
	if !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
}

// oldLog makes the log of a pool from before there was a chain: records by jobs, and lines of days that are over.
func oldLog(t testing.TB, p *Pool, jobs int) {
	t.Helper()
	ok(t, p.works.change(func(now time.Time) error {
		for i := range jobs {
			p.commits.nextJob++
			r := goldenLog()
			r.Number, r.None, r.Freed, r.Erased, r.Kept, r.Since = p.commits.nextJob, false, 3, 2, 1, now
			if i == jobs/2 {
				r.Layers = make([]LayerID, 3000) // in parts
			}
			for _, part := range catalog.Parts(catalog.Key(catalog.Log, r.Number), r.MarshalLine()) {
				p.names.cat.Put(part.Key, part.Val)
			}
			p.jobs.logN++
		}
		for day := range uint64(3) {
			r := &evidence.Row{Kind: evidence.Day, Number: 19000 + day, Volume: 7, Path: "vm", Reason: reasonOverwritten, Freed: 5, Erased: 5}
			p.names.cat.Put(lineKey(r), r.MarshalLine())
			p.jobs.lines.Set(linePlace(lineKey(r)), r)
			p.jobs.logN++
		}
		return nil
	}))
	ok(t, p.Checkpoint())
}

// Records from before the chain come before it, and are said to be so; they leave first.
func TestLogFromBeforeTheChain(t *testing.T) {
	p := logOnly(openPool(t, newDisk(t, 4<<20)))
	bound := int(p.jobs.logBound())
	oldLog(t, p, bound-6)
	p = logOnly(again(t, p, false))
	if l := p.Log().State(); l.Before != int64(bound-6) || l.Open != 3 || l.Records != int64(bound-3) || l.Head != evidence.Genesis(p.uuid) {
		t.Fatalf("%+v", l)
	}
	house(t, p) // days that are over become records, whoever logged them
	erasedVolume(t, p, "new", 2)
	shape := func() (s string) {
		recs, err := p.EraseLog()
		ok(t, err)
		for _, r := range recs {
			s += map[bool]string{true: "b", false: fmt.Sprint(r.Seq)}[r.Before]
		}
		return s
	}
	if got, want := shape(), strings.Repeat("b", bound-6)+"1234"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	chainOf(t, p)
	mustCheck(t, p)
	p = logOnly(again(t, p, true))
	for i := range 3 {
		erasedVolume(t, p, fmt.Sprint("v", i), 1)
	}
	house(t, p)
	l := p.Log().State()
	if l.Cut.Before == 0 || l.Cut.At != evidence.Genesis(p.uuid) || l.Cut.Records() != l.Cut.Before || l.Cut.Freed != 3*l.Cut.Before || l.Cut.Kept != l.Cut.Before {
		t.Errorf("%+v", l)
	}
	p = logOnly(again(t, p, true))
	if got := strings.Count(shape(), "b"); got != bound-6-int(l.Cut.Before) || int64(got) != p.Log().State().Before {
		t.Errorf("%d records from before the chain, %+v", got, p.Log().State())
	}
	for i := range bound {
		erasedVolume(t, p, fmt.Sprint("w", i), 1)
		house(t, p)
	}
	chainOf(t, p)
	l = p.Log().State()
	if strings.Contains(shape(), "b") || l.Before != 0 || l.Cut.Before != int64(bound-6) || l.Cut.At.Seq == 0 {
		t.Errorf("%s: %+v", shape(), l)
	}
	left := 0
	ok(t, p.names.cat.Scan(catalog.Key(catalog.Log, 1), func(k meta.Key, _ []byte) bool {
		if catalog.KindOf(k) == catalog.Log {
			left++
		}
		return catalog.KindOf(k) == catalog.Log
	}))
	if left != 0 {
		t.Errorf("%d rows of records that have left", left)
	}
}

// Records of the journal that no pool makes are refused.
func TestHostileLogRecords(t *testing.T) {
	for name, make := range map[string]func(p *Pool) record{
		"a day that never was": func(p *Pool) record { return &recDay{day: 9, vol: 2} },
		"a cut of the future":  func(p *Pool) record { return &recCut{sum: evidence.Summary{At: evidence.Head{Seq: 9}}} },
		"a cut of less": func(p *Pool) record {
			p.jobs.chain.cut.At.Seq = 2
			return &recCut{sum: evidence.Summary{At: evidence.Head{Seq: 1}}}
		},
		"fewer exported":       func(p *Pool) record { p.jobs.chain.cut.Exported = 1; return &recCut{sum: p.jobs.chain.cut, old: 0} },
		"gone, and not cut":    func(p *Pool) record { return &recGone{[]goneRow{{catalog.Key(catalog.Chain, 1), 1}}} },
		"the state is gone":    func(p *Pool) record { return &recGone{[]goneRow{{catalog.Key(catalog.Chain, 0), 1}}} },
		"the count is gone":    func(p *Pool) record { return &recGone{[]goneRow{{catalog.Key(catalog.Log, 0), 1}}} },
		"another kind is gone": func(p *Pool) record { return &recGone{[]goneRow{{catalog.Key(catalog.Inode, 1), 1}}} },
		"no part": func(p *Pool) record {
			p.jobs.chain.cut.At.Seq = 1
			return &recGone{[]goneRow{{catalog.Key(catalog.Chain, 1), 0}}}
		},
		"too many parts": func(p *Pool) record {
			p.jobs.chain.cut.At.Seq = 1
			return &recGone{[]goneRow{{catalog.Key(catalog.Chain, 1), 1 << 63}}}
		},
		"a signature of nothing": func(p *Pool) record { s := goldenSigned(); return &recSigned{s} },
	} {
		p, err := Open(newDisk(t, 4<<20), Options{Now: newClock().now})
		ok(t, err)
		erasedVolume(t, p, "a", 1)
		erasedVolume(t, p, "b", 1)
		p.structure.Lock()
		p.mu.Lock()
		r := make(p)
		if name == "fewer exported" {
			r.(*recCut).sum.Exported = 0
		}
		err = r.apply(p)
		p.mu.Unlock()
		p.structure.Unlock()
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, spoil := range map[string]func(c *logChain){
		"gone beyond the cut": func(c *logChain) { c.gone = c.cut.At.Seq + 1 },
		"cut beyond the head": func(c *logChain) { c.head.Seq = c.cut.At.Seq - 1 },
		"a number too large":  func(c *logChain) { c.head.Seq = 1 << 57 },
	} {
		c := goldenChain()
		if spoil(c); !errors.Is(new(logChain).unmarshal(c.marshal()), ErrCorrupt) {
			t.Errorf("%s: %v", name, new(logChain).unmarshal(c.marshal()))
		}
	}
	if b := goldenChain().marshal(); !slices.ContainsFunc([]int{1, 5, 40, len(b) - 1}, func(n int) bool { return new(logChain).unmarshal(b[:n]) != nil }) {
		t.Error("a state that is cut off is taken")
	}
}
