package chain

import (
	"context"

	"slatefs/alloc"
)

// MapCell is what the blocks of one part of the device are used for, in bytes.
type MapCell struct{ Clean, Live, Claimed, Meta, Dirty, Failed int64 }

// fineGroups is up to how many groups a map looks at each block; of a larger pool a group's blocks all count in the cell of its first.
const fineGroups = 1024

// Map divides the device into so many cells and tells what each is used for; Live is all that is in use and waits for no eraser, with
// what is on its way into a job. It is a picture: what changes while it is drawn is seen before or after, the cells need not
// add up to Usage, and a job whose list cannot be read now counts as live. The plan lock is held for pieces; all in all it costs as much as
// there are groups and runs to be erased. Errors are ctx's, or what a group could not be read for.
func (p *Pool) Map(ctx context.Context, cells int) ([]MapCell, error) {
	p.mu.Lock()
	total, groups := p.blocks.alloc.Total(), p.blocks.alloc.Groups()
	p.mu.Unlock()
	out := make([]MapCell, cells)
	m := mapper{out, (total + int64(cells) - 1) / int64(cells)}
	for g := 0; g < groups; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if groups > fineGroups {
			g = m.groups(p.blocks, g, groups)
			continue
		}
		if err := p.blocks.groupInPieces(g, func(r alloc.Run, st alloc.State) { m.add(r, fieldOf(st)) }); err != nil {
			return nil, err
		}
		g++
	}
	p.jobs.eachDirty(ctx, func(r alloc.Run, failed bool) {
		m.add(r, func(c *MapCell, n int64) {
			n = min(n, c.Live)
			c.Live -= n
			if failed {
				c.Failed += n
			} else {
				c.Dirty += n
			}
		})
	})
	return out, ctx.Err()
}

// mapper draws a map.
type mapper struct {
	cells []MapCell
	each  int64 // blocks of a cell
}

// add divides a run among the cells that it lies in.
func (m mapper) add(r alloc.Run, to func(*MapCell, int64)) {
	for r.Len > 0 {
		i := int64(r.Start) / m.each
		n := min(r.Len, (i+1)*m.each-int64(r.Start))
		if i >= int64(len(m.cells)) { // the pool has grown meanwhile
			return
		}
		to(&m.cells[i], n*BlockSize)
		r.Start, r.Len = r.Start+alloc.BlockID(n), r.Len-n
	}
}

// groups adds some groups by their counts, and returns the next.
func (m mapper) groups(bs *blockSpace, g, end int) int {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	end = min(end, g+pieceLen, bs.alloc.Groups())
	if g >= end {
		return g + pieceLen // the pool became smaller
	}
	for ; g < end; g++ {
		bs.mu.step(1)
		n := bs.alloc.GroupCounts(g)
		at := alloc.BlockID(g) * alloc.BlockID(bs.format.GroupBlocks)
		m.add(alloc.Run{Start: at, Len: 1}, func(c *MapCell, _ int64) {
			c.Clean, c.Live = c.Clean+n.Clean*BlockSize, c.Live+n.InUse*BlockSize
			c.Claimed, c.Meta = c.Claimed+n.Claimed*BlockSize, c.Meta+n.Meta*BlockSize
		})
	}
	return g
}

// fieldOf adds to a cell what is in a state.
func fieldOf(st alloc.State) func(*MapCell, int64) {
	return func(c *MapCell, n int64) {
		switch st {
		case alloc.Clean:
			c.Clean += n
		case alloc.InUse:
			c.Live += n
		case alloc.Claimed:
			c.Claimed += n
		case alloc.Meta:
			c.Meta += n
		}
	}
}
