package chain

import (
	"strings"
	"testing"
)

func TestRename(t *testing.T) {
	mv := func(from, to string, f RenameFlag) func(*testing.T, *Pool) error {
		return func(t *testing.T, p *Pool) error {
			d1, n1 := place(t, p, from)
			d2, n2 := place(t, p, to)
			return p.Rename(Req{}, d1, n1, d2, n2, f)
		}
	}
	two := []string{"a/", "b/", "a/f", "b/g"} // 2 to 5
	runNames(t, []nameCase{
		{"in a directory", []string{"f"}, mv("f", "g", 0), nil, []string{"/=1,2,1", "/g=2"}},
		{"to another", two, mv("a/f", "b/h", 0), nil, []string{"/=1,4,2", "/a/=2,2,0", "/b/=3,2,2", "/b/g=5", "/b/h=4"}},
		{"over a file", two, mv("a/f", "b/g", 0), nil, []string{"/=1,4,2", "/a/=2,2,0", "/b/=3,2,1", "/b/g=4"}},
		{"over a file beside", []string{"f", "g"}, mv("f", "g", 0), nil, []string{"/=1,2,1", "/g=2"}},
		{"a directory", two, mv("a", "b/a", 0), nil, []string{"/=1,3,1", "/b/=3,3,2", "/b/a/=2,2,1", "/b/a/f=4", "/b/g=5"}},
		{"over an empty directory", []string{"a/", "a/f", "b/"}, mv("a", "b", 0), nil, []string{"/=1,3,1", "/b/=2,2,1", "/b/f=3"}},
		{"over a full directory", two, mv("a", "b", 0), ErrNotEmpty, nil},
		{"over its parent", two, mv("a/f", "a", 0), ErrIsDir, nil},
		{"a file over a directory", []string{"f", "d/"}, mv("f", "d", 0), ErrIsDir, nil},
		{"a directory over a file", []string{"f", "d/"}, mv("d", "f", 0), ErrNotDir, nil},
		{"a symlink over a file", []string{"f", "l>x"}, mv("l", "f", 0), nil, []string{"/=1,2,1", "/f=3>x"}},
		{"onto itself", two, mv("a/f", "a/f", 0), nil, nil},
		{"below itself", []string{"a/", "a/b/"}, mv("a", "a/b/c", 0), ErrInvalid, nil},
		{"into itself", []string{"a/"}, mv("a", "a/a", 0), ErrInvalid, nil},
		{"nothing", two, mv("a/x", "b/x", 0), ErrNotFound, nil},
		{"into a file", two, mv("a/f", "b/g/x", 0), ErrNotDir, nil},
		{"a file into itself", two, mv("a/f", "a/f/x", 0), ErrNotDir, nil},
		{"from a file", two, mv("b/g/x", "a/x", 0), ErrNotFound, nil},
		{"to .snap", two, mv("a/f", "b/.snap", 0), ErrPerm, nil},
		{"to no name", two, mv("a/f", "b/", 0), ErrInvalid, nil},
		{"to a long name", two, mv("a/f", "b/"+strings.Repeat("x", 256), 0), ErrNameTooLong, nil},
		{"no replace", two, mv("a/f", "b/g", RenameNoReplace), ErrExist, nil},
		{"no replace of itself", two, mv("a/f", "a/f", RenameNoReplace), ErrExist, nil},
		{"no replace of nothing", []string{"f"}, mv("f", "g", RenameNoReplace), nil, []string{"/=1,2,1", "/g=2"}},
		{"exchange files", two, mv("a/f", "b/g", RenameExchange), nil, []string{"/=1,4,2", "/a/=2,2,1", "/a/f=5", "/b/=3,2,1", "/b/g=4"}},
		{
			"exchange a directory and a file",
			[]string{"a/", "b/", "a/d/", "b/g", "a/d/x"},
			mv("a/d", "b/g", RenameExchange), nil,
			[]string{"/=1,4,2", "/a/=2,2,1", "/a/d=5", "/b/=3,3,1", "/b/g/=4,2,1", "/b/g/x=6"},
		},
		{"exchange in a directory", []string{"f", "d/"}, mv("f", "d", RenameExchange), nil, []string{"/=1,3,2", "/d=2", "/f/=3,2,0"}},
		{"exchange with nothing", two, mv("a/f", "b/x", RenameExchange), ErrNotFound, nil},
		{"exchange with itself", two, mv("a/f", "a/f", RenameExchange), nil, nil},
		{"exchange with its parent", []string{"a/", "a/b/"}, mv("a/b", "a", RenameExchange), ErrInvalid, nil},
		{"exchange with its child", []string{"a/", "a/b/"}, mv("a", "a/b", RenameExchange), ErrInvalid, nil},
	})
}

// What a rename replaced is freed with its content; what was moved keeps it.
func TestRenameMovesContent(t *testing.T) {
	for _, crash := range []bool{false, true} {
		p := openPool(t, newDisk(t, 4<<20))
		from, to := mustVolume(t, p, "from", 64<<10), mustVolume(t, p, "to", 64<<10)
		write(t, from, fill('f', 8192), 0)
		write(t, to, fill('t', 8192), 0)
		mustSnapshot(t, from, "s")
		mustSnapshot(t, to, "s")
		ok(t, p.Rename(Req{}, RootIno, "from", RootIno, "to", 0))
		p = again(t, p, crash)
		a, err := p.Lookup(RootIno, "to")
		ok(t, err)
		v, err := p.Volume(a.Ino)
		ok(t, err)
		expect(t, v, 0, fill('f', 8192))
		expect(t, snapOf(t, v, "s"), 0, fill('f', 8192))
		eraseAll(t, p)
		if u := p.Usage(); u.Live != 8192 {
			t.Errorf("%d bytes are live, want those of one volume", u.Live)
		}
	}
}
