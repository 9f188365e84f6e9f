package chain

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

func testHost(n byte, c *clock) *Host {
	return &Host{Machine: [16]byte{n}, Since: c.now(), Name: "host" + string('0'+n)}
}

func openAs(d *devtest.Disk, h *Host, c *clock, takeOver bool) (*Pool, error) {
	return Open(d, Options{Now: c.now, Host: h, TakeOver: takeOver, CacheBytes: 1 << 20})
}

// A pool that a host holds is refused by others, by name, through a crash of that host, and until it is closed.
func TestHeldByAnotherHost(t *testing.T) {
	d, c := newDisk(t, 4<<20), newClock()
	one, two := testHost(1, c), testHost(2, c)
	p, err := openAs(d, one, c, false)
	ok(t, err)
	if id, err := Identify(d); err != nil || id.Host.Name != "host1" || !id.Host.Same(*one) {
		t.Fatalf("%+v, %v", id, err)
	}
	refused := func(d *devtest.Disk) {
		t.Helper()
		for _, h := range []*Host{two, nil} {
			_, err := openAs(d, h, c, false)
			if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), "host1 (machine 0100") {
				t.Fatalf("%v", err)
			}
		}
		r, err := Open(d, Options{Now: c.now, ReadOnly: true}) // a look is free
		ok(t, err)
		ok(t, r.Close())
	}
	refused(d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 64<<10), 0)
	ok(t, p.Flush())
	ok(t, p.Checkpoint())
	crashed := d.Clone().Crash(rand.New(rand.NewPCG(1, 2)))
	refused(crashed)
	p2, err := openAs(crashed, testHost(1, c), c, false) // the same machine, after its crash
	ok(t, err)
	mustCheck(t, p2)
	ok(t, p2.Close())
	ok(t, p.Close())
	for _, d := range []*devtest.Disk{d, crashed} {
		if id, err := Identify(d); err != nil || !id.Host.None() {
			t.Fatalf("after close: %+v, %v", id, err)
		}
		p, err := openAs(d, two, c, false)
		ok(t, err)
		v, err := p.Volume(v.ino)
		ok(t, err)
		expect(t, v, 0, fill('a', 64<<10))
		ok(t, p.Close())
	}
}

// Who lost the pool finds out before it acknowledges anything more, whatever it does first, and leaves the successor's
// superblocks alone; also when the successor has gone again.
func TestTakenOver(t *testing.T) {
	for name, act := range map[string]func(p *Pool, v *Volume) error{
		"flush":      func(p *Pool, _ *Volume) error { return p.Flush() },
		"checkpoint": func(p *Pool, _ *Volume) error { return p.Checkpoint() },
		"close":      func(p *Pool, _ *Volume) error { return p.Close() },
		"snapshot":   func(p *Pool, v *Volume) error { return p.Snapshot(Req{}, []Ino{v.ino}, "s") },
		"write, flush": func(p *Pool, v *Volume) error {
			_, err := v.WriteAt(fill('b', 4096), 0)
			return errors.Join(err, p.Flush())
		},
		"extend": func(p *Pool, _ *Volume) error { return p.Extend(5 << 20) },
		"erase": func(p *Pool, v *Volume) error {
			if err := p.Unlink(Req{}, RootIno, "v"); err != nil {
				return err
			}
			return p.Flush()
		},
	} {
		for _, gone := range []bool{false, true} {
			d, c := newDisk(t, 4<<20), newClock()
			p, err := openAs(d, testHost(1, c), c, false)
			ok(t, err)
			v := mustVolume(t, p, "v", 1<<20)
			write(t, v, fill('a', 64<<10), 0)
			ok(t, p.Flush())

			two, err := openAs(d, testHost(2, c), c, true)
			ok(t, err)
			w := mustVolume(t, two, "w", 1<<20)
			write(t, w, fill('w', 64<<10), 0)
			ok(t, two.Flush())
			if gone {
				ok(t, two.Close())
			}
			if err := act(p, v); !errors.Is(err, ErrHeld) || p.Failed() == nil || !errors.Is(p.Failed(), ErrReadOnly) {
				t.Fatalf("%s, successor gone %v: %v, failed %v", name, gone, err, p.Failed())
			}
			_ = p.Close()
			if gone {
				two, err = openAs(d, testHost(2, c), c, false)
				ok(t, err)
				w, err = two.Volume(w.ino)
				ok(t, err)
			}
			expect(t, w, 0, fill('w', 64<<10))
			v, err = two.Volume(v.ino)
			ok(t, err)
			expect(t, v, 64<<10, make([]byte, 64<<10))
			ok(t, two.Flush())
			ok(t, two.Close())
		}
	}
}

// A crash at any operation while the pool is taken, or left, leaves one that opens for who had it or takes it.
func TestHostCrash(t *testing.T) {
	c := newClock()
	base := newDisk(t, 4<<20)
	p, err := openAs(base, testHost(1, c), c, false)
	ok(t, err)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 64<<10), 0)
	ok(t, p.Flush())
	for k := 1; k < 60; k++ {
		d := base.Clone()
		d.CrashAt(k)
		if two, err := openAs(d, testHost(2, c), c, true); err == nil {
			_ = two.Close()
		}
		if !d.Crashed() {
			break
		}
		d = d.Crash(rand.New(rand.NewPCG(uint64(k), 3)))
		id, err := Identify(d)
		ok(t, err)
		again, err := openAs(d, testHost(max(1, id.Host.Machine[0]), c), c, false)
		ok(t, err)
		w, err := again.Volume(v.ino)
		ok(t, err)
		expect(t, w, 0, fill('a', 64<<10))
		mustCheck(t, again)
		ok(t, again.Close())
	}
}
