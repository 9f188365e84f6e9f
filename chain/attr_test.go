package chain

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"slatefs/chain/super"
)

func TestSetAttr(t *testing.T) {
	num := func(n uint32) *uint32 { return &n }
	yes, no := true, false
	size := int64(12345)
	when, far := time.Unix(1_000_000_000, 123456789), time.Date(1492, 10, 12, 6, 0, 0, 1, time.UTC)
	base := newDisk(t, 2<<20)
	for i, c := range []struct {
		name string
		set  SetAttr
		want func(a *Attr)
	}{
		{"nothing", SetAttr{}, func(*Attr) {}},
		{"mode", SetAttr{Mode: num(0o6751)}, func(a *Attr) { a.Mode = 0o6751 }},
		{"mode with a type", SetAttr{Mode: num(0o100644)}, func(a *Attr) { a.Mode = 0o644 }},
		{"owner", SetAttr{UID: num(1000)}, func(a *Attr) { a.UID = 1000 }},
		{"group", SetAttr{GID: num(1 << 31)}, func(a *Attr) { a.GID = 1 << 31 }},
		{"size", SetAttr{Size: &size}, func(a *Attr) { a.Size = size }},
		{"time", SetAttr{Mtime: &when}, func(a *Attr) { a.Mtime = when }},
		{"immutable", SetAttr{Immutable: &yes}, func(a *Attr) { a.Immutable = true }},
		{"mutable", SetAttr{Immutable: &no}, func(*Attr) {}},
		{"access time", SetAttr{Atime: &when}, func(a *Attr) { a.Atime = when }},
		{"all", SetAttr{num(1), num(2), num(3), &size, &far, &when, &yes}, func(a *Attr) {
			a.Mode, a.UID, a.GID, a.Size, a.Atime, a.Mtime, a.Immutable = 1, 2, 3, size, far, when, true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openPool(t, base.Clone())
			was, err := p.Create(Req{UID: 7, GID: 8}, RootIno, "f", 0o100600)
			ok(t, err)
			if was.Mode != 0o600 || was.UID != 7 || was.GID != 8 || was.Nlink != 1 || was.Parent != RootIno || was.Name != "f" {
				t.Fatalf("made: %+v", was)
			}
			got, err := p.SetAttr(Req{}, was.Ino, c.set)
			ok(t, err)
			want := was
			c.want(&want)
			if !got.Ctime.After(was.Ctime) {
				t.Errorf("changed at %v, made at %v", got.Ctime, was.Ctime)
			}
			if c.set.Size != nil && c.set.Mtime == nil && !got.Mtime.After(was.Mtime) {
				t.Error("a new size is no modification")
			}
			if want.Ctime = got.Ctime; c.set.Size != nil && c.set.Mtime == nil {
				want.Mtime = got.Mtime
			}
			for range 2 {
				if a, err := p.GetAttr(was.Ino); err != nil || !sameAttr(a, want) {
					t.Errorf("%+v, %v, want %+v", a, err, want)
				}
				p = again(t, p, i%2 == 0)
			}
		})
	}
	p := openPool(t, base)
	big := MaxSize + 1
	plant(t, p, "d/", "f")
	_, err := p.SetAttr(Req{}, 99, SetAttr{})
	wantErr(t, "of nothing", err, ErrNotFound)
	_, err = p.SetAttr(Req{}, 2, SetAttr{Size: &size})
	wantErr(t, "size of a directory", err, ErrInvalid)
	_, err = p.SetAttr(Req{}, 3, SetAttr{Size: &big, Mode: num(0)})
	wantErr(t, "a size that no map holds", err, ErrTooBig)
	if a, _ := p.GetAttr(3); a.Mode != 0o644 {
		t.Errorf("a refused change left mode %o", a.Mode)
	}
}

func sameAttr(a, b Attr) bool {
	times := a.Mtime.Equal(b.Mtime) && a.Ctime.Equal(b.Ctime) && a.Btime.Equal(b.Btime) && a.Atime.Equal(b.Atime)
	a.Mtime, a.Ctime, a.Btime, a.Atime = b.Mtime, b.Ctime, b.Btime, b.Atime
	return times && a == b
}

// Which operation changes whose times: m the content, c the inode.
func TestTimes(t *testing.T) {
	base := newDisk(t, 4<<20)
	for _, c := range []struct {
		name string
		do   func(t *testing.T, p *Pool) error
		want string
	}{
		{"create", func(t *testing.T, p *Pool) error { plant(t, p, "d/g"); return nil }, "d:mc"},
		{"mkdir", func(t *testing.T, p *Pool) error { plant(t, p, "d/g/"); return nil }, "d:mc"},
		{"unlink", func(_ *testing.T, p *Pool) error { return p.Unlink(Req{}, 2, "f") }, "d:mc"},
		{"rename", func(_ *testing.T, p *Pool) error { return p.Rename(Req{}, 2, "f", 3, "f", 0) }, "d:mc e:mc f:c"},
		{"exchange", func(_ *testing.T, p *Pool) error { return p.Rename(Req{}, 2, "f", 3, "h", RenameExchange) }, "d:mc e:mc f:c h:c"},
		{"write", func(t *testing.T, p *Pool) error {
			v, err := p.Volume(4)
			ok(t, err)
			write(t, v, []byte("x"), 0)
			return nil
		}, "f:mc"},
		{"truncate", func(t *testing.T, p *Pool) error { v, err := p.Volume(4); ok(t, err); return v.Truncate(77) }, "f:mc"},
		{"xattr", func(_ *testing.T, p *Pool) error { return p.SetXattr(Req{}, 4, "user.x", nil, 0) }, "f:c"},
		{"read", func(t *testing.T, p *Pool) error {
			v, err := p.Volume(4)
			ok(t, err)
			expect(t, v, 0, fill(0, 512))
			return nil
		}, ""},
		{"snapshot", func(_ *testing.T, p *Pool) error { return p.Snapshot(Req{}, []Ino{4}, "s") }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openPool(t, base.Clone())
			plant(t, p, "d/", "e/", "d/f", "e/h") // 2 to 5
			v, err := p.Volume(4)
			ok(t, err)
			ok(t, v.Truncate(4096))
			names := []string{"d", "e", "f", "h"}
			see := func() (out []Attr) {
				for i := range names {
					a, _ := p.GetAttr(Ino(2 + i))
					out = append(out, a)
				}
				return out
			}
			before := see()
			ok(t, c.do(t, p))
			changes := func() string {
				var got []string
				for i, a := range see() {
					what := ""
					if a.Ino == 0 {
						continue
					}
					if a.Mtime.After(before[i].Mtime) {
						what = "m"
					}
					if a.Ctime.After(before[i].Ctime) {
						what += "c"
					}
					if what != "" {
						got = append(got, names[i]+":"+what)
					}
				}
				return strings.Join(got, " ")
			}
			if got := changes(); got != c.want {
				t.Errorf("changed %q, want %q", got, c.want)
			}
			p = again(t, p, false)
			if got := changes(); got != c.want {
				t.Errorf("after a restart changed %q, want %q", got, c.want)
			}
		})
	}
}

// A directory with the set-group-id bit hands its group on.
func TestSetGroupID(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	for i, mode := range []uint32{0o755, 0o2755} {
		d, err := p.Mkdir(Req{UID: 1, GID: 2}, RootIno, fmt.Sprint(i), mode)
		ok(t, err)
		want := []uint32{20, 2}[i]
		f, err := p.Create(Req{UID: 10, GID: 20}, d.Ino, "f", 0o600)
		ok(t, err)
		e, err := p.Mkdir(Req{UID: 10, GID: 20}, d.Ino, "e", 0o700)
		ok(t, err)
		l, err := p.Symlink(Req{UID: 10, GID: 20}, d.Ino, "l", "x")
		ok(t, err)
		for _, a := range []Attr{f, e, l} {
			if a.GID != want || a.UID != 10 {
				t.Errorf("in a directory of mode %o: owner %d, group %d, want 10, %d", mode, a.UID, a.GID, want)
			}
		}
	}
}

func TestSymlinkTargets(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	targets := map[Ino]string{}
	for _, n := range []int{1, 999, 1000, 1001, 2000, MaxLink} {
		to := strings.Repeat("x", n-1) + "y"
		a, err := p.Symlink(Req{}, RootIno, fmt.Sprint(n), to)
		ok(t, err)
		if a.Size != int64(n) || a.Mode != 0o777 || a.Type != TypeSymlink {
			t.Errorf("%+v", a)
		}
		targets[a.Ino] = to
	}
	for _, to := range []string{"", strings.Repeat("x", MaxLink+1)} {
		_, err := p.Symlink(Req{}, RootIno, "no", to)
		wantErr(t, fmt.Sprintf("target of %d bytes", len(to)), err, ErrNameTooLong)
	}
	for round := range 3 {
		for ino, to := range targets {
			if got, err := p.Readlink(ino); err != nil || got != to {
				t.Errorf("round %d: %d bytes, %v, want %d", round, len(got), err, len(to))
			}
		}
		p = again(t, p, round == 0)
	}
	plant(t, p, "f")
	a, err := p.Lookup(RootIno, "f")
	ok(t, err)
	_, err = p.Readlink(a.Ino)
	wantErr(t, "target of a file", err, ErrInvalid)
	for ino := range targets {
		ok(t, p.Unlink(Req{}, RootIno, fmt.Sprint(len(targets[ino]))))
		if _, err := p.Readlink(ino); !errors.Is(err, ErrGone) {
			t.Errorf("target of a symlink that is gone: %v", err)
		}
	}
	for range super.Slots {
		ok(t, p.Checkpoint())
	}
	inPages(t, p, 'x', false) // invariant 7
}
