package chain

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// atClock makes a pool go by a clock that the test moves.
func atClock(p *Pool) *clock {
	c := newClock()
	c.t = time.Unix(1_800_000_000, 0)
	p.opt.Now = c.now
	return c
}

// volumesInOrder are the volumes of the jobs, in the order in which they are erased, but for what a crash left.
func volumesInOrder(p *Pool) (vols []string) {
	for _, j := range p.EraseJobs() {
		if j.Reason != reasonRecovery {
			vols = append(vols, j.Volume)
		}
	}
	return vols
}

// A job is promised what held for its volume when it was made. What is due first goes first, then what is never due; what
// was put first goes before all, and is reckoned with.
func TestDeadlineOrders(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	c := atClock(p)
	setProp(t, p, RootIno, PropDeadline, "7d")
	plant(t, p, "d/")
	dir, err := p.Resolve("d")
	ok(t, err)
	setProp(t, p, dir.Ino, PropDeadline, "2h")
	within := map[string]string{"week": "", "none": "none", "d/two": "", "d/one": "1h", "lazy": "1h"}
	for _, path := range []string{"week", "none", "d/two", "d/one", "lazy"} {
		plant(t, p, path)
		v := existing(t, p, path)
		if w := within[path]; w != "" {
			setProp(t, p, v.ino, PropDeadline, w)
		}
		if path == "lazy" {
			setProp(t, p, v.ino, PropErase, EraseNone) // nothing is promised of what is not scheduled
		}
		write(t, v, fill('x', 64<<10), 0)
	}
	since := c.t
	for _, path := range []string{"lazy", "week", "none", "d/two", "d/one"} {
		a, err := p.Resolve(path)
		ok(t, err)
		ok(t, p.Unlink(Req{}, a.Parent, a.Name))
	}
	setProp(t, p, RootIno, PropDeadline, "none") // too late for the jobs that are there
	setProp(t, p, dir.Ino, PropDeadline, "1m")
	ok(t, p.EraseDrain(t.Context()))
	want := []string{"d/one", "d/two", "week", "none", "lazy"}
	for i := range 2 {
		if got := volumesInOrder(p); !slices.Equal(got, want) {
			t.Errorf("erased in the order %v, want %v (%d)", got, want, i)
		}
		p = again(t, p, i == 0)
	}
	ok(t, p.EraseFirst(Req{}, jobOf(t, p, "none").ID))
	if got := volumesInOrder(p); got[0] != "none" || got[1] != "d/one" {
		t.Errorf("what was put first is not: %v", got)
	}
	var got []string
	for _, d := range p.Deadlines() {
		in := d.At.Sub(since).Round(time.Minute)
		got = append(got, fmt.Sprint(in, " ", d.Ahead>>10, "K"))
	}
	if want := []string{"1h0m0s 128K", "2h0m0s 192K", "168h0m0s 256K"}; !slices.Equal(got, want) {
		t.Errorf("deadlines %v, want %v", got, want)
	}
}

// What a volume overwrites while an older part of it is being zeroed has a time of its own: no byte is taken for older than
// it is, and none for younger.
func TestDeadlineOfOverwrites(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	c := atClock(p)
	v := mustVolume(t, p, "vm", 1<<20)
	setProp(t, p, v.ino, PropDeadline, "1h")
	write(t, v, fill('a', 256<<10), 0)
	ok(t, v.Punch(0, 64<<10))
	first := c.t
	c.t = c.t.Add(50 * time.Minute)
	ok(t, v.Punch(64<<10, 64<<10)) // nothing is handed out yet: it goes to the job that waits
	if n := len(p.EraseJobs()); n != 1 {
		t.Fatalf("%d jobs", n)
	}
	_, err := eraseSome(p, 32<<10)
	ok(t, err)
	for i := range 2 {
		c.t = c.t.Add(time.Minute)
		ok(t, v.Punch(int64(128+4*i)<<10, 4<<10))
		if i == 0 {
			p = again(t, p, true) // a crash in the middle
			c = atClock(p)
			c.t = first.Add(52 * time.Minute)
			v = existing(t, p, "vm")
		}
	}
	ds := p.Deadlines()
	if len(ds) != 2 || ds[0].At.Sub(first).Round(time.Minute) != time.Hour || ds[1].Since.Sub(first).Round(time.Minute) != 51*time.Minute {
		t.Fatalf("deadlines: %+v, first freed %v", ds, first)
	}
	if ds[0].Ahead != 96<<10 || ds[1].Ahead != 104<<10 {
		t.Errorf("to be erased: %d and %d", ds[0].Ahead, ds[1].Ahead)
	}
	c.t = first.Add(70 * time.Minute)
	eraseAll(t, p)
	recs, err := p.EraseLog()
	ok(t, err)
	i := slices.IndexFunc(recs, func(r EraseRecord) bool { return r.Volume == "vm" })
	if r := recs[i]; r.Within != time.Hour || r.Late != 96<<10 || r.Longest.Round(time.Minute) != 70*time.Minute {
		t.Errorf("the line of the day: within %v, late %d, longest %v", r.Within, r.Late, r.Longest)
	}
}

// A record says how much was zero too late. What fails keeps its job from its deadline, and nobody else's.
func TestDeadlineInTheLog(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	c := atClock(p)
	for _, name := range []string{"a", "b", "c"} {
		v := mustVolume(t, p, name, 1<<20)
		setProp(t, p, v.ino, PropDeadline, map[string]string{"a": "1h", "b": "2h", "c": "none"}[name])
		write(t, v, fill('x', 64<<10), 0)
		ok(t, p.Unlink(Req{}, RootIno, name))
	}
	ok(t, p.EraseDrain(t.Context()))
	_, err := eraseSome(p, 16<<10)
	ok(t, err)
	h, err := p.Next(16 << 10)
	ok(t, err)
	ok(t, report(p, h.Token, nil, h.Runs)) // the device could not
	ds := p.Deadlines()
	if len(ds) != 2 || !ds[0].Failed || ds[0].Retry.IsZero() || ds[1].Failed || ds[0].Ahead != 32<<10 {
		t.Fatalf("deadlines: %+v", ds)
	}
	_, err = eraseSome(p, 32<<10+64<<10) // the rest of a, and b
	ok(t, err)
	if ds = p.Deadlines(); len(ds) != 1 || ds[0].Ahead != 0 || !ds[0].Failed {
		t.Fatalf("only what failed is left, and it is a's: %+v", ds)
	}
	c.t = c.t.Add(90 * time.Minute)
	p = again(t, p, true)
	atClock(p).t = c.t
	eraseAll(t, p)
	recs, err := p.EraseLog()
	ok(t, err)
	got := map[string]string{}
	for _, r := range recs {
		if r.Volume != "" {
			got[r.Volume] = fmt.Sprint(r.Within, " late ", r.Late>>10, "K after ", r.Longest.Round(time.Minute))
		}
	}
	for name, want := range map[string]string{"a": "1h0m0s late 16K after 1h30m0s", "b": "2h0m0s late 0K after 0s", "c": "0s late 0K after 0s"} {
		if got[name] != want {
			t.Errorf("record of %s: %s, want %s", name, got[name], want)
		}
	}
}

// Ranks and times of a row that are beyond all bounds leave each job a place of its own.
func TestOrderKeyBounds(t *testing.T) {
	far := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
	jobs := []*job{
		{id: 9, story: story{rank: maxRank}},
		{id: 8, story: story{rank: 1 << rankBits}},
		{id: 1, story: story{rank: 3}},
		{id: 7, since: far, story: story{deadline: deadline{within: 1}}},
		{id: 2},
		{id: 3, story: story{none: true, rank: 5}},
	}
	for i, want := range []uint64{8, 9, 1, 7, 2, 3} {
		slices.SortFunc(jobs, func(a, b *job) int {
			if a.orderKey().Less(b.orderKey()) {
				return -1
			}
			return 1
		})
		if jobs[i].id != want {
			t.Fatalf("place %d has job %d, want %d", i, jobs[i].id, want)
		}
	}
}

// What a crash left goes before what is older, for nobody's evidence is complete until it is zero; not before what is due.
func TestCrashLeftGoesBefore(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	for path, within := range map[string]string{"due": "7d", "old": "none"} {
		v := mustVolume(t, p, path, 1<<20)
		setProp(t, p, v.ino, PropDeadline, within)
		write(t, v, fill('x', 64<<10), 0)
		ok(t, p.Unlink(Req{}, RootIno, path))
	}
	v := mustVolume(t, p, "v", 1<<20)
	ok(t, p.Flush())
	write(t, v, fill('x', 64<<10), 0) // its record is lost
	for range 2 {
		p, d = reopen(t, d, 1)
		ok(t, p.EraseDrain(t.Context()))
		var order []string
		for _, j := range p.EraseJobs() {
			order = append(order, cmp.Or(j.Volume, j.Reason))
		}
		if want := []string{"due", reasonRecovery, "old"}; !slices.Equal(slices.Compact(order), want) {
			t.Errorf("%q, want %q", order, want)
		}
		ok(t, p.Checkpoint())
	}
	mustCheck(t, p)
}
