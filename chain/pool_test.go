package chain

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/property"
	"slatefs/erase"
)

// clock is a test's time: every look at it is a millisecond later. Who plans shares the plan lock, so several may look at once.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

// tiny is the geometry of most tests: small enough that groups, extents and the ring fill up and wrap.
var tiny = Format{
	Name: "tiny", UUID: [16]byte{1, 2, 3}, Zeroed: true,
	GroupBlocks: 256, ExtentBlocks: 16, RingBytes: 64 << 10, WindowBlocks: 64,
}

func newDisk(t testing.TB, size int64) *devtest.Disk {
	t.Helper()
	d := devtest.New(size, 512)
	f := tiny
	f.Now = newClock().now
	if err := Create(d, f); err != nil {
		t.Fatal(err)
	}
	return d
}

// testProperties are what pools of tests keep for others.
var testProperties = property.Join(erase.Properties, property.Table{{Name: testHostProp, On: property.OnPool, Host: true, Parse: property.Any}})

const testHostProp = "on_something"

// openPool opens the pool on d. At the end of the test it is checked and closed.
func openPool(t testing.TB, d blockdev.Device) *Pool {
	t.Helper()
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20, Properties: testProperties})
	if err != nil {
		t.Fatal(err)
	}
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	t.Cleanup(func() {
		if d, ok := d.(*devtest.Disk); ok && d.Crashed() {
			return
		}
		if p.Failed() == nil && !p.closed {
			if err := p.removal.reapWaiting(); err != nil { // what the housekeeping was left with
				t.Error(err)
			}
			mustCheck(t, p)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			mustReclaim(t, d)
		}
	})
	return p
}

// mustReclaim proves that what counts as available on a pool that nobody has open can be had.
func mustReclaim(t testing.TB, d blockdev.Device) {
	t.Helper()
	r, err := CheckReclaim(context.Background(), d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal("check of what is available: ", err)
	}
	for _, e := range append(r.Errors, r.Leaks...) {
		t.Error("check of what is available: ", e)
	}
}

func mustCheck(t testing.TB, p *Pool) {
	t.Helper()
	p.structure.Lock()
	r, err := p.checkMemory(context.Background(), true)
	p.structure.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range append(r.Errors, r.Leaks...) {
		t.Error("check of memory: ", e)
	}
	if len(r.Errors) == 0 && len(p.tree.layers) < 200 {
		keptHolds(t, p)
	}
	if r, err = p.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, e := range append(r.Errors, r.Leaks...) {
		t.Error("check: ", e)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// lend hands out of a queue that has no trouble.
func lend(t testing.TB, p *Pool, n int64) (blockdev.Token, []blockdev.Extent) {
	t.Helper()
	h, err := p.Next(n)
	ok(t, err)
	return h.Token, h.Runs
}

// jobOfToken is the job of a hand-out that is open.
func jobOfToken(p *Pool, tok blockdev.Token) uint64 { return p.jobs.handouts[tok].job.id }

// report reports runs of a hand-out, durably.
func report(p *Pool, tok blockdev.Token, zeroed, failed []blockdev.Extent) error {
	return reportHow(p, tok, zeroed, failed, How{})
}

func reportHow(p *Pool, tok blockdev.Token, zeroed, failed []blockdev.Extent, how How) error {
	if _, err := p.Report(blockdev.Done{Token: tok, Zeroed: zeroed, Failed: failed}, how); err != nil {
		return err
	}
	return p.Flush()
}

// eraseSome is the eraser of these tests: it zeroes up to n bytes.
func eraseSome(p *Pool, n int64) (done int64, err error) {
	for done < n {
		h, err := p.Next(n - done)
		if err != nil || h.Token == 0 {
			return done, errors.Join(err, p.Failed())
		}
		for _, r := range h.Runs {
			if err := p.dev.Zero(r.Off, r.Len, blockdev.Overwrite); err != nil {
				return done, err
			}
			done += r.Len
		}
		if err := p.dev.Sync(); err != nil {
			return done, err
		}
		if err := report(p, h.Token, h.Runs, nil); err != nil {
			return done, err
		}
	}
	return done, nil
}

// eraseAll is `erase wait`.
func eraseAll(t testing.TB, p *Pool) {
	t.Helper()
	if err := p.EraseDrain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := eraseSome(p, 1<<62); err != nil {
		t.Fatal(err)
	}
	if js := p.EraseJobs(); len(js) != 0 {
		t.Fatalf("jobs left: %+v", js)
	}
}

func mustVolume(t testing.TB, p *Pool, name string, size int64) *Volume {
	t.Helper()
	a, err := p.Create(Req{}, RootIno, name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Volume(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return v
}

func write(t testing.TB, v *Volume, b []byte, off int64) {
	t.Helper()
	if n, err := v.WriteAt(b, off); err != nil || n != len(b) {
		t.Fatalf("write of %d bytes at %d: %d, %v", len(b), off, n, err)
	}
}

func fill(c byte, n int) []byte { return bytes.Repeat([]byte{c}, n) }

type readerAt interface {
	ReadAt([]byte, int64) (int, error)
}

func expect(t testing.TB, r readerAt, off int64, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := r.ReadAt(got, off); err != nil || n != len(want) {
		t.Fatalf("read of %d bytes at %d: %d, %v", len(want), off, n, err)
	}
	if !bytes.Equal(got, want) {
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("read at %d: byte %d is %#x, want %#x", off, i, got[i], want[i])
			}
		}
	}
}

func TestStory(t *testing.T) {
	d := newDisk(t, 8<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "disk.raw", 1<<20)
	write(t, v, fill('a', 64<<10), 0)
	write(t, v, fill('b', 1000), 100_000)
	expect(t, v, 0, fill('a', 64<<10))
	expect(t, v, 100_000, fill('b', 1000))
	expect(t, v, 99_000, fill(0, 1000))
	if err := p.Snapshot(Req{}, []Ino{v.ino}, "one"); err != nil {
		t.Fatal(err)
	}
	write(t, v, fill('c', 4096), 4096)
	write(t, v, fill('d', 512), 100_100)
	mustCheck(t, p)
	_, id, err := p.SnapLookup(RootIno, "disk.raw@one")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Snap(id)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, s, 0, fill('a', 64<<10))
	expect(t, s, 100_000, fill('b', 1000))
	expect(t, v, 4096, fill('c', 4096))
	if err := p.Rollback(Req{}, v.ino, "one", false); err != nil {
		t.Fatal(err)
	}
	expect(t, v, 0, fill('a', 64<<10))
	expect(t, v, 100_000, fill('b', 1000))
	mustCheck(t, p)
	write(t, v, fill('e', 8192), 0)
	a, err := p.Clone(Req{}, v.ino, "one", RootIno, "clone.raw")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Volume(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c, 0, fill('a', 64<<10))
	write(t, c, fill('f', 4096), 0)
	mustCheck(t, p)
	if err := p.DestroySnapshots(Req{}, v.ino, []string{"one"}, DestroyOptions{}); err == nil {
		t.Fatal("a snapshot with a clone was destroyed")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = openPool(t, d)
	v, _ = p.Volume(v.ino)
	c, _ = p.Volume(c.ino)
	expect(t, v, 0, fill('e', 8192))
	expect(t, v, 8192, fill('a', 56<<10))
	expect(t, c, 0, fill('f', 4096))
	expect(t, c, 4096, fill('a', 60<<10))
	mustCheck(t, p)
	if err := p.Unlink(Req{}, RootIno, "clone.raw"); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, p)
	if err := p.DestroySnapshots(Req{}, v.ino, []string{"one"}, DestroyOptions{}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, p)
	eraseAll(t, p)
	mustCheck(t, p)
	if got := d.Find(fill('f', 512)); len(got) != 0 {
		t.Errorf("bytes of the destroyed clone are at %v", got)
	}
	if err := p.DestroyVolume(Req{}, v.ino, DestroyOptions{}); err != nil {
		t.Fatal(err)
	}
	eraseAll(t, p)
	for _, c := range "abcdef" {
		if got := d.Find(fill(byte(c), 512)); len(got) != 0 {
			t.Errorf("bytes %c of the destroyed volume are at %v", c, got)
		}
	}
	if u := p.Usage(); u.Live != 0 || u.Dirty != 0 {
		t.Errorf("%+v", u)
	}
}
