package chain

import (
	"bytes"
	"testing"
)

// A command does not cut what is open for writing, unless forced; truncate(2) may, and growing harms nobody.
func TestResizeOfWhatIsOpen(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, fill('x', 64<<10), 0)
	ok(t, v.Allocate(0, 64<<10, false))
	ok(t, p.OpenFile(v.ino, false))
	ok(t, v.Resize(60<<10, false)) // who only reads is no hindrance
	ok(t, p.OpenFile(v.ino, true))
	for _, size := range []int64{32 << 10, 0} {
		wantErr(t, "cut", v.Resize(size, false), ErrBusy)
		wantErr(t, "forecast", p.ForecastResize(v.ino, size, false).Err, ErrBusy)
		ok(t, p.ForecastResize(v.ino, size, true).Err)
	}
	expect(t, v, 0, fill('x', 60<<10))
	ok(t, v.Resize(64<<10, false))
	ok(t, v.Truncate(48<<10))
	ok(t, v.Resize(32<<10, true))
	expect(t, v, 0, fill('x', 32<<10))
	first := planWrite(t, v, 16<<10, 4<<10)
	p.ReleaseFile(v.ino, true)
	done := make(chan error, 1)
	go func() { done <- v.Resize(8<<10, false) }()
	awaitWaiters(v, 1) // it was admitted, and waits for the write
	ok(t, p.OpenFile(v.ino, true))
	first.Abort()
	wantErr(t, "opened meanwhile", <-done, ErrBusy)
	p.ReleaseFile(v.ino, true)
	ok(t, v.Resize(8<<10, false))
	p.ReleaseFile(v.ino, false)
}

// A shrink frees what fallocate had mapped past the end, and the record of it is one that replay takes.
func TestShrinkFreesWhatIsMappedPastTheEnd(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, bytes.Repeat([]byte{1}, 64<<10), 0)
	if err := v.Allocate(64<<10, 256<<10, true); err != nil {
		t.Fatal(err)
	}
	if err := v.Truncate(32 << 10); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	q := openPool(t, d.Clone())
	i, err := q.VolumeInfo(v.ino)
	if err != nil || i.Size != 32<<10 || i.Refer != 32<<10 {
		t.Errorf("%+v, %v", i, err)
	}
}
