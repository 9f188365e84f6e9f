package chain

import (
	"slices"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
)

// Where the free map of the store is lost and the groups as well, only the pages in use are known to be the store's, and it has no
// free one. Who applies the journal may need some: a merge cuts lists. So the store is granted runs that nothing names, neither at the
// checkpoint nor in the journal. They are zeroed before, as every block that is not known to be clean.

// minExtent is the least that is granted, in blocks.
const minExtent = 16

// refill grants the store one more run while the journal is applied. errNoPages: there is none.
func (m *mending) refill() error {
	n := len(m.spare) - 1
	if n < 0 {
		return errNoPages
	}
	r := m.spare[n]
	piece := alloc.Run{Start: r.Start, Len: min(r.Len, structurePages)}
	if r = (alloc.Run{Start: piece.End(), Len: r.Len - piece.Len}); r.Len >= minExtent {
		m.spare[n] = r
	} else {
		m.spare = slices.Delete(m.spare, n, n+1)
	}
	return m.grant(piece, alloc.Clean)
}

// grant zeroes a run that nothing names, and gives it to the store. was is what its blocks were taken for.
func (m *mending) grant(r alloc.Run, was alloc.State) error {
	dev, bs := m.p.dev, m.p.blocks
	if err := dev.Zero(int64(r.Start)*BlockSize, r.Len*BlockSize, blockdev.Overwrite); err != nil {
		return err
	}
	if err := dev.Sync(); err != nil {
		return err
	}
	if err := bs.alloc.Set(r, was, alloc.Meta); err != nil {
		return err
	}
	return bs.store.AddExtent(r)
}
