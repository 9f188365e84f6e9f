package devtest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"slatefs/chain/blockdev"
)

func fill(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, d *Disk, off int64, n int, b byte) {
	t.Helper()
	got, err := d.WriteAt(fill(n, b), off)
	if err != nil || got != n {
		t.Fatalf("write %d at %d: %d, %v", n, off, got, err)
	}
}

// TestModel drives random operations, clones and crashes against two flat
// slices: the last and the durable content.
func TestModel(t *testing.T) {
	const size = 5 * chunkBytes
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := New(size, 512)
		last, durable := make([]byte, size), make([]byte, size)
		for step := range 60 {
			off := rng.Int64N(size/512) * 512
			n := min(size-off, rng.Int64N(80)*512)
			p := fill(int(n), byte(rng.IntN(3)))
			switch op := rng.IntN(10); op {
			case 0, 1, 2, 3:
				must(t, second(d.WriteAt(p, off)))
				copy(last[off:], p)
			case 4:
				must(t, second(d.WriteAtDsync(p, off)))
				copy(last[off:], p)
				copy(durable[off:], p)
			case 5, 6:
				must(t, d.Zero(off, n, blockdev.Overwrite))
				clear(last[off : off+n])
			case 7:
				must(t, d.Sync())
				copy(durable, last)
			case 8: // the clone is independent of what comes after
				c := d.Clone()
				must(t, d.Zero(0, size, blockdev.Unmap))
				must(t, second(d.WriteAt(fill(512, 9), 512)))
				d = c
			case 9:
				d = d.Crash(rng)
				got := d.Peek(0, size)
				for s := 0; s < size; s += 512 {
					if g := got[s : s+512]; !bytes.Equal(g, last[s:s+512]) && !bytes.Equal(g, durable[s:s+512]) {
						t.Fatalf("seed %d step %d: sector %d is neither the durable nor the last content", seed, step, s/512)
					}
				}
				copy(last, got)
				copy(durable, got)
				if u := d.Unsynced(); u != nil {
					t.Fatalf("seed %d: unsynced after a crash: %v", seed, u)
				}
			}
			got := make([]byte, size)
			must(t, second(d.ReadAt(got, 0)))
			if !bytes.Equal(got, last) {
				t.Fatalf("seed %d step %d: content differs", seed, step)
			}
		}
	}
}

func second(_ int, err error) error { return err }

func TestRefuses(t *testing.T) {
	d := New(1<<20, 4096)
	for want, errs := range map[error][]error{
		blockdev.ErrMisaligned: {
			second(d.WriteAt(fill(512, 1), 0)), second(d.ReadAt(fill(4096, 1), 512)),
			d.Zero(0, 100, blockdev.Overwrite), d.Grow(1<<20 + 512),
		},
		blockdev.ErrPastEnd: {
			second(d.WriteAt(fill(4096, 1), 1<<20)), second(d.ReadAt(fill(8192, 1), 1<<20-4096)),
			second(d.WriteAt(fill(4096, 1), -4096)), d.Zero(1<<62, 1<<62, blockdev.Overwrite),
		},
		blockdev.ErrMethod: {d.Zero(0, 4096, 0), d.Zero(0, 4096, 99)},
	} {
		for i, err := range errs {
			if !errors.Is(err, want) {
				t.Errorf("%v, case %d: %v", want, i, err)
			}
		}
	}
	if d.Find([]byte{1}) != nil || d.Unsynced() != nil {
		t.Error("a refused operation left something")
	}
	for name, f := range map[string]func(){
		"new":  func() { New(100, 512) },
		"flip": func() { d.Flip(1<<20, 0) },
		"peek": func() { d.Peek(1<<20, 1) },
		"find": func() { d.Find([]byte{0, 1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestFlipAndFind(t *testing.T) {
	d := New(3*chunkBytes, 512)
	mark := []byte("marker!")
	p := make([]byte, 2*chunkBytes)
	copy(p, mark)
	copy(p[chunkBytes-3:], mark) // over the border of two chunks
	copy(p[2*chunkBytes-len(mark):], mark)
	must(t, second(d.WriteAtDsync(p, 0)))
	if got, want := d.Find(mark), []int64{0, chunkBytes - 3, 2*chunkBytes - int64(len(mark))}; !slices.Equal(got, want) {
		t.Fatalf("found %v, want %v", got, want)
	}
	write(t, d, 0, 512, 0) // unsynced, so that the durable content rots as well
	write(t, d, 2*chunkBytes, 512, 8)
	d.Flip(0, 0)
	d.Flip(2*chunkBytes, 7)
	if d.Peek(0, 1)[0] != 1 || d.Peek(2*chunkBytes, 1)[0] != 8|0x80 {
		t.Fatal("no flip in the last content")
	}
	for seed := range uint64(20) {
		got := d.Clone().Crash(rand.New(rand.NewPCG(seed, 3)))
		if b := got.Peek(0, 1)[0]; b != 1 && b != 'm'^1 {
			t.Fatalf("byte 0 after a crash: %#x", b)
		}
		if b := got.Peek(2*chunkBytes, 1)[0]; b != 0x88 && b != 0x80 {
			t.Fatalf("other byte after a crash: %#x", b)
		}
	}
}

func TestSparseAndConcurrent(t *testing.T) {
	d := New(1<<50, 4096)
	var wg sync.WaitGroup
	for g := range int64(4) {
		wg.Go(func() {
			for i := range int64(50) {
				off := g<<48 + i*8192
				if _, err := d.WriteAt(fill(4096, byte(g+1)), off); err != nil {
					t.Error(err)
				}
				if err := d.Sync(); err != nil {
					t.Error(err)
				}
				_ = d.Clone()
			}
		})
	}
	wg.Wait()
	if got := d.Find(fill(4096, 4)); len(got) != 50 {
		t.Fatalf("found %d", len(got))
	}
	must(t, d.Zero(0, 1<<50, blockdev.Zeroout))
	must(t, d.Sync())
	if d.Find([]byte{1}) != nil || len(d.chunks) != 0 {
		t.Fatal("zeroing 1 PiB left something")
	}
}
