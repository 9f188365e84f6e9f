package devtest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"slatefs/chain/blockdev"
)

// Crash is the disk after a power loss: what was synced, and of each sector
// written since either that or its last content. Sometimes all of these are
// lost, sometimes none; one sector of the operation that CrashAt named may be
// torn in its middle. The new disk is fresh, all of it durable, without hooks;
// this one answers ErrCrashed for ever. The outcome depends on rng alone.
func (d *Disk) Crash(rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashed = true
	c := d.cloneLocked()
	lost := [...]float64{0, 1, 0.1, 0.5, 0.5, 0.9}[rng.IntN(6)]
	torn := int64(-1)
	if n := d.torn.Len / SectorBytes; n > 0 && rng.IntN(2) == 0 {
		torn = d.torn.Off/SectorBytes + rng.Int64N(n)
	}
	for _, s := range slices.Sorted(maps.Keys(d.stale)) {
		switch {
		case s == torn:
			c.restore(s, d.stale[s], 1+rng.IntN(SectorBytes-1))
		case rng.Float64() < lost:
			c.restore(s, d.stale[s], 0)
		}
	}
	if c.grown > c.size {
		unit := int64(c.sectorSize)
		c.growTo(c.size + unit*rng.Int64N((c.grown-c.size)/unit+1))
	}
	clear(c.stale)
	c.torn, c.grown = blockdev.Extent{}, 0
	return c
}

// Durable is the disk after a power loss that took all that was not synced. The new disk is fresh, without hooks; this one goes on.
func (d *Disk) Durable() *Disk {
	c := d.Clone()
	for s, was := range c.stale {
		c.restore(s, was, 0)
	}
	clear(c.stale)
	c.torn, c.grown = blockdev.Extent{}, 0
	return c
}

// restore puts the durable content was back into sector s, from byte `from` of
// it on. The caller holds mu or is alone.
func (d *Disk) restore(s int64, was sector, from int) {
	k := d.own(s / chunkSectors)
	b := k.data[s%chunkSectors*SectorBytes:][:SectorBytes]
	if was == nil {
		clear(b[from:])
		return
	}
	copy(b[from:], was[from:])
}

// Unsynced is the sectors of SectorBytes written since the last sync, as
// extents in order.
func (d *Disk) Unsynced() []blockdev.Extent {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []blockdev.Extent
	for _, s := range slices.Sorted(maps.Keys(d.stale)) {
		if n := len(out); n > 0 && out[n-1].End() == s*SectorBytes {
			out[n-1].Len += SectorBytes
			continue
		}
		out = append(out, blockdev.Extent{Off: s * SectorBytes, Len: SectorBytes})
	}
	return out
}

// Flip turns one bit (0 to 7) of the byte at off, on the medium: a later Sync or
// Crash does not bring it back. It panics past the end.
func (d *Disk) Flip(off int64, bit uint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || off >= d.size || bit > 7 {
		panic(fmt.Sprintf("devtest: flip: bit %d of byte %#x: outside of the disk", bit, off))
	}
	mask := byte(1) << bit
	d.own(off / chunkBytes).data[off%chunkBytes] ^= mask
	was, ok := d.stale[off/SectorBytes]
	if !ok {
		return
	}
	flipped := new([SectorBytes]byte) // a clone may share the old one
	if was != nil {
		*flipped = *was
	}
	flipped[off%SectorBytes] ^= mask
	d.stale[off/SectorBytes] = flipped
}

// Peek is the last content of n bytes at off, at any alignment, crashed or not;
// it is not an operation. It panics past the end.
func (d *Disk) Peek(off, n int64) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := blockdev.CheckRange(off, n, d.size, 1); err != nil {
		panic(fmt.Sprintf("devtest: peek: %d bytes at %#x: %v", n, off, err))
	}
	p := make([]byte, n)
	d.copyOut(p, off)
	return p
}

// Find is the offset of every occurrence of marker in the last content, in
// order. What only a crash could bring back is not looked at. It panics when
// marker does not begin with a byte other than zero.
func (d *Disk) Find(marker []byte) []int64 {
	if len(marker) == 0 || marker[0] == 0 {
		panic("devtest: find: the marker does not begin with a byte other than zero")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []int64
	for _, c := range slices.Sorted(maps.Keys(d.chunks)) {
		base := c * chunkBytes
		p := make([]byte, min(int64(chunkBytes+len(marker)-1), d.size-base))
		d.copyOut(p, base)
		for at := 0; ; at++ {
			i := bytes.Index(p[at:], marker)
			if i < 0 || at+i >= chunkBytes {
				break
			}
			at += i
			out = append(out, base+int64(at))
		}
	}
	return out
}
