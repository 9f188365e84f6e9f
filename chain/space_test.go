package chain

import (
	"context"
	"errors"
	"testing"
)

// spaceLab is a pool on which space is counted in units of 64 KiB, U here.
type spaceLab struct {
	*testing.T
	p *Pool
}

const unit = 64 << 10

func newSpaceLab(t *testing.T) *spaceLab {
	p := openPool(t, newDisk(t, 16<<20))
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	return &spaceLab{t, p}
}

// dir makes a directory.
func (l *spaceLab) dir(up Ino, name string, settings ...string) Ino {
	l.Helper()
	a, err := l.p.Mkdir(Req{}, up, name, 0o755)
	ok(l, err)
	ok(l, l.set(a.Ino, settings...))
	return a.Ino
}

// vol makes a volume of some units; settings are names and values.
func (l *spaceLab) vol(up Ino, name string, units int64, settings ...string) *Volume {
	l.Helper()
	a, err := l.p.Create(Req{}, up, name, 0o644)
	ok(l, err)
	v, err := l.p.Volume(a.Ino)
	ok(l, err)
	ok(l, v.Truncate(units*unit))
	ok(l, l.set(a.Ino, settings...))
	return v
}

func (l *spaceLab) set(ino Ino, settings ...string) error {
	var list []Setting
	for i := 0; i < len(settings); i += 2 {
		list = append(list, Setting{Name: settings[i], Value: settings[i+1]})
	}
	return l.p.SetProps(Req{}, ino, list...)
}

// put writes units, one at a time, and returns the error of the first that fails.
func (l *spaceLab) put(v *Volume, at, units int64) error {
	for i := range units {
		if _, err := v.WriteAt(fill(byte(at+i)|1, unit), (at+i)*unit); err != nil {
			return err
		}
	}
	return nil
}

func (l *spaceLab) mustPut(v *Volume, at, units int64) {
	l.Helper()
	ok(l, l.put(v, at, units))
}

// fillUp writes to a volume until it is refused with an error of a kind, and returns the units that it took.
func (l *spaceLab) fillUp(v *Volume, at int64, kind error) (n int64) {
	l.Helper()
	for {
		err := l.put(v, at+n, 1)
		if err != nil {
			wantErr(l, "the last write", err, kind)
			return n
		}
		n++
	}
}

func (l *spaceLab) snap(v *Volume, name string) error {
	return l.p.Snapshot(Req{}, []Ino{v.ino}, name)
}

func (l *spaceLab) space(ino Ino) Space {
	l.Helper()
	if d, err := l.p.DirInfo(ino); err == nil {
		return d.Space
	}
	i, err := l.p.VolumeInfo(ino)
	ok(l, err)
	if i.Used != i.UsedSnap+i.UsedDS+i.UsedRefreserv+i.UsedChild {
		l.Errorf("used %d is not the sum of %+v", i.Used, i.Space)
	}
	return i.Space
}

// used checks columns, in units: used, usedsnap, usedds, usedrefreserv, usedchild.
func (l *spaceLab) used(what string, ino Ino, want ...int64) {
	l.Helper()
	s := l.space(ino)
	for i, got := range []int64{s.Used, s.UsedSnap, s.UsedDS, s.UsedRefreserv, s.UsedChild} {
		if i < len(want) && got != want[i]*unit {
			l.Errorf("%s: %s is %.2f U, want %d", what, []string{"used", "usedsnap", "usedds", "usedrefreserv", "usedchild"}[i], float64(got)/unit, want[i])
		}
	}
}

// avail is what is available, in bytes.
func (l *spaceLab) avail(ino Ino) int64 { return l.space(ino).Avail }

// about checks a change of what is available, to what metadata may be: a sixteenth and six units.
func (l *spaceLab) about(what string, got, units int64) {
	l.Helper()
	if d := got - units*unit; d > units*unit/16+6*unit || d < -units*unit/16-6*unit {
		l.Errorf("%s: %.2f U, want about %d", what, float64(got)/unit, units)
	}
}

func (l *spaceLab) end() {
	l.Helper()
	ok(l, l.p.Checkpoint())
	mustCheck(l, l.p)
}

// What OpenZFS's own tests of reservations assert, as far as it has a meaning here. Their names are kept.
func TestZFSReservation(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(l *spaceLab)
	}{
		{"001: can be set up to what is available", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 100)
			before := l.avail(RootIno)
			ok(l, l.set(v.ino, propReservation, "5M"))
			l.about("taken", before-l.avail(RootIno), 80)
			ok(l, l.set(v.ino, propReservation, "none"))
			if l.avail(RootIno) != before {
				l.Errorf("%d available, before %d", l.avail(RootIno), before)
			}
		}},
		{"002: not above what is available", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 100)
			wantErr(l, "set", l.set(v.ino, propReservation, "16M"), ErrNoSpace)
			if got, err := l.p.Prop(v.ino, propReservation); err != nil || got.Value != "none" {
				l.Errorf("it is set all the same: %+v, %v", got, err)
			}
		}},
		{"004: goes with the dataset", func(l *spaceLab) {
			before := l.avail(RootIno)
			v := l.vol(RootIno, "v", 100, propReservation, "5M")
			l.mustPut(v, 0, 10)
			ok(l, l.p.DestroyVolume(Req{}, v.ino, DestroyOptions{}))
			l.about("given back", before-l.avail(RootIno), 0)
		}},
		{"006: more than it can be written", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 100, propReservation, "1M")
			l.mustPut(v, 0, 50)
			l.used("v", v.ino, 50)
		}},
		{"007: no effect on siblings", func(l *spaceLab) {
			a := l.vol(RootIno, "a", 100, propReservation, "1M")
			b := l.vol(RootIno, "b", 100, propReservation, "2M")
			l.used("a", a.ino, 0)
			l.used("b", b.ino, 0)
			l.used("pool", RootIno, 48, 0, 0, 0, 48)
		}},
		{"008, 009: less of it lets others write", func(l *spaceLab) {
			a, b := l.vol(RootIno, "a", 100, propReservation, "5M"), l.vol(RootIno, "b", 1000)
			n := l.fillUp(b, 0, ErrNoSpace)
			ok(l, l.set(a.ino, propReservation, "2M"))
			l.about("more", l.fillUp(b, n, ErrNoSpace)*unit, 48)
		}},
		{"010, 016: the end of the reserved lets others write", func(l *spaceLab) {
			a, b := l.vol(RootIno, "a", 80, propRefreservation, "auto"), l.vol(RootIno, "b", 1000)
			n := l.fillUp(b, 0, ErrNoSpace)
			ok(l, l.p.DestroyVolume(Req{}, a.ino, DestroyOptions{}))
			l.about("more", l.fillUp(b, n, ErrNoSpace)*unit, 80)
		}},
		{"011: does not change the quota", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propQuota, "4M")
			ok(l, l.set(d, propReservation, "1M"))
			if got, err := l.p.Prop(d, propQuota); err != nil || got.Value != "4194304" {
				l.Errorf("quota %+v, %v", got, err)
			}
		}},
		{"012: holds when the rest is full", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propReservation, "4M")
			a, b := l.vol(d, "a", 100), l.vol(RootIno, "b", 1000)
			l.fillUp(b, 0, ErrNoSpace)
			l.mustPut(a, 0, 64)
			l.used("d", d, 64)
		}},
		{"013: outlives a restart", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propReservation, "1M")
			v := l.vol(d, "v", 100, propReservation, "2M", propRefreservation, "auto")
			want := []Space{l.space(d), l.space(v.ino)}
			l.p = again(l, l.p, true)
			for i, ino := range []Ino{d, v.ino} {
				if got := l.space(ino); got.Used != want[i].Used || got.Reservation != want[i].Reservation || got.Promised != want[i].Promised {
					l.Errorf("%+v, before %+v", got, want[i])
				}
			}
		}},
		{"014: not above the quota", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propQuota, "2M")
			v := l.vol(d, "v", 100, propQuota, "1M")
			wantErr(l, "directory", l.set(d, propReservation, "3M"), ErrQuota)
			wantErr(l, "volume", l.set(v.ino, propReservation, "2M"), ErrQuota)
			wantErr(l, "below it", l.set(d, propQuota, "1M", propReservation, "2M"), ErrQuota)
		}},
		{"017: a thin volume's does not follow its size", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 10)
			w := l.vol(RootIno, "w", 10, propRefreservation, "640K")
			ok(l, v.Truncate(20*unit))
			ok(l, w.Truncate(20*unit))
			l.used("v", v.ino, 0)
			l.used("w", w.ino, 10)
		}},
		{"018: is not inherited", func(l *spaceLab) {
			d := l.dir(RootIno, "d", propReservation, "1M")
			got, err := l.p.Prop(l.vol(d, "v", 1).ino, propReservation)
			if err != nil || got.Value != "none" {
				l.Errorf("%+v, %v", got, err)
			}
		}},
		{"019: auto makes a thin volume thick, and moves with its size", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 10)
			ok(l, l.set(v.ino, propRefreservation, "auto"))
			l.used("v", v.ino, 10, 0, 0, 10)
			ok(l, v.Truncate(20*unit))
			l.used("v", v.ino, 20, 0, 0, 20)
			wantErr(l, "more than there is", v.Truncate(32<<20), ErrNoSpace)
			if v.Size() != 20*unit {
				l.Errorf("size %d", v.Size())
			}
		}},
		{"020: a clone of a thick volume is thin", func(l *spaceLab) {
			v := l.vol(RootIno, "v", 10, propRefreservation, "auto")
			ok(l, l.snap(v, "s"))
			c := mustClone(l, v, "s", "c")
			l.used("c", c.ino, 0)
			ok(l, l.set(c.ino, propRefreservation, "auto")) // 022
			l.used("c", c.ino, 10, 0, 0, 10)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newSpaceLab(t)
			c.run(l)
			l.end()
		})
	}
}

// The pool's default for new volumes is refreservation=auto, if it says so; a directory may say otherwise.
func TestDefaultRefreservation(t *testing.T) {
	l := newSpaceLab(t)
	ok(l, l.set(RootIno, propRefreservation, "auto"))
	d := l.dir(RootIno, "thin", propRefreservation, "none")
	l.used("thick", l.vol(RootIno, "a", 10).ino, 10, 0, 0, 10)
	l.used("thin", l.vol(d, "b", 10).ino, 0)
	a, err := l.p.Create(Req{}, RootIno, "big", 0o644)
	ok(l, err)
	v, err := l.p.Volume(a.Ino)
	ok(l, err)
	if err := v.Truncate(32 << 20); !errors.Is(err, ErrNoSpace) { // as truncate(1) gets it
		l.Errorf("a volume above what is available: %v", err)
	}
	l.end()
}
