package chain

import (
	"errors"
	"strings"
	"testing"

	"slatefs/chain/property"
	"slatefs/erase"
)

// Values are checked before anything changes, kept in canonical form, and outlive a restart and a crash.
func TestProperties(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	dir, err := p.Mkdir(Req{}, RootIno, "d", 0o755)
	ok(t, err)
	link, err := p.Symlink(Req{}, RootIno, "l", "d")
	ok(t, err)
	v := mustVolume(t, p, "v", 64<<10)
	for _, c := range []struct {
		ino       Ino
		name, val string
		want      string // canonical, if it is accepted
		err       error
	}{
		{RootIno, erase.PropThroughput, "10M", "10485760", nil},
		{RootIno, erase.PropThroughput, "-52428800", "52428800", nil},
		{RootIno, erase.PropThroughput, "none", "0", nil},
		{RootIno, erase.PropThroughput, "20GB", "", ErrInvalid},
		{v.ino, erase.PropThroughput, "10M", "", ErrInvalid},
		{RootIno, propQuota, "1G", "", ErrInvalid},
		{dir.Ino, propQuota, "1G", "1073741824", nil},
		{dir.Ino, propQuota, "0", "none", nil},
		{dir.Ino, propQuota, "auto", "", ErrInvalid},
		{dir.Ino, propRefquota, "1G", "", ErrInvalid},
		{dir.Ino, propRefreservation, "1M", "", ErrInvalid},
		{dir.Ino, propRefreservation, "auto", "auto", nil},
		{v.ino, propRefreservation, "64K", "65536", nil},
		{v.ino, propRefreservation, "-1", "", ErrInvalid},
		{v.ino, propPreallocated, "maybe", "", ErrInvalid},
		{link.Ino, propQuota, "1G", "", ErrInvalid},
		{99, propQuota, "1G", "", ErrNotFound},
		{RootIno, "colour", "red", "", ErrInvalid},
	} {
		wantErr(t, c.name+"="+c.val, p.SetProps(Req{}, c.ino, Setting{Name: c.name, Value: c.val}), c.err)
		if c.err == nil {
			if got, err := p.Prop(c.ino, c.name); err != nil || got.Value != c.want || !got.Set {
				t.Errorf("%s=%s is %+v, %v, want %s", c.name, c.val, got, err, c.want)
			}
		}
	}
	for round := range 3 {
		for _, c := range []struct {
			ino        Ino
			name, want string
			source     string
		}{
			{RootIno, erase.PropThroughput, "0", "local"},
			{RootIno, propRefreservation, "none", "default"},
			{dir.Ino, propRefreservation, "auto", "local"},
			{v.ino, propRefreservation, "65536", "local"},
			{v.ino, propReservation, "none", "default"},
		} {
			got, err := p.Prop(c.ino, c.name)
			if err != nil || got.Value != c.want || got.Source(p.Path) != c.source {
				t.Errorf("round %d: %s is %q, %v, %v, want %q, %s", round, c.name, got.Value, got.Source(p.Path), err, c.want, c.source)
			}
		}
		p = again(t, p, round == 0)
	}
	mustCheck(t, p)
}

// All settings of one call are made, or none.
func TestSettingsAreOneChange(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 64<<10)
	for _, bad := range []Setting{{Name: propRefquota, Value: "x"}, {Name: "colour", Value: "red"}, {Name: propQuota, Value: "2M"}} {
		err := p.SetProps(Req{}, v.ino, Setting{Name: propQuota, Value: "1M"}, bad)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), bad.Name) {
			t.Errorf("with %s=%s: %v", bad.Name, bad.Value, err)
		}
		if got, err := p.Prop(v.ino, propQuota); err != nil || got.Set {
			t.Errorf("with %s=%s: the quota was set all the same: %+v, %v", bad.Name, bad.Value, got, err)
		}
	}
}

// A property that is inherited comes from the nearest directory that has it, and says so; after inherit it does again.
func TestInherit(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	outer, err := p.Mkdir(Req{}, RootIno, "outer", 0o755)
	ok(t, err)
	inner, err := p.Mkdir(Req{}, outer.Ino, "inner", 0o755)
	ok(t, err)
	want := func(val, source string) {
		t.Helper()
		got, err := p.Prop(inner.Ino, propRefreservation)
		if err != nil || got.Value != val || got.Source(func(i Ino) string { return "/" + p.Path(i) }) != source {
			t.Errorf("it is %s, %s, %v, want %s, %s", got.Value, got.Source(p.Path), err, val, source)
		}
	}
	set := func(ino Ino, s Setting) {
		t.Helper()
		s.Name = propRefreservation
		ok(t, p.SetProps(Req{}, ino, s))
	}
	want("none", "default")
	set(RootIno, Setting{Value: "auto"})
	want("auto", "inherited from /")
	set(outer.Ino, Setting{Value: "none"})
	want("none", "inherited from /outer")
	set(inner.Ino, Setting{Value: "auto"})
	want("auto", "local")
	set(inner.Ino, Setting{Inherit: true})
	want("none", "inherited from /outer")
	set(outer.Ino, Setting{Inherit: true})
	want("auto", "inherited from /")
}

// What a pool keeps for others stays as it is where nobody knows it, and is there again for who does.
func TestOthersPropertiesAreKept(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: erase.PropThroughput, Value: "50M"}, Setting{Name: propRefreservation, Value: "auto"}))
	ok(t, p.Close())
	q, err := Open(d, Options{Now: newClock().now})
	ok(t, err)
	for _, err := range []error{
		func() error { _, err := q.Prop(RootIno, erase.PropThroughput); return err }(),
		q.SetProps(Req{}, RootIno, Setting{Name: erase.PropThroughput, Value: "1M"}),
	} {
		if !errors.Is(err, ErrInvalid) || !errors.Is(err, property.ErrInvalid) {
			t.Errorf("a property that nobody knows: %v", err)
		}
	}
	ok(t, q.SetProps(Req{}, RootIno, Setting{Name: propRefreservation, Inherit: true}))
	ok(t, q.Checkpoint())
	ok(t, q.Close())
	p = openPool(t, d)
	if v, err := p.Prop(RootIno, erase.PropThroughput); err != nil || v.Value != "52428800" || !v.Set {
		t.Errorf("it is %+v, %v", v, err)
	}
}
