package chain

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// patchwork is a volume of 6 blocks and 100 bytes: owned, shared, hole, owned, shared, hole, owned. The snapshot s has
// what is shared and other content under what is owned.
func patchwork(t *testing.T, p *Pool) (v *Volume, data, snap []byte) {
	t.Helper()
	const size = 6*BlockSize + 100
	v = mustVolume(t, p, "v", size)
	data, snap = make([]byte, size), make([]byte, size)
	put := func(to []byte, c byte, block int64) {
		b := fill(c, int(min(BlockSize, size-block*BlockSize)))
		write(t, v, b, block*BlockSize)
		copy(to[block*BlockSize:], b)
	}
	for _, b := range []int64{0, 1, 4, 6} {
		put(snap, 's', b)
	}
	copy(data, snap)
	mustSnapshot(t, v, "s")
	for _, b := range []int64{0, 3, 6} {
		put(data, 'o', b)
	}
	return v, data, snap
}

// Every way to begin and end a discard: zeros inside, nothing else changes, whole blocks are freed.
func TestPunchEdges(t *testing.T) {
	base := newDisk(t, 2<<20)
	q := openPool(t, base)
	_, data, snap := patchwork(t, q)
	ok(t, q.Close())
	size := int64(len(data))
	mapped := []bool{true, true, false, true, true, false, true}
	edges := []int64{
		0, 1, 511, 512, 4095, 4096, 4097, 5000, 8192, 12287, 12288, 12800, 16384, 16385, 20479, 20480,
		24575, 24576, 24577, size - 1, size, size + 1, 28672, 40000,
	}
	for i, from := range edges {
		for j, to := range edges[i:] {
			if testing.Short() && (i+j)%5 > 0 {
				continue
			}
			p := openPool(t, base.Clone())
			v, err := p.Volume(2)
			ok(t, err)
			want, grown := bytes.Clone(data), size
			clear(want[min(from, size):min(to, size)])
			switch (i + j) % 3 {
			case 0:
				ok(t, v.Punch(from, to-from))
			case 1:
				ok(t, v.ZeroRange(from, to-from, true))
			case 2:
				ok(t, v.ZeroRange(from, to-from, false))
				if grown = max(size, to); grown > size {
					want = append(want, make([]byte, grown-size)...)
				}
			}
			what := fmt.Sprintf("[%d, %d)", from, to)
			if v.Size() != grown {
				t.Errorf("%s: size %d, want %d", what, v.Size(), grown)
			}
			left := int64(0)
			for b, m := range mapped {
				lo, hi := int64(b)*BlockSize, min(int64(b+1)*BlockSize, size)
				if m && (from > lo || to < hi) {
					left++
				}
			}
			if a, _ := p.GetAttr(2); a.Blocks != left*8 {
				t.Errorf("%s: %d blocks are left, want %d", what, a.Blocks/8, left)
			}
			expect(t, v, 0, want)
			expect(t, snapOf(t, v, "s"), 0, snap)
			if t.Failed() {
				t.Fatal(what)
			}
		}
	}
}

func TestDiscardRefused(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	v, data, _ := patchwork(t, p)
	for _, c := range []struct {
		off, n int64
		err    error
	}{{-1, 10, ErrInvalid}, {0, -1, ErrInvalid}, {MaxSize + 1, 1, ErrTooBig}, {MaxSize, 1, ErrTooBig}, {0, 0, nil}, {MaxSize - 1, 1, nil}, {1 << 40, 1 << 40, nil}} {
		wantErr(t, fmt.Sprint(c), v.Punch(c.off, c.n), c.err)
	}
	if v.ZeroRange(MaxSize-10, 20, false) == nil {
		t.Error("zeros past the largest size")
	}
	wantErr(t, "negative size", v.Truncate(-1), ErrTooBig)
	expect(t, v, 0, data)
}

// Over what was never written a discard does nothing at all: no record, no job, no page.
func TestDiscardOfNothing(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<40)
	blocksAt(t, v, 'a', 0, 1)
	ok(t, v.Punch(0, BlockSize)) // written once and freed: that is nothing too
	eraseAll(t, p)
	ok(t, p.Checkpoint())
	lsn, pages := p.commits.lsn, p.blocks.store.FreePages()
	for _, r := range [][2]int64{{0, 1 << 40}, {0, 4096}, {100, 10}, {4095, 2}, {1 << 30, 1 << 39}, {1<<40 - 1, 100}} {
		ok(t, v.Punch(r[0], r[1]))
		ok(t, v.ZeroRange(r[0], r[1], true))
	}
	if p.commits.lsn != lsn || len(p.EraseJobs()) != 0 || p.blocks.store.FreePages() != pages {
		t.Errorf("%d records, jobs %+v, %d pages", p.commits.lsn-lsn, p.EraseJobs(), pages-p.blocks.store.FreePages())
	}
}

// A large range is cut off in one record; what it showed is freed by and by, what a snapshot shows stays.
func TestLargeDiscard(t *testing.T) {
	spots := []int64{0, 8191, 8192, largeDiscard - 1, largeDiscard, 5 * largeDiscard, 1<<28 - 1} // blocks
	for _, snapshot := range []bool{false, true} {
		for _, crash := range []bool{false, true} {
			p := openPool(t, newDisk(t, 8<<20))
			v := mustVolume(t, p, "v", 1<<40)
			for _, b := range spots {
				blocksAt(t, v, 'a', b, 1)
			}
			if snapshot {
				mustSnapshot(t, v, "s")
				blocksAt(t, v, 'b', spots[2], 1)
			}
			lsn := p.commits.lsn
			ok(t, v.Punch(8191*BlockSize+100, 1<<40))
			if got := p.commits.lsn - lsn; got > 8 {
				t.Errorf("a large discard took %d records", got)
			}
			if a, _ := p.GetAttr(v.ino); a.Blocks != 2*8 {
				t.Errorf("%d blocks are shown, want 2", a.Blocks/8)
			}
			blocksAt(t, v, 'n', spots[3], 1) // over what the walk has still to sort
			p = again(t, p, crash)
			v, _ = p.Volume(v.ino)
			for round := range 2 {
				expect(t, v, 0, fill('a', BlockSize))
				expect(t, v, 8191*BlockSize, append(fill('a', 100), fill(0, BlockSize-100)...))
				for _, b := range spots[2:] {
					want := fill(0, BlockSize)
					if b == spots[3] {
						want = fill('n', BlockSize)
					}
					expect(t, v, b*BlockSize, want)
				}
				if round == 0 {
					eraseAll(t, p)
					mustCheck(t, p)
				}
			}
			left := int64(3)
			if snapshot {
				for _, b := range spots {
					expect(t, snapOf(t, v, "s"), b*BlockSize, fill('a', BlockSize))
				}
				left = 2 + int64(len(spots))
			}
			usageOf(t, p, fmt.Sprintf("snapshot=%v crash=%v", snapshot, crash), left, 0, 0, 0)
			if at := p.dev.(*devtest.Disk).Find(fill('b', 512)); at != nil {
				t.Errorf("what was cut off is still at %v", at)
			}
		}
	}
}

// What a shrink cut off is never shown again, by whichever growth; a snapshot keeps it.
func TestShrinkThenGrow(t *testing.T) {
	const size = 6*BlockSize + 100
	grows := map[string]func(v *Volume) error{
		"truncate":  func(v *Volume) error { return v.Truncate(size) },
		"write":     func(v *Volume) error { _, err := v.WriteAt([]byte{0}, size-1); return err },
		"allocate":  func(v *Volume) error { return v.Allocate(0, size, false) },
		"zeros":     func(v *Volume) error { return v.ZeroRange(size-10, 10, false) },
		"rollback":  nil,
		"zeroWrite": func(v *Volume) error { _, err := v.WriteAt(make([]byte, 2*BlockSize), size-2*BlockSize); return err },
	}
	var names []string
	for n := range grows {
		names = append(names, n)
	}
	slices.Sort(names)
	base := newDisk(t, 2<<20)
	q := openPool(t, base)
	_, data, snap := patchwork(t, q)
	ok(t, q.Close())
	for i, to := range []int64{0, 1, 511, 4095, 4096, 4097, 8192, 10000, 12288, 12289, 16384, 20000, 24576, 24577, size - 1} {
		for j, how := range names {
			p := openPool(t, base.Clone())
			v, err := p.Volume(2)
			ok(t, err)
			ok(t, v.Truncate(to))
			mapped := int64(0)
			for b := range blocksOf(to) {
				if b != 2 && b != 5 {
					mapped++
				}
			}
			if a, _ := p.GetAttr(2); a.Size != to || a.Blocks != mapped*8 {
				t.Errorf("to %d: size %d, %d blocks, want %d", to, a.Size, a.Blocks/8, mapped)
			}
			want := append(bytes.Clone(data[:to]), make([]byte, size-to)...)
			switch how { // these write zeros themselves
			case "write":
				want[size-1] = 0
			case "zeros":
				clear(want[size-10:])
			case "zeroWrite":
				clear(want[size-2*BlockSize:])
			}
			if (i+j)%2 == 0 {
				p = again(t, p, (i+j)%4 == 0)
				v, _ = p.Volume(2)
			}
			if how == "rollback" {
				ok(t, p.Rollback(Req{}, 2, "s", false))
				want = snap
			} else {
				ok(t, grows[how](v))
			}

			if v.Size() != size {
				t.Errorf("%s: size %d", how, v.Size())
			}
			expect(t, v, 0, want)
			expect(t, snapOf(t, v, "s"), 0, snap)
			if t.Failed() {
				t.Fatalf("to %d, then %s", to, how)
			}
		}
	}
}
