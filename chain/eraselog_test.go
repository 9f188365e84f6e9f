package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
)

// logOf is the erase log in short: a line for each record.
func logOf(t testing.TB, p *Pool) (lines []string) {
	t.Helper()
	recs, err := p.EraseLog()
	ok(t, err)
	for _, r := range recs {
		if r.Freed != r.Erased+r.Released+r.Failed+r.Kept {
			t.Errorf("record %d %s: freed %d, erased %d, released %d, failed %d, kept %d", r.ID, r.Day, r.Freed, r.Erased, r.Released, r.Failed, r.Kept)
		}
		s := fmt.Sprintf("%s%s %s: freed %d erased %d kept %d", r.Volume, after("@", r.Snapshot), r.Reason,
			r.Freed/BlockSize, r.Erased/BlockSize, r.Kept/BlockSize)
		lines = append(lines, s+after(" by ", r.KeptBy)+after(" who ", r.Who))
	}
	return lines
}

func after(mark, s string) string {
	if s == "" {
		return ""
	}
	return mark + s
}

func wantLog(t testing.TB, p *Pool, want ...string) {
	t.Helper()
	if got := logOf(t, p); !reflect.DeepEqual(got, want) {
		t.Errorf("erase log:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEraseLog(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "vm", 256<<10)
	write(t, v, fill('a', 64<<10), 0)
	takeSnapshot(t, p, "one", v)
	write(t, v, fill('b', 16<<10), 0)
	_, err := p.Clone(Req{}, v.ino, "one", RootIno, "clone")
	ok(t, err)
	write(t, existing(t, p, "clone"), fill('c', 8<<10), 0)
	uuid, layer := p.VolumeUUID(v.ino), p.tree.byVol[v.ino][0].id
	if p.VolumeUUID(v.ino) == p.VolumeUUID(v.ino+1) || uuid.String()[14] != '8' {
		t.Errorf("UUID %v", uuid)
	}
	write(t, v, fill('d', 4<<10), 0) // in place
	ok(t, v.Punch(4<<10, 8<<10))
	eraseAll(t, p)
	day := "vm overwritten or discarded: freed 2 erased 2 kept 0"
	wantLog(t, p, day)

	// Two hang on it: all stays, but for what both have overwritten, which a sweep finds.
	ok(t, p.DestroySnapshots(Req{UID: 7, Actor: "me"}, v.ino, []string{"one"}, DestroyOptions{Defer: true}))
	ok(t, p.Flush())
	by := "vm@one snapshot destroyed: freed 16 erased 0 kept 16 by clone, vm who uid 7, me"
	wantLog(t, p, by, day)
	eraseAll(t, p)
	// The day's line is not over: it comes last.
	sweep := "vm@one no clone shows it any more: freed 2 erased 2 kept 0 who uid 7, me"
	wantLog(t, p, by, sweep, day)

	// A crash changes nothing: replay makes the same records.
	for i := range 2 {
		p = again(t, p, i == 0)
		wantLog(t, p, by, sweep, day)
	}
	v = existing(t, p, "vm")
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	p = again(t, p, true)
	eraseAll(t, p)
	recs, err := p.EraseLog()
	ok(t, err)
	var freed, kept int64
	for _, r := range recs[2:] {
		if r.Reason == reasonRecovery || r.Day != "" {
			continue
		}
		freed, kept = freed+r.Freed/BlockSize, kept+r.Kept/BlockSize
		if r.VolumeUUID != uuid || r.Volume != "vm" {
			t.Errorf("record of volume %v, %s: %+v", r.VolumeUUID, r.Volume, r)
		}
	}
	// The head had 2 blocks left of its own; what it and the clone have both lost of the snapshot went before.
	if freed != 2 || kept != 0 {
		t.Errorf("the destroy of the volume freed %d blocks, kept %d\n%s", freed, kept, strings.Join(logOf(t, p), "\n"))
	}
	if l := recs[0].Layers; len(l) != 1 || l[0] != p.LayerUUID(layer) {
		t.Errorf("layers %v, want %v", l, p.LayerUUID(layer))
	}
}

// A record says who zeroed, by what, from when to when.
func TestEraseLogHow(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "vm", 256<<10)
	write(t, v, fill('a', 64<<10), 0)
	ok(t, p.Unlink(Req{UID: 3}, RootIno, "vm"))
	ok(t, p.EraseDrain(t.Context()))
	before := p.opt.Now()
	hows := []How{{Method: "zeroout", Verify: "off", Program: "slatefs 1", Device: "dev-1", Releases: false}, {Method: "zeroout", Verify: "full", Program: "slatefs 2", Device: "dev-1", Releases: false}, {Method: "release", Verify: "full", Program: "slatefs 2", Device: "dev-1", Releases: true}}
	for i := 0; ; i++ {
		id, runs := lend(t, p, 8<<10)
		if len(runs) == 0 {
			break
		}
		for _, r := range runs {
			ok(t, p.dev.Zero(r.Off, r.Len, 1))
		}
		ok(t, p.dev.Sync())
		ok(t, reportHow(p, id, runs, nil, hows[min(i, 2)]))
		if i == 1 {
			clock := p.opt.Now
			p = again(t, p, true)
			p.opt.Now = clock
			ok(t, p.EraseDrain(t.Context()))
		}
	}
	recs, err := p.EraseLog()
	ok(t, err)
	r := recs[0]
	for _, o := range recs {
		if o.Reason == reasonVolume {
			r = o
		}
	}
	if r.Method != "zeroout, release" || r.Verify != "off, full" || r.Program != "slatefs 1, slatefs 2" || r.Device != "dev-1" {
		t.Errorf("how: %+v", r)
	}
	if r.Freed != 64<<10 || r.Erased != 16<<10 || r.Released != 48<<10 {
		t.Errorf("freed %d, erased %d, released %d", r.Freed, r.Erased, r.Released)
	}
	if r.First.Before(before) || !r.Last.After(r.First) || !r.Since.Before(r.First) || r.ID == 0 || r.Pool != p.name {
		t.Errorf("%+v", r)
	}
	if told := p.Told(); len(told) != len(recs) || !slices.ContainsFunc(told, func(o EraseRecord) bool { return reflect.DeepEqual(o, r) }) {
		t.Errorf("told %+v", told)
	}
	if told := p.Told(); len(told) != 0 {
		t.Errorf("told again: %+v", told)
	}
}

// What a volume overwrites is one line a day, and the line of a day that is over is told.
func TestEraseLogDays(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	clock := newClock()
	p.opt.Now = clock.now
	v := mustVolume(t, p, "vm", 256<<10)
	w := mustVolume(t, p, "other", 256<<10)
	for range 3 {
		for range 2 {
			for _, v := range []*Volume{v, w} {
				write(t, v, fill('a', 16<<10), 0)
				ok(t, v.Punch(0, 16<<10))
			}
			eraseAll(t, p)
		}
		clock.t = clock.t.Add(24 * time.Hour)
	}
	house(t, p)
	ok(t, p.Flush())
	recs, err := p.EraseLog()
	ok(t, err)
	if len(recs) != 6 {
		t.Fatalf("%d lines, want 6: %+v", len(recs), recs)
	}
	days := map[string]int{}
	for _, r := range recs {
		days[r.Day]++
		if r.Freed != 32<<10 || r.Erased != r.Freed || r.ID != 0 {
			t.Errorf("%+v", r)
		}
	}
	if len(days) != 3 {
		t.Errorf("days %v", days)
	}
	if told := p.Told(); len(told) != 6 {
		t.Errorf("told of %d lines, want those of the three days that are over: %+v", len(told), told)
	}
}

// The log is bounded: the oldest records leave, exported first.
func TestEraseLogBound(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := logOnly(openPool(t, d))
	var out []EraseRecord
	fail := errors.New("no disk for it")
	p.Log().SetExport(func(recs []EraseRecord) error {
		if fail == nil {
			out = append(out, recs...)
		}
		return fail
	})
	made := 0
	one := func() {
		plant(t, p, fmt.Sprint("v", made))
		write(t, existing(t, p, fmt.Sprint("v", made)), fill('a', 4<<10), 0)
		ok(t, p.Unlink(Req{}, RootIno, fmt.Sprint("v", made)))
		eraseAll(t, p)
		made++
		house(t, p)
	}
	bound := int(p.jobs.logBound())
	for range bound + 4 {
		one()
	}
	if got := len(logOf(t, p)); got != made {
		t.Errorf("%d records stay while the export fails, want %d", got, made)
	}
	fail = nil
	p.jobs.exportAt = time.Time{}
	for range bound {
		one()
	}
	p = logOnly(again(t, p, false))
	stay, err := p.EraseLog()
	ok(t, err)
	cuts := 0
	stay = slices.DeleteFunc(append(out, stay...), func(r EraseRecord) bool {
		if r.Kind == evidence.Cut {
			cuts++
		}
		return r.Kind == evidence.Cut
	})
	if l := p.Log().State(); l.Records > int64(bound) || l.Records < int64(bound*3/4) || len(stay) != made || l.Cut.Records() != int64(len(out)) || cuts == 0 {
		t.Errorf("%d records left, and %d cuts; %+v; %d were made", len(out), cuts, l, made)
	}
	last := uint64(0)
	for _, r := range stay {
		if r.ID <= last {
			t.Errorf("record %d after %d", r.ID, last)
		}
		last = r.ID
	}
	// Without an export, and with one that never works, it is bounded all the same.
	p.Log().SetExport(func([]EraseRecord) error { return errors.New("never") })
	for range 2 * bound {
		p.jobs.exportAt = time.Time{}
		one()
	}
	if l := p.Log().State(); l.Records > 2*int64(bound)+1 || l.Cut.Exported == l.Cut.Records() {
		t.Errorf("%d records, at most %d, and %d of those that left were exported", l.Records, 2*bound, l.Cut.Exported)
	}
}

// house does all the background work that is due.
func house(t testing.TB, p *Pool) {
	t.Helper()
	for p.keeper.keepHouse(t.Context()) {
	}
	ok(t, p.Failed())
	if len(p.health.troubles.all) > 0 {
		t.Fatalf("could not be done: %+v", p.Usage().Troubles)
	}
}

// Check finds a log that does not add up, and a job.
func TestEraseLogCheck(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(p *Pool)
		want  string
	}{
		"record": {func(p *Pool) {
			l := goldenLog()
			l.Erased++
			p.names.cat.Put(catalog.Key(catalog.Log, 1), l.MarshalLine())
			p.commits.nextJob, p.jobs.logN = 5, 1
		}, "do not add up"},
		"released": {func(p *Pool) {
			l := goldenLog()
			l.Released = l.Erased + 1
			p.names.cat.Put(lineKey(&evidence.Row{Kind: evidence.Day, Volume: 2, Number: 7}), l.MarshalLine())
			p.jobs.logN = 1
		}, "do not add up"},
		"count": {func(p *Pool) { p.jobs.logN = 3 }, "0 records, counted 3"},
		"garbage": {func(p *Pool) {
			p.names.cat.Put(lineKey(&evidence.Row{Kind: evidence.Day, Volume: 2, Number: 7}), []byte{1, 2})
		}, "erase log: row 14/2"},
		"future": {func(p *Pool) {
			p.names.cat.Put(catalog.Key(catalog.Log, 99), goldenLog().MarshalLine())
			p.jobs.logN = 1
		}, "has not ended"},
		"job": {func(p *Pool) {
			p.jobs.newJob(0, "", "", reasonSwept, "", storyTime(1)).kept = 4
		}, "kept 4: they do not add up"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Open(newDisk(t, 4<<20), Options{Now: newClock().now})
			ok(t, err)
			p.mu.Lock()
			c.spoil(p)
			p.mu.Unlock()
			r, err := p.checkMemory(t.Context(), true)
			ok(t, err)
			if all := strings.Join(r.Errors, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("found %q, want %q", all, c.want)
			}
		})
	}
}

// A record is as durable as the end of its job: after a crash at any operation both are there, or neither.
func TestEraseLogCrash(t *testing.T) {
	base := newDisk(t, 4<<20)
	story := func(d *devtest.Disk) (err error) {
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			return err
		}
		a, err := p.Create(Req{}, RootIno, "vm", 0o600)
		if err != nil {
			return err
		}
		v, err := p.Volume(a.Ino)
		if err == nil {
			_, err = v.WriteAt(fill('a', 64<<10), 0)
		}
		if err == nil {
			err = p.Snapshot(Req{}, []Ino{a.Ino}, "s")
		}
		if err == nil {
			_, err = v.WriteAt(fill('b', 16<<10), 0)
		}
		if err == nil {
			err = p.DestroySnapshots(Req{}, a.Ino, []string{"s"}, DestroyOptions{})
		}
		if err == nil {
			err = p.Checkpoint()
		}
		if err == nil {
			_, err = eraseSome(p, 1<<20)
		}
		if err == nil {
			err = p.Unlink(Req{}, RootIno, "vm")
		}
		if err == nil {
			err = p.EraseDrain(t.Context())
		}
		if err == nil {
			_, err = eraseSome(p, 1<<20)
		}
		return err
	}
	whole := base.Clone()
	ok(t, story(whole))
	for k := 1; k <= whole.Ops(); k++ {
		d := base.Clone()
		d.CrashAt(k)
		_ = story(d)
		p := openPool(t, d.Crash(rand.New(rand.NewPCG(7, uint64(k)))))
		eraseAll(t, p)
		jobs := map[string]int64{}
		recs, err := p.EraseLog()
		ok(t, err)
		for _, r := range recs {
			jobs[r.Reason] += r.Freed / BlockSize
		}
		if n := jobs[reasonSnapshot]; n != 0 && n != 16 {
			t.Fatalf("crash at %d: the destroyed snapshot owned 16 blocks, its records say %d: %v", k, n, logOf(t, p))
		}
		if _, err := p.Lookup(RootIno, "vm"); err != nil && jobs[reasonVolume] == 0 && p.names.nextIno > RootIno && jobs[reasonSnapshot] != 0 {
			t.Fatalf("crash at %d: the volume is gone and no record says so: %v", k, logOf(t, p))
		}
	}
}
