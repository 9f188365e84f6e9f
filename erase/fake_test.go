package erase

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/atomic"

	"slatefs/chain/blockdev"
)

const mib = 1 << 20

var errFake = errors.New("injected")

// write is one successful Zero.
type write struct {
	at  time.Duration // since the fake was made, when it ended
	off int64
	n   int64
}

// fakeDev is a device of dirty blocks. Without data it only counts.
type fakeDev struct {
	mu     sync.Mutex
	t0     time.Time
	data   map[int64][]byte // by block number; nil: counts only
	cached map[int64]bool   // blocks zeroed and not synced
	writes []write
	syncs  []time.Duration

	methods []blockdev.Method // nil: Overwrite
	refuses blockdev.Method   // that it says it has
	lies    blockdev.Method   // by which it says done, and does nothing
	by      []blockdev.Method // of each Zero
	short   int64             // of what it zeroes, the bytes that it does; 0: all

	zeroTime func(n int64) time.Duration
	syncTime atomic.Duration
	zero     func(off, n int64) error // fault hooks, may be nil
	read     func(p []byte, off int64) (int, error)
	sync     func() error
}

func newDev() *fakeDev { return &fakeDev{t0: time.Now(), cached: map[int64]bool{}} }

// fill makes the blocks of x hold guest bytes.
func (d *fakeDev) fill(runs ...blockdev.Extent) {
	if d.data == nil {
		d.data = map[int64][]byte{}
	}
	for _, x := range runs {
		for b := x.Off / blockBytes; b < x.End()/blockBytes; b++ {
			d.data[b] = slices.Repeat([]byte{0xa5}, blockBytes)
		}
	}
}

func (d *fakeDev) Zero(off, n int64, m blockdev.Method) error {
	if d.zeroTime != nil {
		time.Sleep(d.zeroTime(n))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.methods != nil && !slices.Contains(d.methods, m) || d.refuses == m && m != 0 {
		return blockdev.ErrMethod
	}
	d.by = append(d.by, m)
	if d.lies == m && m != 0 {
		return nil
	}
	if d.zero != nil {
		if err := d.zero(off, n); err != nil {
			return err
		}
	}
	d.writes = append(d.writes, write{at: time.Since(d.t0), off: off, n: n})
	if d.data != nil {
		if d.short > 0 {
			n = min(n, d.short)
		}
		for b := off / blockBytes; b < (off+n)/blockBytes; b++ {
			d.data[b] = make([]byte, blockBytes)
			d.cached[b] = true
		}
	}
	return nil
}

func (d *fakeDev) Sync() error {
	time.Sleep(d.syncTime.Load())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sync != nil {
		if err := d.sync(); err != nil {
			return err
		}
	}
	clear(d.cached)
	d.syncs = append(d.syncs, time.Since(d.t0))
	return nil
}

func (d *fakeDev) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(p)
	for i := 0; i < len(p) && d.data != nil; i += blockBytes {
		copy(p[i:], d.data[(off+int64(i))/blockBytes])
	}
	if d.read != nil {
		return d.read(p, off)
	}
	return len(p), nil
}

func (d *fakeDev) Methods() []blockdev.Method {
	if d.methods == nil {
		return []blockdev.Method{blockdev.Overwrite}
	}
	return d.methods
}

func (d *fakeDev) WriteAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(p) && d.data != nil; i += blockBytes {
		d.data[(off+int64(i))/blockBytes] = slices.Clone(p[i : i+blockBytes])
	}
	return len(p), nil
}

// dirty counts the blocks of x that are not zero or not synced.
func (d *fakeDev) dirty(x blockdev.Extent) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for b := x.Off / blockBytes; b < x.End()/blockBytes; b++ {
		if d.cached[b] || (d.data[b] != nil && d.data[b][0] != 0) {
			n++
		}
	}
	return n
}

// log is a copy of the writes so far.
func (d *fakeDev) log() []write {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.writes)
}

// last is when the latest write ended.
func (d *fakeDev) last() time.Duration {
	ws := d.log()
	return ws[len(ws)-1].at
}

// total is what was zeroed, in bytes.
func (d *fakeDev) total() (n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.writes {
		n += w.n
	}
	return n
}

// bench is an Eraser on fakes, inside a bubble with its own time.
type bench struct {
	*Eraser
	dev  *fakeDev
	q    *fakeQueue
	stop func() error // ends Run, returns what it returned
	done chan struct{}
}

// bubble runs fn in a synctest bubble; Run is not started.
func bubble(t *testing.T, c Config, fn func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDev()
		q := newQueue(t, d)
		c.Clock = NewClock(time.Now)
		if c.Method == 0 {
			c.Method = blockdev.Overwrite
		}
		e, err := New(d, q, c)
		if err != nil {
			t.Fatal(err)
		}
		fn(t, &bench{Eraser: e, dev: d, q: q})
	})
}

// start runs the background.
func (b *bench) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b.done = make(chan struct{})
	var err error
	go func() {
		defer close(b.done)
		err = b.Run(ctx)
	}()
	b.stop = func() error {
		cancel()
		<-b.done
		return err
	}
	t.Cleanup(func() { cancel(); <-b.done })
}

// drained waits until everything queued was reported.
func (b *bench) drained(t *testing.T, bytes int64) {
	t.Helper()
	for range 1_000_000 {
		if z, f := b.q.sums(); z+f >= bytes {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the queue does not drain")
}

// ext is an extent in blocks.
func ext(block, blocks int64) blockdev.Extent {
	return blockdev.Extent{Off: block * blockBytes, Len: blocks * blockBytes}
}
