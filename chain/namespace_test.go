package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr expects an error of that kind; nil: none.
func wantErr(t testing.TB, what string, err, kind error) {
	t.Helper()
	if kind == nil && err != nil || kind != nil && !errors.Is(err, kind) {
		t.Errorf("%s: %v, want %v", what, err, kind)
	}
}

// again opens the pool once more: after a Close, or after a flush and a power cut.
func again(t testing.TB, p *Pool, crash bool) *Pool {
	t.Helper()
	d := p.dev.(*devtest.Disk)
	if crash {
		ok(t, p.Flush())
		d = d.Crash(rand.New(rand.NewPCG(5, 5)))
	} else {
		ok(t, p.Close())
	}
	return openPool(t, d)
}

// place is the directory of a path, and its last component.
func place(t testing.TB, p *Pool, path string) (Ino, string) {
	t.Helper()
	i := strings.LastIndexByte(path, '/')
	a, err := p.Resolve(path[:max(i, 0)])
	ok(t, err)
	return a.Ino, path[i+1:]
}

// plant makes directories ("d/"), volumes ("f") and symlinks ("l>target"). Their numbers are 2, 3, ...
func plant(t testing.TB, p *Pool, paths ...string) {
	t.Helper()
	for _, path := range paths {
		var err error
		link, target, isLink := strings.Cut(path, ">")
		dir, name := place(t, p, strings.TrimSuffix(link, "/"))
		switch {
		case isLink:
			_, err = p.Symlink(Req{}, dir, name, target)
		case strings.HasSuffix(path, "/"):
			_, err = p.Mkdir(Req{}, dir, name, 0o755)
		default:
			_, err = p.Create(Req{}, dir, name, 0o644)
		}
		ok(t, err)
	}
}

// listing shows all names with their numbers; directories with links and entries.
func listing(t testing.TB, p *Pool) (out []string) {
	t.Helper()
	var down func(ino Ino, path string)
	down = func(ino Ino, path string) {
		a, err := p.GetAttr(ino)
		ok(t, err)
		if got := p.Path(ino); got != strings.Trim(path, "/") {
			t.Errorf("path of %d is %q, found at %q", ino, got, path)
		}
		line := fmt.Sprintf("%s=%d", path, ino)
		if a.Type == TypeSymlink {
			to, err := p.Readlink(ino)
			ok(t, err)
			line += ">" + to
		}
		if a.Type != TypeDir {
			out = append(out, line)
			return
		}
		out = append(out, fmt.Sprintf("%s/=%d,%d,%d", path, ino, a.Nlink, a.Size))
		var es []DirEntry
		ok(t, p.ReadDir(ino, 0, func(e DirEntry) bool { es = append(es, e); return true }))
		for _, e := range es {
			if up, err := p.Parent(e.Ino); err != nil || up != ino {
				t.Errorf("parent of %s is %d, %v, want %d", e.Name, up, err, ino)
			}
			if b, err := p.Lookup(ino, e.Name); err != nil || b.Ino != e.Ino || b.Type != e.Type || b.Name != e.Name {
				t.Errorf("lookup of %s: %+v, %v, listed %+v", e.Name, b, err, e)
			}
			down(e.Ino, path+"/"+e.Name)
		}
	}
	down(RootIno, "")
	slices.Sort(out)
	return out
}

type nameCase struct {
	name  string
	plant []string
	do    func(t *testing.T, p *Pool) error
	err   error
	want  []string // nil: as planted
}

// runNames runs each case on a pool of its own. What was refused changed nothing, and all survives a restart.
func runNames(t *testing.T, cases []nameCase) {
	t.Helper()
	base := newDisk(t, 2<<20)
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := openPool(t, base.Clone())
			plant(t, p, c.plant...)
			want := listing(t, p)
			wantErr(t, c.name, c.do(t, p), c.err)
			if c.want != nil {
				want = c.want
				slices.Sort(want)
			}
			for _, when := range []string{"at once", "after a restart"} {
				if got := listing(t, p); !slices.Equal(got, want) {
					t.Errorf("%s: %q, want %q", when, got, want)
				}
				mustCheck(t, p)
				if when == "at once" {
					p = again(t, p, i%2 == 0)
				}
			}
		})
	}
}

func TestMakeAndRemove(t *testing.T) {
	do := func(f func(p *Pool, dir Ino, name string) error, path string) func(*testing.T, *Pool) error {
		return func(t *testing.T, p *Pool) error {
			dir, name := place(t, p, path)
			return f(p, dir, name)
		}
	}
	create := func(p *Pool, dir Ino, name string) error { _, err := p.Create(Req{}, dir, name, 0o600); return err }
	mkdir := func(p *Pool, dir Ino, name string) error { _, err := p.Mkdir(Req{}, dir, name, 0o700); return err }
	link := func(p *Pool, dir Ino, name string) error { _, err := p.Symlink(Req{}, dir, name, "to"); return err }
	unlink := func(p *Pool, dir Ino, name string) error { return p.Unlink(Req{}, dir, name) }
	rmdir := func(p *Pool, dir Ino, name string) error { return p.Rmdir(Req{}, dir, name) }
	long := strings.Repeat("n", MaxName)
	runNames(t, []nameCase{
		{"create", []string{"d/"}, do(create, "d/f"), nil, []string{"/=1,3,1", "/d/=2,2,1", "/d/f=3"}},
		{"create twice", []string{"f"}, do(create, "f"), ErrExist, nil},
		{"create over a directory", []string{"d/"}, do(create, "d"), ErrExist, nil},
		{"create in a file", []string{"f"}, do(create, "f/x"), ErrNotDir, nil},
		{"mkdir", []string{"d/"}, do(mkdir, "d/e"), nil, []string{"/=1,3,1", "/d/=2,3,1", "/d/e/=3,2,0"}},
		{"mkdir twice", []string{"d/"}, do(mkdir, "d"), ErrExist, nil},
		{"symlink", nil, do(link, "l"), nil, []string{"/=1,2,1", "/l=2>to"}},
		{"symlink in a symlink", []string{"l>d", "d/"}, do(link, "l/x"), ErrNotDir, nil},
		{"longest name", nil, do(create, long), nil, []string{"/=1,2,1", "/" + long + "=2"}},
		{"name too long", nil, do(mkdir, long+"n"), ErrNameTooLong, nil},
		{"no name", nil, do(create, ""), ErrInvalid, nil},
		{"dot", nil, do(create, "."), ErrInvalid, nil},
		{"dot dot", nil, do(link, ".."), ErrInvalid, nil},
		{"NUL", nil, do(create, "a\x00b"), ErrInvalid, nil},
		{"slash", nil, func(_ *testing.T, p *Pool) error { return create(p, RootIno, "a/b") }, ErrInvalid, nil},
		{".snap", nil, do(mkdir, ".snap"), ErrPerm, nil},
		{"no directory", nil, func(_ *testing.T, p *Pool) error { return create(p, 99, "f") }, ErrNotFound, nil},
		{"unlink", []string{"d/", "d/f", "d/g"}, do(unlink, "d/f"), nil, []string{"/=1,3,1", "/d/=2,2,1", "/d/g=4"}},
		{"unlink a symlink", []string{"f", "l>f"}, do(unlink, "l"), nil, []string{"/=1,2,1", "/f=2"}},
		{"unlink a directory", []string{"d/"}, do(unlink, "d"), ErrIsDir, nil},
		{"unlink nothing", []string{"f"}, do(unlink, "g"), ErrNotFound, nil},
		{"rmdir", []string{"d/", "d/e/"}, do(rmdir, "d/e"), nil, []string{"/=1,3,1", "/d/=2,2,0"}},
		{"rmdir of a full one", []string{"d/", "d/f"}, do(rmdir, "d"), ErrNotEmpty, nil},
		{"rmdir of a file", []string{"f"}, do(rmdir, "f"), ErrNotDir, nil},
		{"rmdir of a symlink", []string{"d/", "l>d"}, do(rmdir, "l"), ErrNotDir, nil},
		{"rmdir of nothing", nil, do(rmdir, "d"), ErrNotFound, nil},
	})
}

// Numbers are never used twice, not even after a restart.
func TestNumbersAreNotReused(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	last := RootIno
	for i := range 6 {
		a, err := p.Create(Req{}, RootIno, "f", 0o600)
		ok(t, err)
		if a.Ino <= last {
			t.Fatalf("inode %d after %d", a.Ino, last)
		}
		last = a.Ino
		ok(t, p.Unlink(Req{}, RootIno, "f"))
		if _, err := p.GetAttr(a.Ino); !errors.Is(err, ErrNotFound) {
			t.Errorf("the removed inode %d: %v", a.Ino, err)
		}
		p = again(t, p, i%2 == 0)
	}
}

func TestResolve(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	plant(t, p, "d/", "d/e/", "d/e/f", "l>d") // 2 to 5
	for path, want := range map[string]Ino{
		"": 1, "/": 1, ".": 1, "d": 2, "/d/e/": 3, "d//e/./f": 4, "l": 5,
		"d/e/x": 0, "d/../d": 0, "l/e": 0, "d/e/f/x": 0, strings.Repeat("x", 300): 0,
	} {
		a, err := p.Resolve(path)
		if a.Ino != want || (err == nil) != (want != 0) {
			t.Errorf("%q is %d, %v, want %d", path, a.Ino, err, want)
		}
	}
	if _, err := p.Lookup(RootIno, strings.Repeat("x", 300)); !errors.Is(err, ErrNameTooLong) {
		t.Errorf("lookup of a long name: %v", err)
	}
	if up, err := p.Parent(RootIno); up != RootIno || err != nil {
		t.Errorf("parent of the root: %d, %v", up, err)
	}
	if _, err := p.Parent(99); !errors.Is(err, ErrNotFound) {
		t.Errorf("parent of nothing: %v", err)
	}
	if got := p.Path(99); got != "inode 99" {
		t.Errorf("path of nothing: %q", got)
	}
}

// A directory larger than a page is listed whole, in pieces that go on after a cookie, across restarts.
func TestReadDirInPieces(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	dir, err := p.Mkdir(Req{}, RootIno, "d", 0o700)
	ok(t, err)
	want := map[string]bool{}
	for i := range 300 {
		name := fmt.Sprintf("%0*d", 1+i%90, i)
		plant(t, p, "d/"+name)
		want[name] = true
	}
	for round := range 3 {
		got, after := map[string]bool{}, uint64(0)
		for more := true; more; {
			n := 0
			more = false
			ok(t, p.ReadDir(dir.Ino, after, func(e DirEntry) bool {
				if n++; n > 7 {
					more = true
					return false
				}
				if e.Cookie <= after || e.Cookie >= 1<<62 || got[e.Name] {
					t.Fatalf("%+v after cookie %d", e, after)
				}
				got[e.Name], after = true, e.Cookie
				return true
			}))
		}
		if len(got) != len(want) {
			t.Errorf("round %d: %d names, want %d", round, len(got), len(want))
		}
		p = again(t, p, round == 0)
	}
	if err := p.ReadDir(3, 0, func(DirEntry) bool { return true }); !errors.Is(err, ErrNotDir) {
		t.Errorf("listing a file: %v", err)
	}
}
