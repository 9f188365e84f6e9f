package chain

import (
	"strings"
	"testing"
)

// What OpenZFS's own tests of refreservations, of the used* columns and of written assert, and the cases that tell a
// right implementation from a plausible one. Their names are kept.
func TestZFSRefreservation(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(l *spaceLab)
	}{
		{"refreserv_001: the larger of reservation and refreservation counts", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propQuota, "4M")
			l.vol(d, "a", 100, propReservation, "1M", propRefreservation, "2M")
			l.vol(d, "b", 100, propReservation, "1M", propRefreservation, "512K")
			l.used("d", d, 48, 0, 0, 0, 48)
			c := l.vol(d, "c", 100)
			if n := l.fillUp(c, 0, ErrQuota); n != 16 {
				l.Errorf("the third writes %d U of the quota, want 16", n)
			}
		}},
		{"refreserv_002: no snapshot where all is promised", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propQuota, "2M")
			v := l.vol(d, "v", 32, propRefreservation, "auto")
			ok(l, l.snap(v, "empty")) // there is nothing that could be overwritten
			l.mustPut(v, 0, 1)
			wantErr(l, "snapshot", l.snap(v, "s"), ErrQuota)
			l.mustPut(v, 0, 32)
		}},
		{"refreserv_003: a snapshot needs min(written, refreservation) outside", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 100, propQuota, "1600K", propRefreservation, "640K") // 25 U, 10 U
			l.mustPut(v, 0, 7)
			ok(l, l.snap(v, "1"))
			l.mustPut(v, 7, 7)
			ok(l, l.snap(v, "2"))
			l.mustPut(v, 14, 7)
			l.used("v", v.ino, 24, 0, 21, 3)
			wantErr(l, "the third", l.snap(v, "3"), ErrQuota)
			f := l.p.ForecastSnapshot([]Ino{v.ino}, "3")
			if f.Err == nil || !strings.Contains(f.Err.Error(), "needs 448.0K (min of 448.0K written, 640.0K refreservation), the quota of v leaves 64.0K of 1.6M") {
				l.Errorf("%v", f.Err)
			}
		}},
		{"refreserv_004: limited by what is available", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propQuota, "2M")
			v := l.vol(d, "v", 100)
			wantErr(l, "set", l.set(v.ino, propRefreservation, "3M"), ErrQuota)
			wantErr(l, "set", l.set(l.vol(RootIno, "w", 1).ino, propRefreservation, "16M"), ErrNoSpace)
		}},
		{"refreserv_005: not limited by the volume's size", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 10)
			ok(l, l.set(v.ino, propRefreservation, "2M", propReservation, "3M"))
			l.used("v", v.ino, 32, 0, 0, 32)
		}},
		{"min-not-written", func(l *spaceLab) { // capacity 95, refreservation 40, written 50
			d := l.dir(RootIno, "d", propQuota, "6080K")
			v := l.vol(d, "v", 100, propRefreservation, "2560K")
			l.mustPut(v, 0, 50)
			if got := l.avail(d); got != 45*unit {
				l.Errorf("available %d U, want 45", got/unit)
			}
			ok(l, l.snap(v, "s"))
			if got := l.avail(d); got != 5*unit {
				l.Errorf("available %d U after it, want 5", got/unit)
			}
		}},
		{"refer-not-used", func(l *spaceLab) { // capacity 100, refreservation 30
			d := l.dir(RootIno, "d", propQuota, "6400K")
			v := l.vol(d, "v", 100, propRefreservation, "1920K")
			l.mustPut(v, 0, 30)
			ok(l, l.snap(v, "1"))
			if got := l.avail(d); got != 40*unit {
				l.Errorf("available %d U, want 40", got/unit)
			}
			l.mustPut(v, 30, 5)
			ok(l, l.snap(v, "2"))
			l.used("v", v.ino, 65, 0, 35, 30)
		}},
		{"written-in-reserve", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propQuota, "5568K") // 87 U
			v := l.vol(d, "v", 100, propRefreservation, "2560K")
			l.mustPut(v, 0, 45)
			ok(l, l.snap(v, "s"))
			l.used("before", d, 85, 0, 0, 0, 85)
			l.mustPut(v, 45, 5) // though 2 are available
			l.used("after", d, 85, 0, 0, 0, 85)
		}},
		{"overwrite-after-snap", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 40, propRefreservation, "2624K") // 41 U
			l.mustPut(v, 0, 10)
			ok(l, l.snap(v, "s"))
			l.mustPut(v, 10, 30)
			l.used("before", v.ino, 51, 0, 40, 11)
			before := l.avail(RootIno)
			l.mustPut(v, 0, 10)
			l.used("after", v.ino, 51, 10, 40, 1)
			l.about("available", before-l.avail(RootIno), 0)
		}},
		{"snapused: used is the sum of its parts, below directories too", func(l *spaceLab) {
			d := l.dir(RootIno, "d")
			e := l.dir(d, "e", propReservation, "1M")
			v := l.vol(d, "v", 20, propRefreservation, "auto")
			w := l.vol(e, "w", 20)
			l.mustPut(v, 0, 5)
			l.mustPut(w, 0, 3)
			ok(l, l.p.Snapshot(Req{}, []Ino{v.ino, w.ino}, "s"))
			l.mustPut(v, 0, 2)
			l.mustPut(w, 0, 1)
			l.used("v", v.ino, 25, 2, 5, 18)
			l.used("w", w.ino, 4, 1, 3, 0)
			l.used("e", e, 4, 0, 0, 0, 4)
			l.used("d", d, 25+16, 0, 0, 0, 25+16) // e is charged its reservation
			c := mustClone(l, v, "s", "c")
			l.mustPut(c, 0, 4)
			l.used("c", c.ino, 4, 0, 4, 0)
			l.used("v", v.ino, 25, 2, 5, 18)
		}},
		{"zfs_written_property: since the newest snapshot", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 40)
			want := func(written, refer int64) {
				l.Helper()
				i, err := l.p.VolumeInfo(v.ino)
				ok(l, err)
				if i.Written != written*unit || i.Refer != refer*unit {
					l.Errorf("written %d U, refer %d U, want %d and %d", i.Written/unit, i.Refer/unit, written, refer)
				}
			}
			l.mustPut(v, 0, 10)
			want(10, 10)
			ok(l, l.snap(v, "1"))
			want(0, 10)
			l.mustPut(v, 5, 10)
			want(10, 15)
			ok(l, v.Punch(0, 10*unit))
			want(5, 5)
			ok(l, l.p.Rollback(Req{}, v.ino, "1", false))
			want(0, 10)
			ok(l, l.p.DestroySnapshots(Req{}, v.ino, []string{"1"}, DestroyOptions{}))
			want(10, 10)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newSpaceLab(t)
			c.run(l)
			l.end()
		})
	}
}

// A quota is EDQUOT, a full pool ENOSPC; refquota bounds the volume without its snapshots.
func TestQuotas(t *testing.T) {
	l := newSpaceLab(t)
	d := l.dir(RootIno, "d", propQuota, "1M")
	v := l.vol(d, "v", 1000)
	if n := l.fillUp(v, 0, ErrQuota); n != 16 {
		t.Errorf("%d U of a quota of 16", n)
	}
	l.mustPut(v, 0, 16) // in place
	wantErr(t, "fallocate", v.Allocate(20*unit, unit, true), ErrQuota)
	ok(t, l.snap(v, "s")) // takes nothing
	wantErr(t, "a first write after it", l.put(v, 0, 1), ErrQuota)
	ok(t, l.p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}))
	ok(t, l.p.Flush())
	l.mustPut(v, 0, 1)
	ok(t, l.set(d, propQuota, "none"))
	ok(t, l.set(v.ino, propRefquota, "2M"))
	if n := l.fillUp(v, 16, ErrQuota); n != 16 {
		t.Errorf("%d U more under a refquota of 32", n)
	}
	ok(t, l.snap(v, "t"))
	l.mustPut(v, 0, 32) // it refers to no more than before
	wantErr(t, "a hole", l.put(v, 40, 1), ErrQuota)
	wantErr(t, "a refquota below what is referenced", l.set(v.ino, propRefquota, "1M"), ErrQuota)
	wantErr(t, "a refreservation above the refquota", l.set(v.ino, propRefreservation, "3M"), ErrQuota)
	l.end()
}

// A rename moves what is charged; it is refused where a quota or a promise has no room, before anything changed.
func TestRenameBetweenTenants(t *testing.T) {
	l := newSpaceLab(t)
	a := l.dir(RootIno, "a", propReservation, "2M")
	b := l.dir(RootIno, "b", propQuota, "1M")
	v := l.vol(a, "v", 100, propRefreservation, "640K")
	l.mustPut(v, 0, 20)
	move := func(from Ino, name string, to Ino, newName string) error {
		return l.p.Rename(Req{}, from, name, to, newName, 0)
	}
	wantErr(t, "above the quota", move(a, "v", b, "v"), ErrQuota)
	l.used("a", a, 20, 0, 0, 0, 20)
	ok(t, v.Punch(8*unit, 12*unit))
	ok(t, move(a, "v", b, "v"))
	l.used("a", a, 0)
	l.used("b", b, 10, 0, 0, 0, 10)
	l.used("pool", RootIno, 42, 0, 0, 0, 42)
	w := l.vol(b, "w", 100)
	l.mustPut(w, 0, 6)
	big := l.vol(RootIno, "big", 100)
	l.mustPut(big, 0, 8)
	wantErr(t, "above the quota", move(RootIno, "big", b, "big"), ErrQuota)
	ok(t, move(RootIno, "big", b, "v")) // what it replaces makes room
	l.used("b", b, 14, 0, 0, 0, 14)
	ok(t, l.p.Rename(Req{}, b, "w", a, "w", 0))
	l.used("a", a, 6, 0, 0, 0, 6)
	wantErr(t, "its reservation", l.p.Rename(Req{}, RootIno, "a", b, "a", 0), ErrQuota)
	l.end()
}

// What a destroyed base still holds for its clones is charged to its directory, and to the one above when that goes.
func TestClonesOfADestroyedBaseAddUp(t *testing.T) {
	l := newSpaceLab(t)
	d := l.dir(RootIno, "d")
	e := l.dir(d, "e")
	v := l.vol(e, "v", 100, propRefreservation, "auto")
	l.mustPut(v, 0, 10)
	ok(t, l.snap(v, "s"))
	one, two := mustClone(t, v, "s", "one"), mustClone(t, v, "s", "two")
	l.mustPut(one, 0, 4)
	l.mustPut(two, 0, 2)
	ok(t, l.p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	for round := range 3 {
		l.used("e", e, 10, 0, 10)
		l.used("d", d, 10, 0, 0, 0, 10)
		l.used("one", one.ino, 4)
		l.used("two", two.ino, 2)
		l.used("pool", RootIno, 16, 0, 0, 0, 16)
		mustCheck(t, l.p)
		l.p = again(t, l.p, round == 0)
	}
	ok(t, l.p.Rmdir(Req{}, d, "e"))
	l.used("d", d, 10, 0, 10)
	l.p = again(t, l.p, true)
	l.used("d", d, 10, 0, 10)
	ok(t, l.p.Unlink(Req{}, RootIno, "one")) // the base merges into the other clone
	l.used("d", d, 0)
	l.used("pool", RootIno, 10, 0, 0, 0, 10)
	l.end()
}

// A merge moves what it keeps to the last clone, over its quota if need be: a destroy is never refused for space, only
// further writes are.
func TestMergeOverAQuota(t *testing.T) {
	l := newSpaceLab(t)
	v := l.vol(RootIno, "v", 100)
	l.mustPut(v, 0, 20)
	ok(t, l.snap(v, "s"))
	d := l.dir(RootIno, "d", propQuota, "1M") // 16 U
	a, err := l.p.Clone(Req{}, v.ino, "s", d, "c")
	ok(t, err)
	c, err := l.p.Volume(a.Ino)
	ok(t, err)
	ok(t, l.p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Defer: true}))
	l.used("d", d, 20, 0, 0, 0, 20)
	wantErr(t, "a write over the quota", l.put(c, 50, 1), ErrQuota)
	ok(t, l.p.Flush())
	l.mustPut(c, 0, 20) // in place
	ok(t, c.Punch(0, 10*unit))
	l.mustPut(c, 0, 6)
	wantErr(t, "a write over the quota", l.put(c, 6, 1), ErrQuota)
	l.end()
}

// Blocks that failed to erase are available to nobody. Where they push capacity below the promises the pool says by how
// much, and makes no new ones; what was promised before goes on.
func TestPromisesShort(t *testing.T) {
	l := newSpaceLab(t)
	v := l.vol(RootIno, "v", 1000)
	w := l.vol(RootIno, "w", 40, propRefreservation, "auto")
	n := l.fillUp(v, 0, ErrNoSpace)
	ok(t, l.p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
	ok(t, l.p.EraseDrain(t.Context()))
	ok(t, l.set(w.ino, propRefreservation, "10M"))
	u := l.p.Usage()
	before := u.Clean + u.Claimed + u.Dirty + u.Freeing - u.Reserve - u.Promised
	failed := int64(0)
	for { // every block that is handed out fails
		id, runs := lend(t, l.p, 1<<20)
		if len(runs) == 0 {
			break
		}
		for _, r := range runs {
			failed += r.Len
		}
		ok(t, report(l.p, id, nil, runs))
	}
	avail, short := l.p.Headroom()
	if u := l.p.Usage(); u.Failed != failed || failed < (n-1)*unit || avail != 0 || short != failed-before {
		t.Errorf("%d failed of %d, %d were available: %d are, short by %d", u.Failed, n*unit, before, avail, short)
	}
	wantErr(t, "a new promise", l.set(w.ino, propRefreservation, "11M"), ErrNoSpace)
	ok(t, l.set(w.ino, propRefreservation, "1M"))
	mustCheck(t, l.p)
}
