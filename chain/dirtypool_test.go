package chain

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
)

// usedDisk is a block device with another tenant's bytes all over it, and a pool on it.
func usedDisk(t *testing.T, size int64) *devtest.Disk {
	t.Helper()
	d := devtest.New(size, 512)
	for off := int64(0); off < size; off += 64 << 10 {
		if _, err := d.WriteAt(fill('T', 64<<10), off); err != nil {
			t.Fatal(err)
		}
	}
	f := tiny
	f.Zeroed, f.Now, f.ExtentBlocks = false, newClock().now, 128 // pages enough for what needs no clean block
	ok(t, Create(d, f))
	return d
}

// A block device begins all dirty. What is written first is zeroed on demand; nobody ever reads what was there.
func TestUsedDevice(t *testing.T) {
	d := usedDisk(t, 4<<20)
	p := openPool(t, d)
	js := p.EraseJobs()
	u := p.Usage()
	if len(js) != 1 || js[0].Reason != reasonInitial || js[0].Dirty != u.Dirty || u.Clean+u.Claimed != 0 || u.Dirty+u.Meta != u.Total {
		t.Fatalf("%+v, %+v", js, u)
	}
	v := mustVolume(t, p, "v", 1<<20)
	expect(t, v, 0, make([]byte, 1<<20))
	write(t, v, []byte("x"), 100_000) // merges with zeros
	want := make([]byte, 1<<20)
	want[100_000] = 'x'
	expect(t, v, 0, want)
	if got := p.EraseJobs()[0]; got.Erased == 0 || got.Freed != got.Erased+got.Dirty {
		t.Errorf("%+v", got)
	}
	ok(t, v.Allocate(0, 256<<10, true))
	expect(t, v, 0, want)
	for _, crash := range []bool{true, false} {
		p = again(t, p, crash)
		v, _ = p.Volume(v.ino)
		expect(t, v, 0, want)
		mustCheck(t, p)
	}
	d = p.dev.(*devtest.Disk)
	eraseAll(t, p)
	if at := d.Find(fill('T', 512)); len(at) > 0 {
		t.Fatalf("the other tenant's bytes are still at %d and %d other places", at[0], len(at)-1)
	}
	usageOf(t, p, "erased", 1, 0, 0, 0)
	if got := promised(t, v); got != 255 { // nothing was clean when it was preallocated
		t.Errorf("%d blocks are promised", got)
	}
}

// Without an eraser there is nothing clean: a write is refused, and says so.
func TestUsedDeviceWithoutEraser(t *testing.T) {
	p := openPool(t, usedDisk(t, 4<<20))
	p.SetZeroNow(nil)
	a, err := p.Create(Req{}, RootIno, "v", 0o600)
	if err == nil {
		var v *Volume
		if v, err = p.Volume(a.Ino); err == nil {
			_, err = v.WriteAt([]byte("x"), 0)
		}
	}
	wantErr(t, "write", err, ErrNoSpace)
	p.SetZeroNow(func(context.Context, int64) (int64, error) { return 0, errPower })
	_, err = p.Create(Req{}, RootIno, "w", 0o600)
	if err == nil {
		v, _ := p.Volume(3)
		_, err = v.WriteAt([]byte("x"), 0)
	}
	if !errors.Is(err, errPower) && !errors.Is(err, ErrNoSpace) {
		t.Errorf("write with an eraser that fails: %v", err)
	}
}

func TestCreateRefused(t *testing.T) {
	now := newClock().now
	for name, f := range map[string]Format{
		"no name":      {Now: now},
		"slash":        {Name: "a/b", Now: now},
		"at":           {Name: "a@b", Now: now},
		"blank":        {Name: "a b", Now: now},
		"dot":          {Name: ".a", Now: now},
		"option":       {Name: "-a", Now: now},
		"newline":      {Name: "a\nb", Now: now},
		"escape":       {Name: "a\x1b[2J", Now: now},
		"comma":        {Name: "a,suid", Now: now},
		"not UTF-8":    {Name: "\xff", Now: now},
		"too long":     {Name: string(bytes.Repeat([]byte("n"), super.MaxName+1)), Now: now},
		"odd group":    {Name: "a", GroupBlocks: 100, Now: now},
		"large ring":   {Name: "a", RingBytes: 16 << 20, Now: now},
		"large extent": {Name: "a", ExtentBlocks: 1 << 20, Now: now},
	} {
		d := devtest.New(4<<20, 512)
		wantErr(t, name, Create(d, f), ErrInvalid)
		if _, err := Identify(d); !errors.Is(err, ErrNotPool) {
			t.Errorf("%s: there is a pool all the same: %v", name, err)
		}
	}
	wantErr(t, "tiny device", Create(devtest.New(64<<10, 512), Format{Name: "a", Now: now}), ErrInvalid)
}

// The geometry that a device's size gives holds a working pool, whatever the size and the sector.
func TestDefaultGeometry(t *testing.T) {
	for _, size := range []int64{MinPool, MinPool + 4096*7, 300 << 20, 1 << 30, 10 << 40} {
		for _, sector := range []int{512, 4096} {
			d := devtest.New(size, sector)
			ok(t, Create(d, Format{Name: "pool", Zeroed: true, Now: newClock().now}))
			id, err := Identify(d)
			if err != nil || id.Name != "pool" || id.Bytes != size || id.UUID == [16]byte{} || id.Made.IsZero() {
				t.Fatalf("%+v, %v", id, err)
			}
			p, err := Open(d, Options{Now: newClock().now})
			ok(t, err)
			if p.Name() != "pool" || p.UUID() != id.UUID || p.Device() != d || p.format.Unit != sector {
				t.Errorf("%s %x, unit %d", p.Name(), p.UUID(), p.format.Unit)
			}
			v := mustVolume(t, p, "v", 64<<20)
			write(t, v, fill('a', 100_000), 12345)
			ok(t, p.Close())
			p, err = Open(d, Options{Now: newClock().now})
			ok(t, err)
			v, err = p.Volume(2)
			ok(t, err)
			expect(t, v, 12345, fill('a', 100_000))
			ok(t, p.Close())
			ok(t, super.Wipe(d))
			_, err = Identify(d)
			wantErr(t, "wiped", err, ErrNotPool)
		}
	}
}
