package chain

import (
	"fmt"
	"math"
	"testing"
)

func promised(t *testing.T, v *Volume) int64 {
	t.Helper()
	i, err := poolOf(v).VolumeInfo(v.ino)
	ok(t, err)
	return i.Promised / BlockSize
}

// What fallocate maps: the holes of the range and nothing else; the size grows unless it is to stay.
func TestAllocate(t *testing.T) {
	base := newDisk(t, 2<<20)
	q := openPool(t, base)
	_, data, snap := patchwork(t, q) // 6 blocks and 100 bytes, 5 of 7 mapped, 3 of them owned
	ok(t, q.Close())
	for i, c := range []struct {
		off, n         int64
		keep           bool
		size, mapped   int64 // afterwards
		written, holes int64 // owned; first hole in blocks
	}{
		{0, 1, false, int64(len(data)), 5, 3, 2},
		{2 * 4096, 4096, false, int64(len(data)), 6, 4, 5},
		{3*4096 - 1, 1, false, int64(len(data)), 6, 4, 5},
		{0, 7 * 4096, false, 7 * 4096, 7, 5, 7},
		{0, 7 * 4096, true, int64(len(data)), 7, 5, 7},
		{4096, 9 * 4096, false, 10 * 4096, 10, 8, 10},
		{4096, 9 * 4096, true, int64(len(data)), 10, 8, 7},
		{20 * 4096, 100, false, 20*4096 + 100, 6, 4, 2},
		{20 * 4096, 100, true, int64(len(data)), 6, 4, 2},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := openPool(t, base.Clone())
			v, err := p.Volume(2)
			ok(t, err)
			ok(t, v.Allocate(c.off, c.n, c.keep))
			for round := range 3 {
				info, err := p.VolumeInfo(2)
				ok(t, err)
				if info.Size != c.size || info.Blocks != c.mapped*8 || info.Written != c.written*BlockSize || info.Promised != 0 {
					t.Errorf("round %d: %+v", round, info)
				}
				if at, err := v.SeekHole(0); err != nil || at != min(c.holes*BlockSize, c.size) {
					t.Errorf("round %d: first hole at %d, %v", round, at, err)
				}
				expect(t, v, 0, append(data, make([]byte, c.size-int64(len(data)))...))
				expect(t, snapOf(t, v, "s"), 0, snap)
				p = again(t, p, round == 0)
				v, _ = p.Volume(2)
			}
			ok(t, v.Truncate(0)) // and all is freed again, what lies past the end too
			ok(t, p.EraseDrain(t.Context()))
			usageOf(t, p, "truncated", 4, p.Usage().Dirty/BlockSize, 0, 0)
			eraseAll(t, p)
			usageOf(t, p, "erased", 4, 0, 0, 0)
		})
	}
	p := openPool(t, base)
	v, err := p.Volume(2)
	ok(t, err)
	for _, c := range [][2]int64{{-1, 10}, {0, 0}, {0, -5}} {
		wantErr(t, fmt.Sprint(c), v.Allocate(c[0], c[1], false), ErrInvalid)
	}
	for _, c := range [][2]int64{{MaxSize, 1}, {1, MaxSize}, {math.MaxInt64, 1}} {
		wantErr(t, fmt.Sprint(c), v.Allocate(c[0], c[1], false), ErrTooBig)
	}
}

// What cannot be mapped at once is promised; what the pool does not have is refused whole.
func TestAllocatePromises(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v, w := mustVolume(t, p, "v", 0), mustVolume(t, p, "w", 0)
	blocksAt(t, w, 'w', 0, 500)
	ok(t, w.Truncate(0)) // dirty: it can be made clean, but not at once
	ok(t, p.EraseDrain(t.Context()))
	ok(t, p.Checkpoint()) // what is kept for one is an estimate from above
	avail := p.Usage().Avail
	clean := p.Usage().Clean
	want := clean + 100*BlockSize
	wantErr(t, "more than there is", v.Allocate(0, avail+BlockSize, false), ErrNoSpace)
	if v.Size() != 0 || promised(t, v) != 0 || p.Usage().Avail != avail {
		t.Errorf("a refused call left size %d, %d promised, %d available of %d", v.Size(), promised(t, v), p.Usage().Avail, avail)
	}
	ok(t, v.Allocate(0, want, false))
	if v.Size() != want || promised(t, v) == 0 {
		t.Fatalf("size %d, %d blocks promised", v.Size(), promised(t, v))
	}
	a, err := p.GetAttr(v.ino)
	ok(t, err)
	if a.Blocks*512 != want {
		t.Errorf("%d bytes are shown as allocated, want %d", a.Blocks*512, want)
	}
	for _, crash := range []bool{true, false} {
		p = again(t, p, crash)
		v, _ = p.Volume(v.ino)
		w, _ = p.Volume(w.ino)
		i, err := p.VolumeInfo(v.ino)
		ok(t, err)
		if i.Promised+i.Written != want || p.Usage().Promised != i.Promised {
			t.Errorf("crash=%v: %d promised, %d written of %d; the pool promises %d", crash, i.Promised, i.Written, want, p.Usage().Promised)
		}
	}
	n := int64(0) // others take the rest, and not a block of it
	for ; ; n++ {
		if _, err := w.WriteAt(fill('w', 4096), n*4096); err != nil {
			wantErr(t, "fill the pool", err, ErrNoSpace)
			break
		}
	}
	for b := range want / BlockSize {
		blocksAt(t, v, 'v', b, 1)
	}
	expect(t, v, 0, fill('v', int(want)))
	mustCheck(t, p)
	wantErr(t, "a snapshot that would need it again", p.Snapshot(Req{}, []Ino{v.ino}, "s"), ErrNoSpace)
	ok(t, p.Snapshot(Req{}, []Ino{w.ino}, "s"))
	ok(t, v.Punch(0, want)) // promised again
	if got := promised(t, v); got*BlockSize != want {
		t.Errorf("after a punch %d blocks are promised", got)
	}
	ok(t, v.Truncate(0))
	ok(t, v.Truncate(want))
	if got := promised(t, v); got != 0 {
		t.Errorf("after a truncation to 0 %d blocks are promised", got)
	}
	p = again(t, p, true)
	if got := p.Usage().Promised; got != 0 {
		t.Errorf("after a crash %d bytes are promised", got)
	}
}

// A snapshot of a promised volume is admitted while there is room to write all of it once more.
func TestSnapshotOfPromised(t *testing.T) {
	for _, c := range []struct {
		blocks int64
		err    error
	}{{200, nil}, {600, ErrNoSpace}} {
		p := openPool(t, newDisk(t, 4<<20))
		v := mustVolume(t, p, "v", c.blocks*BlockSize)
		ok(t, v.keep(true))
		blocksAt(t, v, 'a', 0, c.blocks)
		wantErr(t, fmt.Sprint(c.blocks), p.Snapshot(Req{}, []Ino{v.ino}, "s"), c.err)
		if c.err != nil {
			continue
		}
		if got := promised(t, v); got != c.blocks {
			t.Errorf("%d blocks promised after the snapshot, want %d", got, c.blocks)
		}
		blocksAt(t, v, 'b', 0, c.blocks)
		expect(t, snapOf(t, v, "s"), 0, fill('a', int(c.blocks*BlockSize)))
	}
}

// A truncation to 0 ends a preallocation, whatever the size was.
func TestTruncateEndsPreallocation(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 0)
	ok(t, v.Allocate(0, 50*BlockSize, true))
	ok(t, v.keep(true))
	if a, _ := p.GetAttr(v.ino); a.Size != 0 || a.Blocks != 50*8 {
		t.Fatalf("%+v", a)
	}
	ok(t, v.Truncate(0))
	ok(t, v.Truncate(100*BlockSize))
	if a, _ := p.GetAttr(v.ino); a.Blocks != 0 || promised(t, v) != 0 {
		t.Errorf("%d blocks, %d promised", a.Blocks/8, promised(t, v))
	}
}
