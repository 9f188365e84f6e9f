package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// total is the pool's size in bytes.
func (p *Pool) total() int64 { return p.Usage().Total }

// What a device gains is dirty: nobody reads it, it can be used at once, and it is gone after erase.
func TestExtendDevice(t *testing.T) {
	d := usedDisk(t, 4<<20)
	d.FillGrowth('G')
	p := openPool(t, d)
	eraseAll(t, p)
	before := p.Usage()
	ok(t, d.Grow(5<<20+512))
	ok(t, p.Extend(0))
	u := p.Usage()
	if u.Total != 5<<20 || u.Dirty != 1<<20 || u.Clean+u.Claimed != before.Clean+before.Claimed || u.Avail < before.Avail+1<<20-64<<10 {
		t.Fatalf("before %+v\nafter  %+v", before, u)
	}
	if js := p.EraseJobs(); len(js) != 1 || js[0].Reason != reasonInitial || js[0].Freed != 1<<20 {
		t.Fatalf("%+v", js)
	}
	v := mustVolume(t, p, "v", 8<<20)
	want := bytes.Repeat([]byte("abcdefgh"), int(u.Avail-128<<10)/8)
	write(t, v, want, 0) // more than there was
	for _, crash := range []bool{true, false} {
		p = again(t, p, crash)
		v, _ = p.Volume(v.ino)
		expect(t, v, 0, want)
		mustCheck(t, p)
	}
	eraseAll(t, p)
	if at := p.dev.(*devtest.Disk).Find(fill('G', 512)); len(at) > 1 || len(at) == 1 && at[0] < 5<<20 {
		t.Fatalf("what the device held is still at %v", at)
	}
}

// What a pool file gains is clean. What lay beyond the pool already may hold anything.
func TestExtendFile(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	ok(t, p.Extend(5<<20))
	if u := p.Usage(); u.Total != 5<<20 || u.Dirty != 0 || len(p.EraseJobs()) != 0 {
		t.Fatalf("%+v", u)
	}
	ok(t, d.Grow(6<<20)) // an extension that a crash cut off, and somebody who used the place
	if _, err := d.WriteAt(fill('T', 1<<20), 5<<20); err != nil {
		t.Fatal(err)
	}
	ok(t, p.Extend(7<<20))
	if u := p.Usage(); u.Total != 7<<20 || u.Dirty != 1<<20 || d.Size() != 7<<20 {
		t.Fatalf("%+v", u)
	}
	p = again(t, p, true)
	mustCheck(t, p)
	eraseAll(t, p)
	if at := p.dev.(*devtest.Disk).Find(fill('T', 512)); len(at) > 0 {
		t.Fatalf("at %v", at)
	}
	wantErr(t, "less", p.Extend(6<<20), ErrInvalid)
	ok(t, p.Extend(7<<20)) // as it is
	p.dev.(*devtest.Disk).Fail(func(o devtest.Op) error {
		if o.Kind == devtest.OpGrow {
			return errors.New("no space left on the file system")
		}
		return nil
	})
	if err := p.Extend(8 << 20); err == nil || !strings.Contains(err.Error(), "no space left on the file system") || p.total() != 7<<20 || p.Failed() != nil {
		t.Fatalf("%v, %d", err, p.total())
	}
}

// The end of a pool goes as far as it is clean and nobody is promised it.
func TestReduce(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	v := mustVolume(t, p, "v", 4<<20)
	write(t, v, fill('a', 1<<20), 0)
	ok(t, p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "3M"}))
	reduce := func(least, unit, want int64) {
		t.Helper()
		got, err := p.Reduce(least, unit)
		ok(t, err)
		if got != want && want != 0 || got != p.total() || got%unit != 0 || got < least {
			t.Fatalf("reduced to %d (%d), want %d", got, p.total(), want)
		}
		mustCheck(t, p)
		p.dev.(*devtest.Disk).Cut(got)
	}
	reduce(12<<20, 1<<20, 12<<20)
	p = again(t, p, true)
	reduce(10<<20+1, 3<<20, 12<<20) // rounded up
	reduce(10<<20+1, 1, 10<<20+BlockSize)
	for range 3 { // away and back
		size, err := p.Reduce(8<<20+64<<10, BlockSize)
		ok(t, err)
		ok(t, p.Extend(9<<20))
		if size != 8<<20+64<<10 || p.total() != 9<<20 {
			t.Fatal(size, p.total())
		}
		mustCheck(t, p)
		eraseAll(t, p) // the device was not cut: what comes back may hold anything
	}
	p = again(t, p, false)
	v, _ = p.Volume(v.ino)

	// The promise stays whole.
	reduce(0, BlockSize, 0)
	if avail, short := p.Headroom(); p.total() > 6<<20 || avail > 256<<10 || short > 0 {
		t.Fatalf("reduced to %d, %d available, promises short by %d", p.total(), avail, short)
	}
	for off := int64(0); off < 3<<20; off += 128 << 10 {
		write(t, v, fill('b', 128<<10), off)
	}
	expect(t, v, 0, fill('b', 3<<20))

	// A block near the end holds it.
	ok(t, p.Extend(12<<20))
	ok(t, p.SetProps(Req{}, v.ino, Setting{Name: propRefreservation, Value: "none"}))
	w := mustVolume(t, p, "w", 4<<20)
	write(t, w, fill('c', 4<<20), 0)
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	eraseAll(t, p)
	end, err := p.Reduce(0, BlockSize)
	ok(t, err)
	if end < 5<<20 || end > 12<<20 {
		t.Fatal(end)
	}
	p = again(t, p, true)
	w, _ = p.Volume(w.ino)
	expect(t, w, 0, fill('c', 4<<20))
	mustCheck(t, p)
}

// A write or a promise that lacks space makes the pool larger first. One that can't be had is told with its numbers.
func TestGrower(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	asked, can := 0, true
	p.SetGrower(func(_ context.Context, lack int64) error {
		if lack > 100<<20 {
			return fmt.Errorf("%d more are needed: %w", lack, ErrNoSpace)
		}
		asked++
		if !can {
			return errors.New("the volume group is full")
		}
		return p.Extend(p.total() + 1<<20)
	})
	v := mustVolume(t, p, "v", 8<<20)
	write(t, v, fill('a', 6<<20), 0)
	if asked < 2 || p.total() != 4<<20+int64(asked)<<20 {
		t.Fatalf("asked %d times, %d bytes", asked, p.total())
	}
	w := mustVolume(t, p, "w", 8<<20)
	before := asked
	ok(t, p.SetProps(Req{}, w.ino, Setting{Name: propRefreservation, Value: "6M"}))
	if asked == before {
		t.Fatal("a promise was made of what is not there")
	}
	ok(t, p.SetProps(Req{}, w.ino, Setting{Name: propQuota, Value: "7M"}))
	before = asked
	if err := p.SetProps(Req{}, w.ino, Setting{Name: propRefreservation, Value: "8M"}); !errors.Is(err, ErrQuota) || asked != before {
		t.Fatalf("a quota is no want of space: %v, asked %d times", err, asked-before)
	}
	ok(t, p.SetProps(Req{}, w.ino, Setting{Name: propQuota, Value: "none"}))
	for range 2 { // what can never be had grows nothing, and leaves the grower to others
		err := p.SetProps(Req{}, w.ino, Setting{Name: propRefreservation, Value: "1G"})
		if wantErr(t, "promise", err, ErrNoSpace); !strings.Contains(err.Error(), "more are needed") || !strings.Contains(err.Error(), "cannot set") || asked != before {
			t.Fatalf("%v, asked %d times", err, asked-before)
		}
	}
	can, before = false, asked
	for range 2 {
		err := p.SetProps(Req{}, w.ino, Setting{Name: propRefreservation, Value: "20M"})
		if wantErr(t, "promise", err, ErrNoSpace); !strings.Contains(err.Error(), "available") {
			t.Fatal(err)
		}
	}
	_, err := v.WriteAt(fill('b', 2<<20), 6<<20)
	wantErr(t, "write", err, ErrNoSpace)
	if asked != before+1 {
		t.Fatalf("asked %d times more, want once", asked-before)
	}
	can = true
	p.Growable()
	write(t, v, fill('b', 2<<20), 6<<20)
	expect(t, v, 6<<20, fill('b', 2<<20))
}
