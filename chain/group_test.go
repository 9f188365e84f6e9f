package chain

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

var (
	groupVols  = flag.Int("group.vols", 40, "volumes of TestGroupGoesInProportion")
	groupSnaps = flag.Int("group.snaps", 8, "snapshots of each")
)

// groupPool has volumes with snapshots, made for all of them at one instant: each owns a block that the next one has overwritten.
func groupPool(t testing.TB, vols, snaps int) (p *Pool, inos []Ino, names []string) {
	t.Helper()
	p = linePool(t, int64(vols*snaps)*6+(1<<15))
	var all []*Volume
	for i := range vols {
		v := mustVolume(t, p, fmt.Sprintf("v%05d", i), 4*BlockSize)
		all, inos = append(all, v), append(inos, v.ino)
	}
	for i := range snaps {
		for _, v := range all {
			ok(t, planOne(v, 0))
		}
		names = append(names, fmt.Sprintf("s%05d", i))
		takeSnapshot(t, p, names[i], all...)
	}
	for _, v := range all {
		ok(t, planOne(v, 0))
	}
	return p, inos, names
}

func groupOf(inos []Ino, names ...string) (group []SnapsOf) {
	for _, ino := range inos {
		group = append(group, SnapsOf{ino, names})
	}
	return group
}

// TestGroupGoesInProportion: what it takes to destroy groups grows with the snapshots in them, and with nothing else.
func TestGroupGoesInProportion(t *testing.T) {
	p, inos, names := groupPool(t, *groupVols, *groupSnaps)
	n := int64(len(inos) * len(names))
	f, err := p.ForecastGroup(groupOf(inos, names...), DestroyOptions{})
	ok(t, err)
	if f.Freed != n*BlockSize {
		t.Errorf("would free %d blocks, want %d", f.Freed/BlockSize, n)
	}
	ok(t, p.Checkpoint())
	start, gen := time.Now(), p.Usage().Generation
	ok(t, p.DestroyGroup(Req{}, groupOf(inos, names...), DestroyOptions{}))
	t.Logf("%d snapshots of %d volumes: %v, %d checkpoints", n, len(inos), time.Since(start), p.Usage().Generation-gen)
	if u := p.Usage(); u.Snapshots != 0 || u.Dirty+u.Freeing != f.Freed {
		t.Errorf("%d snapshots are left, %d bytes were freed, want %d", u.Snapshots, u.Dirty+u.Freeing, f.Freed)
	}
	ok(t, p.Close())
}

// TestGroupIsRefusedWhole: what refuses one refuses all, and nothing is done.
func TestGroupIsRefusedWhole(t *testing.T) {
	p, inos, names := groupPool(t, 6, 2)
	v := func(i int) *Volume { v, err := p.Volume(inos[i]); ok(t, err); return v }
	all := groupOf(inos, names[0])
	_, err := p.Clone(Req{}, inos[4], names[0], RootIno, "clone")
	ok(t, err)
	mustSnapshot(t, v(5), "x")
	ok(t, p.OpenFile(inos[5], true))
	for what, c := range map[string]struct {
		err, want error
	}{
		"destroy, a clone hangs on one": {p.DestroyGroup(Req{}, all, DestroyOptions{}), ErrHasClones},
		"destroy, one has none":         {p.DestroyGroup(Req{}, groupOf(inos, "x"), DestroyOptions{Defer: true}), ErrNotFound},
		"rename, one has the new name":  {p.RenameSnapshot(Req{}, inos[0], names[0], "x", inos[1:]...), ErrExist},
		"rename, one has none":          {p.RenameSnapshot(Req{}, inos[5], "x", "y", inos[:5]...), ErrNotFound},
		"rename, to no name":            {p.RenameSnapshot(Req{}, inos[0], names[0], "a/b", inos[1:]...), ErrInvalid},
		"rollback, one is open":         {p.Rollback(Req{}, inos[0], names[0], false, inos[1:]...), ErrBusy},
		"rollback, one has none":        {p.Rollback(Req{}, inos[5], "x", true, inos[:5]...), ErrNotFound},
	} {
		wantErr(t, what, c.err, c.want)
	}
	_, err = p.ForecastGroup(all, DestroyOptions{})
	wantErr(t, "forecast of the destroy", err, ErrHasClones)
	wantErr(t, "forecast of the rollback", p.ForecastRollback(inos[0], names[0], false, inos[1:]...).Err, ErrBusy)
	for i := range inos {
		want := "[s00000 s00001]"
		if i == 5 {
			want = "[s00000 s00001 x]"
		}
		if got := fmt.Sprint(snapNames(t, v(i))); got != want {
			t.Errorf("volume %d has the snapshots %s, want %s", i, got, want)
		}
	}
	ok(t, p.DestroyGroup(Req{}, all, DestroyOptions{Clones: true}))
	_, err = p.Lookup(RootIno, "clone")
	wantErr(t, "the clone", err, ErrNotFound)
	p.ReleaseFile(inos[5], true)
	mustCheck(t, p)
}

// groupVerbs are what is done to snapshots s of several volumes, in the order of the volumes, and what shows that it is done to one.
var groupVerbs = map[string]struct {
	do      func(p *Pool, inos []Ino) error
	batch   int // that are done at one instant
	resumed func(p *Pool, inos []Ino) []Ino
	done    func(p *Pool, ino Ino) bool
}{
	"destroy": {
		func(p *Pool, inos []Ino) error { return p.DestroyGroup(Req{}, groupOf(inos, "s"), DestroyOptions{}) },
		snapshotsAtOnce, haveS, func(p *Pool, ino Ino) bool { return !p.HasSnapshot(ino, "s") },
	},
	"rename": {
		func(p *Pool, inos []Ino) error { return p.RenameSnapshot(Req{}, inos[0], "s", "t", inos[1:]...) },
		renamesAtOnce, haveS, func(p *Pool, ino Ino) bool { return p.HasSnapshot(ino, "t") && !p.HasSnapshot(ino, "s") },
	},
	"rollback": {
		func(p *Pool, inos []Ino) error { return p.Rollback(Req{}, inos[0], "s", false, inos[1:]...) },
		rollbacksAtOnce, func(_ *Pool, inos []Ino) []Ino { return inos }, func(p *Pool, ino Ino) bool {
			v, err := p.Volume(ino)
			b := make([]byte, 1)
			if err == nil {
				_, err = v.ReadAt(b, 0)
			}
			return err == nil && b[0] == 'o'
		},
	},
}

// TestGroupStopsDurably: what stops a group in the middle leaves what is done, durably, and the error says how many these are.
func TestGroupStopsDurably(t *testing.T) {
	stopped := func(t *testing.T, err, want error, done, of int) {
		t.Helper()
		wantErr(t, "stopped", err, want)
		var part *PartError
		if !errors.As(err, &part) || part.Done != done || part.Of != of || !strings.Contains(err.Error(), fmt.Sprintf("%d of %d", done, of)) {
			t.Errorf("want an error that tells of %d of %d: %v", done, of, err)
		}
	}
	t.Run("rename", func(t *testing.T) {
		p, inos, _ := groupPool(t, renamesAtOnce, 1)
		err := p.RenameSnapshot(Req{}, inos[0], "s00000", "t", append(inos[1:], inos[0])...) // which has another name by then
		stopped(t, err, ErrNotFound, renamesAtOnce, renamesAtOnce+1)
		p = openPool(t, p.dev.(*devtest.Disk).Durable())
		for i, ino := range inos {
			if !p.HasSnapshot(ino, "t") {
				t.Errorf("volume %d has not the new name after a crash", i)
			}
		}
		wantErr(t, "nothing is done", p.RenameSnapshot(Req{}, inos[0], "no", "t"), ErrNotFound)
	})
	t.Run("destroy with a clone that is opened meanwhile", func(t *testing.T) {
		p, inos, names := groupPool(t, 1, 1)
		clone, err := p.Clone(Req{}, inos[0], names[0], RootIno, "clone")
		ok(t, err)
		now := p.opt.Now
		p.opt.Now = func() time.Time { // the plan lock is held
			if v := p.plans.vols[clone.Ino]; v != nil {
				v.readers = 1
			}
			return now()
		}
		_, err = p.Volume(clone.Ino)
		ok(t, err)
		stopped(t, p.DestroyVolume(Req{}, inos[0], DestroyOptions{Clones: true}), ErrBusy, 1, 2)
		p = openPool(t, p.dev.(*devtest.Disk).Durable())
		_, err = p.Lookup(RootIno, "v00000")
		wantErr(t, "the volume, after a crash", err, ErrNotFound)
		_, err = p.Lookup(RootIno, "clone")
		ok(t, err)
	})
}

func haveS(p *Pool, inos []Ino) (has []Ino) {
	for _, ino := range inos {
		if p.HasSnapshot(ino, "s") {
			has = append(has, ino)
		}
	}
	return has
}

// TestGroupThroughCrashes: a crash at each operation of the device leaves a group done up to some volume, by whole batches, and
// the others as they were; the same command does the rest.
func TestGroupThroughCrashes(t *testing.T) {
	for name, verb := range groupVerbs {
		t.Run(name, func(t *testing.T) {
			n := 2*verb.batch + 1
			base := newDisk(t, 8<<20)
			p, inos := openPool(t, base), []Ino(nil)
			for i := range n {
				v := mustVolume(t, p, fmt.Sprint("v", i), 16<<10)
				write(t, v, fill('o', 4096), 0)
				mustSnapshot(t, v, "s")
				write(t, v, fill('n', 4096), 0)
				inos = append(inos, v.ino)
			}
			ok(t, p.Close())
			seen := map[int]bool{}
			for k, crashed := 1, true; crashed; k++ {
				d := base.Clone()
				p := openPool(t, d)
				d.CrashAt(k)
				err := verb.do(p, inos)
				if crashed = d.Crashed(); !crashed {
					ok(t, err)
				}
				p = openPool(t, d.Crash(rand.New(rand.NewPCG(uint64(k), 3))))
				done := 0
				for done < n && verb.done(p, inos[done]) {
					done++
				}
				seen[done] = true
				if done%verb.batch != 0 && done != n || done < n && len(doneOf(p, verb.done, inos[done:])) > 0 || !crashed && done < n {
					t.Fatalf("crash at operation %d: %d of %d are done, %v", k, done, n, doneOf(p, verb.done, inos))
				}
				if rest := verb.resumed(p, inos); len(rest) > 0 {
					ok(t, verb.do(p, rest))
				}
				if got := doneOf(p, verb.done, inos); len(got) != n {
					t.Fatalf("crash at operation %d, and once more: only %v are done", k, got)
				}
				mustCheck(t, p)
				ok(t, p.Close())
			}
			if !seen[0] || !seen[n] {
				t.Errorf("done were %v, want none and %d among them", seen, n)
			}
		})
	}
}

func doneOf(p *Pool, done func(*Pool, Ino) bool, inos []Ino) (all []Ino) {
	for _, ino := range inos {
		if done(p, ino) {
			all = append(all, ino)
		}
	}
	return all
}
