package fs

import (
	"bytes"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// deafFile is a pool file that waits in Pwrite while hold is set. It counts.
type deafFile struct {
	watchedFile
	calls, in atomic.Int64
	hold      atomic.Bool
	reached   chan struct{}
	goOn      chan struct{}
}

func (f *deafFile) Pwrite(p []byte, off int64) (int, error) {
	f.calls.Add(1)
	if f.in.Add(1) > 1 {
		panic("two threads of a loop wait for the device")
	}
	defer f.in.Add(-1)
	if f.hold.Load() {
		f.reached <- struct{}{}
		<-f.goOn
	}
	return f.File.Pwrite(p, off)
}

func newDeaf(t *testing.T) (*deafFile, *wire) {
	f, err := blockdev.Create(filepath.Join(t.TempDir(), "pool"), poolBytes, true)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	if err := tryRing(f, blockdev.NewRing); err != nil || !f.Direct() {
		t.Skipf("SKIPPED: writes that come alone are NOT tested: O_DIRECT %v, io_uring: %v", f.Direct(), err)
	}
	must(t, chain.Create(f, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	d := &deafFile{watchedFile: watchedFile{f}, reached: make(chan struct{}), goOn: make(chan struct{})}
	return d, newWire(t, openPool(t, d), blockdev.NewRing, nil)
}

// hold sends writes of data to off, one by one, until one waits in Pwrite: those that follow one that took long do not.
func (w *wire) hold(d *deafFile, off int64, data []byte) (held []byte) {
	w.t.Helper()
	d.hold.Store(true)
	for {
		held = w.transfer(codeWrite, off, len(data), 0, data)
		w.send(held)
		for fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}; ; {
			select {
			case <-d.reached:
				d.hold.Store(false)
				return held
			default:
			}
			if n, err := unix.Poll(fds, 1); n > 0 && err == nil {
				break
			}
		}
		if unique, e, _ := w.answer(); unique != headerOf(held).Unique || e != 0 {
			w.t.Fatalf("answer to %d: %v", unique, e)
		}
	}
}

// TestAloneStalls: a write that comes alone is the loop's own call. While the device holds it, others are served by the other thread:
// reads, and writes that do not go that way. So it is again and again, by either thread; and when the loop ends meanwhile.
func TestAloneStalls(t *testing.T) {
	d, w := newDeaf(t)
	if e := w.write(0, pattern(16*blockSize, 0), 0); e != 0 {
		t.Fatal(e)
	}
	for turn := range byte(5) {
		held := w.hold(d, 0, pattern(blockSize, turn))
		before := d.calls.Load()
		w.shows(blockSize, pattern(16*blockSize, 0)[blockSize:2*blockSize])
		if e := w.write(2*blockSize, pattern(blockSize, turn), 0); e != 0 {
			t.Fatal(e)
		}
		if e, _ := w.call(w.request(codeGetAttr, make([]byte, 16))); e != 0 {
			t.Fatal(e)
		}
		if n := d.calls.Load() - before; n != 0 {
			t.Errorf("%d writes went that way while one was held", n)
		}
		if turn == 4 {
			time.AfterFunc(50*time.Millisecond, func() { d.goOn <- struct{}{} }) // after the close below
			return
		}
		d.goOn <- struct{}{}
		if unique, e, _ := w.answer(); unique != headerOf(held).Unique || e != 0 {
			t.Fatalf("answer to %d: %v", unique, e)
		}
		w.shows(0, pattern(blockSize, turn))
		w.shows(2*blockSize, pattern(blockSize, turn))
	}
}

// TestAlone: writes that come one by one are the loop's own calls; those that come side by side are not, nor what is large.
func TestAlone(t *testing.T) {
	d, w := newDeaf(t)
	if e := w.write(0, pattern(256*blockSize, 0), 0); e != 0 {
		t.Fatal(e)
	}
	if n := d.calls.Load(); n != 0 {
		t.Errorf("a write of %d bytes was the loop's own, %d calls", 256*blockSize, n)
	}
	for i := range 20 {
		if e := w.write(int64(i)*blockSize, pattern(blockSize, byte(i)), 0); e != 0 {
			t.Fatal(e)
		}
	}
	if d.calls.Load() == 0 {
		t.Error("no write that came alone was the loop's own")
	}
	alone := w.hold(d, 0, pattern(blockSize, 100))
	beside := w.transfer(codeWrite, blockSize, blockSize, 0, pattern(blockSize, 101))
	w.send(beside)
	d.goOn <- struct{}{}
	for range 2 {
		if unique, e, _ := w.answer(); e != 0 || unique != headerOf(alone).Unique && unique != headerOf(beside).Unique {
			t.Fatalf("answer to %d: %v", unique, e)
		}
	}
	before := d.calls.Load()
	for range crowd {
		if e := w.write(0, pattern(blockSize, 100), 0); e != 0 {
			t.Fatal(e)
		}
	}
	if n := d.calls.Load(); n != before {
		t.Errorf("%d calls after writes that came side by side", n-before)
	}
	held := w.hold(d, 0, pattern(blockSize, 102)) // since they come one by one again
	d.goOn <- struct{}{}
	if unique, e, _ := w.answer(); unique != headerOf(held).Unique || e != 0 {
		t.Fatalf("answer to %d: %v", unique, e)
	}
	want := bytes.Join([][]byte{pattern(blockSize, 102), pattern(blockSize, 101), pattern(blockSize, 2)}, nil)
	w.shows(0, want)
}

// TestAloneListens: what may go that way, and what not. Least of all anything while the thread listens: it would be woken for a
// request, nobody else for that one, and it would not come before the device lets it.
func TestAloneListens(t *testing.T) {
	l, _ := loopOf(t, 1, blockSize)
	asLoop(func() {
		q, ok := l.openQueue().(*ringQueue)
		if !ok {
			t.Skip("SKIPPED: io_uring is refused: writes that come alone are NOT tested")
		}
		defer func() { must(t, q.close()) }()
		if !q.direct {
			t.Skip("SKIPPED: no O_DIRECT here: writes that come alone are NOT tested")
		}
		b := blockdev.Aligned(2 * small)
		for _, c := range []struct {
			op     op
			listen bool
			want   bool
		}{
			{op{opWrite, b[:small], 0}, false, true},
			{op{opWrite, b[:small+blockSize], 0}, false, false},
			{op{opWrite, b[1 : 1+blockSize], 0}, false, false},
			{op{opRead, b[:blockSize], 0}, false, false},
			{op{opDsync, b[:blockSize], 0}, false, false},
			{op{opWrite, b[:blockSize], 0}, true, false},
		} {
			if q.listen = c.listen; q.straight(&c.op) != c.want {
				t.Errorf("%v of %d bytes, listens %v: %v", c.op.kind, len(c.op.buf), c.listen, !c.want)
			}
		}
	})
}
