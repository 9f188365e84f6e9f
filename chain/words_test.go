package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"slatefs/chain/ledger"
)

// The attributes of an inode have a bound of their own, names and values together; what has more keeps it and can lose it.
func TestAttributesOfOneInodeAreBounded(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	plant(t, p, "f", "d/", "old")
	for _, ino := range []Ino{2, 3} {
		sum, err := 0, error(nil)
		for i := 0; err == nil; i++ {
			name := fmt.Sprintf("user.%d", i)
			if err = p.SetXattr(Req{}, ino, name, make([]byte, MaxXattr), 0); err == nil {
				sum += len(name) + MaxXattr
			}
		}
		if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "at most 65536") {
			t.Errorf("after %d bytes: %v", sum, err)
		}
		if sum > MaxXattrs || sum < MaxXattrs-MaxXattr-100 {
			t.Errorf("%d bytes of attributes, at most %d", sum, MaxXattrs)
		}
		ok(t, p.SetXattr(Req{}, ino, "user.0", make([]byte, MaxXattr), XattrReplace)) // no more than before
		ok(t, p.RemoveXattr(Req{}, ino, "user.1"))
		ok(t, p.SetXattr(Req{}, ino, "user.one", make([]byte, MaxXattr-8), 0))
	}
	plantXattrs(t, p, 4, 8000)
	wantErr(t, "one more", p.SetXattr(Req{}, 4, "user.more", nil, 0), ErrNoSpace)
	ok(t, p.SetXattr(Req{}, 4, "user.1", []byte("VALUE"), 0))
	wantErr(t, "a longer one", p.SetXattr(Req{}, 4, "user.1", []byte("VALUES"), 0), ErrNoSpace)
	ok(t, p.RemoveXattr(Req{}, 4, "user.2"))
	if names, err := p.ListXattr(4); err != nil || len(names) != 8000-1 {
		t.Errorf("%d names, %v", len(names), err)
	}
	mustCheck(t, p)
	ok(t, p.Unlink(Req{}, RootIno, "old"))
}

// full tries until a quota says no, and returns how often it did not.
func full(t *testing.T, what string, try func(i int) error) (n int) {
	t.Helper()
	for ; n < 100_000; n++ {
		if err := try(n); errors.Is(err, ErrQuota) {
			return n
		} else if err != nil {
			t.Fatalf("%s %d: %v", what, n, err)
		}
	}
	t.Fatalf("%s: no quota", what)
	return n
}

// A directory's quota bounds what names, links and attributes in it take, at any depth; what is moved takes it along.
func TestQuotaBoundsWords(t *testing.T) {
	const quota = 64 << 10
	for what, try := range map[string]func(p *Pool, dir Ino, i int) error{
		"file": func(p *Pool, dir Ino, i int) error { _, err := p.Create(Req{}, dir, fmt.Sprint(i), 0o644); return err },
		"dir":  func(p *Pool, dir Ino, i int) error { _, err := p.Mkdir(Req{}, dir, fmt.Sprint(i), 0o755); return err },
		"symlink": func(p *Pool, dir Ino, i int) error {
			_, err := p.Symlink(Req{}, dir, fmt.Sprint(i), strings.Repeat("l", 2000))
			return err
		},
		"attribute": func(p *Pool, dir Ino, i int) error {
			return p.SetXattr(Req{}, dir, fmt.Sprintf("user.%d", i), bytes.Repeat([]byte("v"), 900), 0)
		},
		"rename": func(p *Pool, dir Ino, i int) error {
			_, err := p.Create(Req{}, RootIno, "f", 0o644)
			if err == nil || errors.Is(err, ErrExist) {
				err = p.Rename(Req{}, RootIno, "f", dir, fmt.Sprint(i), 0)
			}
			return err
		},
		"rename of a symlink": func(p *Pool, dir Ino, i int) error {
			_, err := p.Symlink(Req{}, RootIno, "l", strings.Repeat("l", 2000))
			if err == nil || errors.Is(err, ErrExist) {
				err = p.Rename(Req{}, RootIno, "l", dir, fmt.Sprint(i), 0)
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			p := openPool(t, newDisk(t, 16<<20))
			plant(t, p, "t/", "t/u/")
			top, _ := p.Resolve("t")
			deep, _ := p.Resolve("t/u")
			ok(t, p.SetProps(Req{}, top.Ino, Setting{Name: propQuota, Value: fmt.Sprint(quota)}))
			n := full(t, what, func(i int) error { return try(p, deep.Ino, i) })
			if n < 4 || n > quota/ledger.NameWords+BlockSize/ledger.NameWords {
				t.Errorf("%d fit into a quota of %d", n, quota)
			}
			i, err := p.DirInfo(top.Ino)
			ok(t, err)
			if i.Used != 0 || i.Words > quota+BlockSize || i.Words < quota*3/4 {
				t.Errorf("%+v", i.Space)
			}
			if i, _ := p.DirInfo(RootIno); i.Used != 0 {
				t.Errorf("the columns of the pool count words: %+v", i.Space)
			}
			ok(t, p.Rename(Req{}, top.Ino, "u", RootIno, "u", 0)) // with all its words
			if i, _ := p.DirInfo(top.Ino); i.Words != ledger.NameWords {
				t.Errorf("of an empty directory: %d", i.Words)
			}
			ok(t, p.Rename(Req{}, RootIno, "u", top.Ino, "u", 0))
			ok(t, p.SetProps(Req{}, top.Ino, Setting{Name: propQuota, Value: fmt.Sprint(quota + 64<<10)}))
			ok(t, try(p, deep.Ino, 100_000))
			mustCheck(t, p)
		})
	}
}

// The words are the same after each way of a name, and after a mount.
func TestWordsFollowNames(t *testing.T) {
	d := newDisk(t, 16<<20)
	p := openPool(t, d)
	plant(t, p, "a/", "b/", "a/f", "a/l>target", "b/l>t", "b/d/", "b/d/g")
	a, _ := p.Resolve("a")
	b, _ := p.Resolve("b")
	f, _ := p.Resolve("a/f")
	ok(t, p.SetXattr(Req{}, f.Ino, "user.a", make([]byte, 3000), 0))
	ok(t, p.SetXattr(Req{}, b.Ino, "user.b", make([]byte, 1000), 0))
	for _, step := range []func() error{
		func() error { return p.Rename(Req{}, a.Ino, "l", b.Ino, "l", RenameExchange) },
		func() error { return p.Rename(Req{}, a.Ino, "f", b.Ino, "l", RenameExchange) },
		func() error { return p.Rename(Req{}, a.Ino, "l", b.Ino, "m", 0) },
		func() error { return p.Rename(Req{}, b.Ino, "d", a.Ino, "d", 0) },
		func() error { return p.Rename(Req{}, b.Ino, "l", b.Ino, "m", 0) }, // over the link
		func() error { return p.SetXattr(Req{}, f.Ino, "user.a", nil, 0) },
		func() error { return p.RemoveXattr(Req{}, b.Ino, "user.b") },
		func() error { _, err := p.Clone(Req{}, f.Ino, "", a.Ino, "clone"); return err },
		func() error { return p.Unlink(Req{}, a.Ino, "clone") },
		func() error { _, err := p.Symlink(Req{}, b.Ino, "gone", strings.Repeat("x", MaxLink)); return err },
		func() error { return p.Unlink(Req{}, b.Ino, "gone") },
	} {
		ok(t, step())
		mustCheck(t, p)
	}
	before, err := p.DirInfo(RootIno)
	ok(t, err)
	ok(t, p.Close())
	p = openPool(t, d)
	if after, err := p.DirInfo(RootIno); err != nil || after.Words != before.Words {
		t.Errorf("%d after a mount, %d before, %v", after.Words, before.Words, err)
	}
}

// What adds a row of a user's words waits for space that the background has, and for a pool that grows, before it is refused.
func TestNamesWaitForSpace(t *testing.T) {
	verbs := map[string]func(p *Pool, v *Volume) error{
		"file":      func(p *Pool, _ *Volume) error { _, err := p.Create(Req{}, RootIno, "f", 0o644); return err },
		"dir":       func(p *Pool, _ *Volume) error { _, err := p.Mkdir(Req{}, RootIno, "d", 0o755); return err },
		"link":      func(p *Pool, _ *Volume) error { _, err := p.Symlink(Req{}, RootIno, "l", "to"); return err },
		"attribute": func(p *Pool, v *Volume) error { return p.SetXattr(Req{}, v.ino, "user.a", []byte("b"), 0) },
		"clone":     func(p *Pool, v *Volume) error { _, err := p.Clone(Req{}, v.ino, "s", RootIno, "c"); return err },
		"clone now": func(p *Pool, v *Volume) error { _, err := p.Clone(Req{}, v.ino, "", RootIno, "c"); return err },
	}
	ways := map[string]func(t *testing.T, p *Pool, v *Volume) (asked func() bool, found bool){
		"a checkpoint": func(t *testing.T, p *Pool, v *Volume) (func() bool, bool) {
			for b := int64(0); b < 128; b += 2 { // the next one may need pages for each, as far as can be said
				write(t, v, fill('b', BlockSize), (4096+b*64)*BlockSize)
			}
			was := p.Usage().Generation
			return func() bool { return p.Usage().Generation > was }, true
		},
		"a pool that grows": func(_ *testing.T, p *Pool, _ *Volume) (func() bool, bool) {
			asked := false
			p.SetGrower(func(_ context.Context, lack int64) error {
				asked = true
				return p.Extend(p.dev.Size() + 4<<20)
			})
			return func() bool { return asked }, true
		},
		"nothing": func(*testing.T, *Pool, *Volume) (func() bool, bool) { return func() bool { return true }, false },
	}
	for way, begin := range ways {
		for verb, do := range verbs {
			t.Run(way+", "+verb, func(t *testing.T) {
				p := openPool(t, newDisk(t, 8<<20))
				v := mustVolume(t, p, "v", 1<<32)
				mustSnapshot(t, v, "s")
				keep, err := p.Mkdir(Req{}, RootIno, "keep", 0o755)
				ok(t, err)
				ok(t, p.Checkpoint())
				asked, found := begin(t, p, v)
				p.mu.Lock()
				take := func(n int64) []Setting { return []Setting{{Name: propReservation, Value: fmt.Sprint(n * BlockSize)}} }
				n := p.space.free()
				for p.namespace.trySettings(keep.Ino, take(n)).Err != nil {
					n--
				}
				p.mu.Unlock()
				ok(t, p.SetProps(Req{}, keep.Ino, take(n-leastPages/2)...)) // it takes some itself
				p.mu.Lock()
				if p.space.free() >= leastPages {
					t.Errorf("%d blocks are free", p.space.free())
				}
				p.mu.Unlock()
				if err := do(p, v); found && err != nil || !found && !errors.Is(err, ErrNoSpace) {
					t.Error(err)
				}
				if !asked() {
					t.Error("it waited for nothing")
				}
				mustCheck(t, p)
			})
		}
	}
}
