package chain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/property"
)

// delayed opens a pool that keeps what is destroyed for an hour.
func delayed(t testing.TB, d *devtest.Disk) *Pool {
	t.Helper()
	p := openPool(t, d)
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1h"}))
	return p
}

func kept(p *Pool) (out []string) {
	for _, d := range p.Destroyed() {
		out = append(out, d.Volume+after("@", d.Snapshot))
	}
	return out
}

func wantKept(t testing.TB, p *Pool, want ...string) {
	t.Helper()
	if got := kept(p); !slices.Equal(got, want) {
		t.Errorf("kept: %v, want %v", got, want)
	}
}

func idOf(t testing.TB, p *Pool, what string) uint64 {
	t.Helper()
	for _, d := range p.Destroyed() {
		if d.Volume+after("@", d.Snapshot) == what {
			return d.ID
		}
	}
	t.Fatalf("%s is not kept: %v", what, kept(p))
	return 0
}

// What is destroyed comes back with all it had: content, snapshots, attributes, properties, promises.
func TestUndestroy(t *testing.T) {
	for _, how := range []string{"destroy", "unlink", "rename over", "unlink while open", "unlink while open, crash"} {
		t.Run(how, func(t *testing.T) {
			p := delayed(t, newDisk(t, 8<<20))
			plant(t, p, "d/", "d/vm", "other")
			v := existing(t, p, "d/vm")
			ok(t, v.Truncate(256<<10))
			write(t, v, fill('a', 64<<10), 0)
			takeSnapshot(t, p, "one", v)
			write(t, v, fill('b', 16<<10), 0)
			ok(t, p.SetXattr(Req{}, v.ino, "user.x", []byte("y"), 0))
			ok(t, p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "128K"}, Setting{Name: PropErase, Value: EraseNone}))
			ok(t, p.SetProps(Req{}, 2, Setting{Name: propQuota, Value: "1M"}))
			promised, avail := p.Usage().Promised, p.Usage().Avail
			if promised != 128<<10-16<<10 {
				t.Fatalf("promised %d", promised)
			}
			switch how {
			case "destroy":
				ok(t, p.DestroyVolume(Req{UID: 5, Actor: "me"}, v.ino, DestroyOptions{Snapshots: true}))
			case "unlink":
				ok(t, p.Unlink(Req{UID: 5, Actor: "me"}, 2, "vm"))
			case "rename over":
				ok(t, p.Rename(Req{UID: 5, Actor: "me"}, RootIno, "other", 2, "vm", 0))
				ok(t, p.Rename(Req{}, 2, "vm", RootIno, "other", 0))
			default:
				ok(t, p.OpenFile(v.ino, true))
				ok(t, p.Unlink(Req{UID: 5, Actor: "me"}, 2, "vm"))
				write(t, v, fill('c', 4<<10), 0)
				wantKept(t, p)
				if strings.HasSuffix(how, "crash") {
					p = again(t, p, true)
					eraseAll(t, p) // what was claimed
				} else {
					p.ReleaseFile(v.ino, true)
					p.Forget(v.ino)
				}
			}
			ok(t, p.Flush())
			for i := range 3 {
				wantKept(t, p, "d/vm")
				if _, err := p.Lookup(2, "vm"); err == nil {
					t.Fatal("it has its name still")
				}
				if js := p.EraseJobs(); len(js) > 0 {
					t.Fatalf("it is being erased: %+v", js)
				}
				if u := p.Usage(); u.Promised != 0 || u.Avail < avail+64<<10 {
					t.Errorf("promised %d, available %d, %d before: what is kept can be freed on demand", u.Promised, u.Avail, avail)
				}
				_, err := p.Volume(v.ino)
				wantErr(t, "what was destroyed", err, ErrNotFound)
				p = again(t, p, i == 0)
				eraseAll(t, p) // what was claimed
			}
			d := p.Destroyed()[0]
			if d.Who != "uid 5, me" || d.Until.Sub(d.When) != time.Hour || d.Size != 256<<10 || d.Frees < 80<<10 {
				t.Errorf("%+v", d)
			}
			a, err := p.Undestroy(Req{}, d.ID, 0, "")
			ok(t, err)
			if a.Ino != v.ino || a.Parent != 2 || a.Name != "vm" || a.Nlink != 1 {
				t.Errorf("%+v", a)
			}
			for i := range 3 {
				v := existing(t, p, "d/vm")
				want := fill('b', 16<<10)
				if strings.HasPrefix(how, "unlink while") {
					copy(want, fill('c', 4<<10))
				}
				expect(t, v, 0, append(want, fill('a', 48<<10)...))
				_, id, err := p.SnapLookup(2, "vm@one")
				ok(t, err)
				s, err := p.Snap(id)
				ok(t, err)
				expect(t, s, 0, fill('a', 64<<10))
				x, err := p.GetXattr(v.ino, "user.x")
				ok(t, err)
				if val, err := p.Prop(v.ino, PropErase); err != nil || val.Value != EraseNone || string(x) != "y" {
					t.Errorf("%v, %v, %s", val, err, x)
				}
				if got := p.Usage().Promised; got != promised {
					t.Errorf("promised %d, want %d", got, promised)
				}
				wantKept(t, p)
				p = again(t, p, i == 0)
			}
			_, err = p.Undestroy(Req{}, d.ID, 0, "")
			wantErr(t, "twice", err, ErrNotFound)
		})
	}
}

// A name that is taken refuses, and another one is given; so of a directory that is gone.
func TestUndestroyNames(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	plant(t, p, "d/", "d/vm", "e/")
	for range 2 { // two of one name
		v := existing(t, p, "d/vm")
		ok(t, v.Truncate(64<<10))
		takeSnapshot(t, p, "s", v)
		ok(t, p.Unlink(Req{}, 2, "vm"))
		plant(t, p, "d/vm")
	}
	ids := p.Destroyed()
	_, err := p.Undestroy(Req{}, ids[0].ID, 0, "")
	wantErr(t, "a name that is taken", err, ErrExist)
	if err == nil || !strings.Contains(err.Error(), "d/vm") {
		t.Errorf("it does not name it: %v", err)
	}
	_, err = p.Undestroy(Req{}, ids[0].ID, 0, "old")
	ok(t, err)
	ok(t, p.Unlink(Req{purge: true}, 2, "vm"))
	ok(t, p.Unlink(Req{purge: true}, 2, "old"))
	ok(t, p.Rmdir(Req{}, RootIno, "d"))
	_, err = p.Undestroy(Req{}, ids[1].ID, 0, "")
	wantErr(t, "without its directory", err, ErrNotFound)
	e, err := p.Resolve("e")
	ok(t, err)
	_, err = p.Undestroy(Req{}, ids[1].ID, e.Ino, ".snap")
	wantErr(t, "a name that none may have", err, ErrPerm)
	_, err = p.Undestroy(Req{}, ids[1].ID, e.Ino, "")
	ok(t, err)
	existing(t, p, "e/vm")
}

// Snapshots are kept one by one.
func TestUndestroySnapshot(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "vm", 256<<10)
	for i, name := range []string{"a", "b", "c"} {
		write(t, v, fill(byte('0'+i), 32<<10), 0)
		takeSnapshot(t, p, name, v)
	}
	write(t, v, fill('x', 16<<10), 0)
	live := p.Usage().Live
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"b", "c"}, DestroyOptions{}))
	wantKept(t, p, "vm@b", "vm@c")
	takeSnapshot(t, p, "b", v)
	for i := range 2 {
		house(t, p)
		p = again(t, p, i == 0)
		eraseAll(t, p)
		if now := p.Usage().Live; now != live {
			t.Errorf("%d bytes live, %d before", now, live)
		}
	}
	_, err := p.Undestroy(Req{}, idOf(t, p, "vm@b"), 0, "")
	wantErr(t, "a name that is taken", err, ErrExist)
	_, err = p.Undestroy(Req{}, idOf(t, p, "vm@b"), 0, "b2")
	ok(t, err)
	v = existing(t, p, "vm")
	snaps, err := p.Snapshots(v.ino)
	ok(t, err)
	var names []string
	for _, s := range snaps {
		names = append(names, s.Name)
		if s.Name == "b2" {
			sn, err := p.Snap(s.Layer)
			ok(t, err)
			expect(t, sn, 0, fill('1', 32<<10))
		}
	}
	if !slices.Equal(names, []string{"a", "b2", "b"}) {
		t.Errorf("snapshots %v", names)
	}
	// It comes back after its volume, and goes with it.
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
	_, err = p.Undestroy(Req{}, idOf(t, p, "vm@c"), 0, "")
	wantErr(t, "of a volume that is destroyed", err, ErrNotFound)
	_, err = p.Undestroy(Req{}, idOf(t, p, "vm"), 0, "")
	ok(t, err)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Now: true}))
	wantKept(t, p)
	eraseAll(t, p)
	if u := p.Usage(); u.Live != 0 {
		t.Errorf("%+v", u)
	}
}

// When the time is over it goes, with the record of who destroyed it.
func TestDestroyDelayEnds(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	clock := newClock()
	p.opt.Now = clock.now
	v := mustVolume(t, p, "vm", 256<<10)
	write(t, v, fill('s', 64<<10), 0)
	takeSnapshot(t, p, "a", v)
	write(t, v, fill('t', 32<<10), 0)
	ok(t, p.DestroySnapshots(Req{UID: 6}, v.ino, []string{"a"}, DestroyOptions{}))
	clock.t = clock.t.Add(30 * time.Minute)
	ok(t, p.Unlink(Req{UID: 7, Actor: "rm"}, RootIno, "vm"))
	house(t, p)
	wantKept(t, p, "vm@a", "vm")
	clock.t = clock.t.Add(40 * time.Minute)
	house(t, p)
	wantKept(t, p, "vm")
	eraseAll(t, p)
	clock.t = clock.t.Add(time.Hour)
	house(t, p)
	eraseAll(t, p)
	wantKept(t, p)
	if u := p.Usage(); u.Live != 0 {
		t.Errorf("%+v", u)
	}
	if at := p.dev.(*devtest.Disk).Find(fill('s', 512)); len(at) > 0 {
		t.Errorf("its bytes are at %v", at)
	}
	wantLog(t, p,
		"vm@a snapshot destroyed: freed 16 erased 8 kept 8 by vm who uid 6",
		"vm volume destroyed: freed 16 erased 16 kept 0 who uid 7, rm")
}

// Whoever needs the space gets it: the oldest goes first, nothing else does.
func TestDestroyDelayYields(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := delayed(t, d)
	for _, name := range []string{"first", "second", "third"} {
		v := mustVolume(t, p, name, 2<<20)
		write(t, v, fill('s', 1<<20), 0)
		ok(t, p.Unlink(Req{}, RootIno, name))
	}
	avail := p.Usage().Avail
	v := mustVolume(t, p, "new", 8<<20)
	ok(t, p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: fmt.Sprint(avail * 9 / 10)}))
	wantKept(t, p, "first", "second", "third") // a promise takes no block
	var off int64
	for ; len(kept(p)) == 3; off += 64 << 10 {
		write(t, v, fill('n', 64<<10), off)
	}
	wantKept(t, p, "second", "third")
	for ; off < avail*8/10; off += 64 << 10 {
		write(t, v, fill('n', 64<<10), off)
	}
	if p.destroyed.sacrificed < 2 {
		t.Errorf("%d went", p.destroyed.sacrificed)
	}
	// What is not there any more for a promise cannot be taken back.
	if ks := kept(p); len(ks) > 0 {
		_, err := p.Undestroy(Req{}, idOf(t, p, ks[0]), 0, "")
		wantErr(t, "without the space", err, ErrNoSpace)
		wantKept(t, p, ks...)
	}
	expect(t, v, 0, fill('n', int(off)))
	p = again(t, p, true)
	mustCheck(t, p)
}

// A clone that is kept does not hold its origin, and what it needs stays.
func TestUndestroyClone(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "vm", 256<<10)
	write(t, v, fill('a', 64<<10), 0)
	takeSnapshot(t, p, "s", v)
	_, err := p.Clone(Req{}, v.ino, "s", RootIno, "clone")
	ok(t, err)
	write(t, existing(t, p, "clone"), fill('c', 8<<10), 0)
	ok(t, p.Unlink(Req{}, RootIno, "clone"))
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true, Now: true}))
	wantKept(t, p, "clone")
	eraseAll(t, p)
	if got := p.Usage().Avail; p.destroyed.blocks != 16 || got == 0 {
		t.Errorf("%d blocks can be had", p.destroyed.blocks)
	}
	p = again(t, p, true)
	_, err = p.Undestroy(Req{}, idOf(t, p, "clone"), 0, "")
	ok(t, err)
	expect(t, existing(t, p, "clone"), 0, append(fill('c', 8<<10), fill('a', 56<<10)...))
	// -R: both are kept, and come back in any order.
	ok(t, p.DestroyVolume(Req{}, existing(t, p, "clone").ino, DestroyOptions{Clones: true}))
	v = mustVolume(t, p, "vm", 256<<10)
	write(t, v, fill('a', 64<<10), 0)
	takeSnapshot(t, p, "s", v)
	_, err = p.Clone(Req{}, v.ino, "s", RootIno, "clone")
	ok(t, err)
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Clones: true}))
	wantKept(t, p, "clone", "vm", "clone")
	for _, i := range []int{2, 1} {
		_, err = p.Undestroy(Req{}, p.Destroyed()[i].ID, 0, "")
		ok(t, err)
	}
	expect(t, existing(t, p, "clone"), 0, fill('a', 64<<10))
	if i, err := p.VolumeInfo(existing(t, p, "clone").ino); err != nil || i.Origin != "vm@s" {
		t.Errorf("%+v, %v", i, err)
	}
}

func TestParseDelay(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "none": 0, "0s": 0, "90s": 90 * time.Second, "30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 168 * time.Hour, "2w": 336 * time.Hour,
		"36500d": 36500 * 24 * time.Hour,
	} {
		if got, err := property.ParseDelay(in); got != want || err != nil {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "1", "h", "-1h", "1y", "99999999999999999999s", "36501d", "1h30m", " 1h"} {
		if d, err := property.ParseDelay(in); err == nil {
			t.Errorf("%q: %v", in, d)
		}
	}
}

// Many writers that are promised their space take it from what is kept, all at once, and none is refused.
func TestDestroyDelayYieldsToMany(t *testing.T) {
	p := delayed(t, newDisk(t, 8<<20))
	for i := range 12 {
		v := mustVolume(t, p, fmt.Sprint("old", i), 512<<10)
		write(t, v, fill('s', 384<<10), 0)
		ok(t, p.Unlink(Req{}, RootIno, fmt.Sprint("old", i)))
	}
	share := p.Usage().Avail / 5 &^ 0xffff
	var vols []*Volume
	for i := range 4 {
		v := mustVolume(t, p, fmt.Sprint("new", i), share)
		ok(t, p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "auto"}))
		vols = append(vols, v)
	}
	var one sync.Mutex // as the eraser's
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) {
		one.Lock()
		defer one.Unlock()
		return eraseSome(p, n)
	})
	before := len(kept(p))
	errs := make(chan error, len(vols))
	for _, v := range vols {
		go func() {
			for off := int64(0); off < share; off += 16 << 10 {
				if _, err := v.WriteAt(fill('n', 16<<10), off); err != nil {
					errs <- fmt.Errorf("%d bytes written: %w", off, err)
					return
				}
			}
			errs <- nil
		}()
	}
	for range vols {
		ok(t, <-errs)
	}
	if left := len(kept(p)); left == before || left == 0 && share < 1<<20 {
		t.Errorf("of %d kept things %d are left", before, left)
	}
	for _, v := range vols {
		expect(t, v, 0, fill('n', int(share)))
	}
}
