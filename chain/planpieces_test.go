package chain

import (
	"bytes"
	"testing"
)

// inPieces makes a volume of n blocks of which each is a piece of its map by itself, and shared with a snapshot.
func inPieces(t testing.TB, p *Pool, name string, n int) *Volume {
	t.Helper()
	v := mustVolume(t, p, name, int64(n)*BlockSize)
	for odd := range 2 {
		for i := odd; i < n; i += 2 {
			write(t, v, fill(byte('a'+i%26), BlockSize), int64(i)*BlockSize)
		}
	}
	mustSnapshot(t, v, "s")
	return v
}

// A write over many pieces is made of several plans, each of which ends at a block, and shows what one would.
func TestWriteInPlans(t *testing.T) {
	const n = 256
	p := openPool(t, newDisk(t, 64<<20))
	v := inPieces(t, p, "v", n)
	want := make([]byte, n*BlockSize)
	_, err := v.ReadAt(want, 0)
	ok(t, err)
	for i := range n {
		if b := want[i*BlockSize]; b != byte('a'+i%26) {
			t.Fatalf("block %d: %q", i, b)
		}
	}
	for _, w := range []struct{ off, n int }{{100, n*BlockSize - 200}, {0, n * BlockSize}, {BlockSize + 1, n*BlockSize - 2*BlockSize}} {
		b := fill(byte('A'+w.off%26), w.n)
		copy(want[w.off:], b)
		write(t, v, b, int64(w.off))
		got := make([]byte, len(want))
		_, err := v.ReadAt(got, 0)
		ok(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("a write of %d bytes at %d", w.n, w.off)
		}
	}
	var pl Plan
	v = inPieces(t, p, "x", n)
	ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, 7, n*BlockSize-7) }))
	if c := pl.Covers(); c >= n*BlockSize-7 || (c+7)%BlockSize != 0 || pl.Off+pl.Len != c+7 {
		t.Errorf("a plan of %d+%d covers %d bytes", pl.Off, pl.Len, c)
	}
	used := freeNow(p)
	ok(t, pl.Commit(0))
	if now := freeNow(p); now < used {
		t.Errorf("an aborted plan holds %d bytes still", used-now)
	}
	mustCheck(t, p)
}

// The records of a write that goes past the size take the size along: whichever of them a crash leaves, no block is mapped
// behind it.
func TestMapsTakeTheSize(t *testing.T) {
	const n = 128
	p := openPool(t, newDisk(t, 64<<20))
	v := mustVolume(t, p, "v", BlockSize)
	w := mustVolume(t, p, "w", 2*n*BlockSize)
	for i := range n { // the window has single blocks left
		write(t, w, fill('w', BlockSize), int64(2*i)*BlockSize)
		write(t, v, fill('v', BlockSize), 0)
		mustSnapshot(t, v, string(rune('0'+i%10))+string(rune('a'+i/10)))
	}
	ok(t, p.Flush())
	write(t, v, fill('x', n*BlockSize), 100)
	p.mu.Lock()
	defer p.mu.Unlock()
	size, maps := int64(BlockSize), 0
	ok(t, decodeRecords(p.commits.pending, func(r record) error {
		switch r := r.(type) {
		case *recMap:
			maps++
			if size = max(size, r.size); blocksOf(size) < r.lb+r.n {
				t.Errorf("blocks %d+%d are mapped behind the size of %d", r.lb, r.n, size)
			}
		case *recResize:
			size = r.size
		}
		return nil
	}))
	if want := int64(n*BlockSize + 100); size != want || maps < 2 {
		t.Errorf("%d maps, size %d, want %d", maps, size, want)
	}
}

func freeNow(p *Pool) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.space.free()
}
