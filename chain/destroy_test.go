package chain

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// family is v with snapshots a and b; one and two are clones of v@a, three is a clone of one's head.
func family(t *testing.T) (p *Pool, vols map[string]*Volume) {
	t.Helper()
	p = openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, fill('a', 8192), 0)
	mustSnapshot(t, v, "a")
	write(t, v, fill('b', 4096), 0)
	mustSnapshot(t, v, "b")
	write(t, v, fill('v', 4096), 0)
	one, two := mustClone(t, v, "a", "one"), mustClone(t, v, "a", "two")
	write(t, one, fill('1', 4096), 0)
	three := mustClone(t, one, "", "three")
	write(t, three, fill('3', 4096), 0)
	write(t, two, fill('2', 4096), 0)
	ok(t, p.Flush())
	return p, map[string]*Volume{"v": v, "one": one, "two": two, "three": three}
}

func TestDestroy(t *testing.T) {
	all := []string{"one", "three", "two", "v"}
	clones := DestroyOptions{Clones: true}
	for _, c := range []struct {
		name  string
		vol   string
		snaps []string // none: the volume
		opt   DestroyOptions
		err   error
		text  string   // in the error
		left  []string // volumes
		now   []string // snapshots of v
	}{
		{"a snapshot", "v", []string{"b"}, DestroyOptions{}, nil, "", all, []string{"a"}},
		{"unknown", "v", []string{"x"}, DestroyOptions{}, ErrNotFound, "v@x", all, []string{"a", "b"}},
		{"all or none", "v", []string{"b", "x"}, DestroyOptions{}, ErrNotFound, "v@x", all, []string{"a", "b"}},
		{"all or none with clones", "v", []string{"a", "x"}, clones, ErrNotFound, "v@x", all, []string{"a", "b"}},
		{"named twice", "v", []string{"b", "b"}, DestroyOptions{}, nil, "", all, []string{"a"}},
		{"clones named twice", "v", []string{"a", "a"}, clones, nil, "", []string{"v"}, []string{"b"}},
		{"has clones", "v", []string{"b", "a"}, DestroyOptions{}, ErrHasClones, "v@a: has clones: one, three, two", all, []string{"a", "b"}},
		{"-d", "v", []string{"a"}, DestroyOptions{Defer: true}, nil, "", all, []string{"b"}},
		{"-R", "v", []string{"a"}, clones, nil, "", []string{"v"}, []string{"b"}},
		{"-R of both", "v", []string{"a", "b"}, clones, nil, "", []string{"v"}, nil},
		{"volume with snapshots", "v", nil, DestroyOptions{}, ErrHasSnapshots, "v: has snapshots: a, b", all, []string{"a", "b"}},
		{"-r with clones", "v", nil, DestroyOptions{Snapshots: true}, ErrHasClones, "v: has clones: one, three, two", all, []string{"a", "b"}},
		{"-rd", "v", nil, DestroyOptions{Snapshots: true, Defer: true}, nil, "", []string{"one", "three", "two"}, nil},
		{"volume -R", "v", nil, clones, nil, "", nil, nil},
		{"a clone", "two", nil, DestroyOptions{}, nil, "", []string{"one", "three", "v"}, []string{"a", "b"}},
		{"a clone's origin", "one", nil, DestroyOptions{}, ErrHasClones, "one: has clones: three", all, []string{"a", "b"}},
		{"a clone with -R", "one", nil, clones, nil, "", []string{"two", "v"}, []string{"a", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, vols := family(t)
			var err error
			if c.snaps == nil {
				err = p.DestroyVolume(Req{}, vols[c.vol].ino, c.opt)
			} else {
				err = p.DestroySnapshots(Req{}, vols[c.vol].ino, c.snaps, c.opt)
			}
			wantErr(t, c.name, err, c.err)
			if err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q does not say %q", err, c.text)
			}
			mustCheck(t, p)
			familyLeft(t, p, c.left, c.now, false)
			p, _ = reopen(t, p.dev.(*devtest.Disk), 1) // it is durable when it returns
			eraseAll(t, p)
			mustCheck(t, p)
			familyLeft(t, p, c.left, c.now, true)
		})
	}
}

// familyLeft expects volumes with their content, and on the device, if erased, nothing of the others.
func familyLeft(t *testing.T, p *Pool, vols, snaps []string, erased bool) {
	t.Helper()
	first := map[string]byte{"v": 'v', "one": '1', "two": '2', "three": '3'}
	for name, c := range first {
		a, err := p.Lookup(RootIno, name)
		if want := slices.Contains(vols, name); (err == nil) != want {
			t.Errorf("%s: %v, want it %v", name, err, want)
		}
		if err != nil {
			if at := p.dev.(*devtest.Disk).Find(fill(c, 512)); erased && at != nil {
				t.Errorf("%s is still at %v", name, at)
			}
			continue
		}
		v, err := p.Volume(a.Ino)
		ok(t, err)
		expect(t, v, 0, fill(c, 4096))
		expect(t, v, 4096, fill('a', 4096))
		if name == "v" {
			if got := snapNames(t, v); !slices.Equal(got, snaps) {
				t.Errorf("snapshots %q, want %q", got, snaps)
			}
		}
	}
}

func TestDestroyBusy(t *testing.T) {
	p, vols := family(t)
	ok(t, p.OpenFile(vols["three"].ino, false))
	var busy *BusyError
	err := p.DestroySnapshots(Req{}, vols["v"].ino, []string{"b", "a"}, DestroyOptions{Clones: true})
	if !errors.As(err, &busy) || busy.What != "three" {
		t.Errorf("-R over an open clone: %v", err)
	}
	err = p.DestroyVolume(Req{}, vols["one"].ino, DestroyOptions{Clones: true})
	if !errors.As(err, &busy) || busy.What != "three" {
		t.Errorf("-R over an open clone: %v", err)
	}
	familyLeft(t, p, []string{"one", "three", "two", "v"}, []string{"a", "b"}, false)
	p.ReleaseFile(vols["three"].ino, false)
	ok(t, p.DestroyVolume(Req{}, vols["one"].ino, DestroyOptions{Clones: true}))
	plant(t, p, "d/")
	dir, _ := p.Resolve("d")
	wantErr(t, "a directory", p.DestroyVolume(Req{}, dir.Ino, DestroyOptions{}), ErrInvalid)
	wantErr(t, "of nothing", p.DestroyVolume(Req{}, 99, DestroyOptions{}), ErrNotFound)
}

// Every order in which a family may go leaves nothing.
func TestDestroyInAnyOrder(t *testing.T) {
	steps := map[string]func(p *Pool) error{
		"v": nil, "one": nil, "two": nil, "three": nil,
		"a": func(p *Pool) error { return p.DestroySnapshots(Req{}, 2, []string{"a"}, DestroyOptions{Defer: true}) },
	}
	var orders [][]string
	var permute func(done []string)
	permute = func(done []string) {
		if len(done) == len(steps) {
			orders = append(orders, done)
		}
		for n := range steps {
			if !slices.Contains(done, n) {
				permute(append(slices.Clone(done), n))
			}
		}
	}
	permute(nil)
	for i, order := range orders {
		if testing.Short() && i%8 > 0 {
			continue
		}
		p, _ := family(t)
		for j, n := range order {
			if do := steps[n]; do == nil {
				ok(t, p.Unlink(Req{}, RootIno, n))
			} else if err := do(p); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			if (i+j)%4 == 0 {
				eraseAll(t, p)
			}
		}
		eraseAll(t, p)
		mustCheck(t, p)
		if u := p.Usage(); u.Live != 0 || u.Layers != 0 {
			t.Fatalf("%v: %+v", order, u)
		}
	}
}
