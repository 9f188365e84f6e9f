package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// FoundCatalog is a page that may be the root of a pool's catalog, found where it lies and not by a superblock. Nothing says that
// it is of the pool whose device this is: a volume may hold the image of a pool, and a guest may have made one up.
type FoundCatalog struct {
	Block   alloc.BlockID
	Rows    uint64
	Lost    uint64    // rows below it that cannot be read
	Volumes int       // with a path
	Layer   LayerID   // the last one
	Changed time.Time // the last time of a change of an inode

	tree meta.Tree
}

// errTooMany is for a device on which more pages look like a catalog's than any pool has.
var errTooMany = errors.New("too many pages look like those of a catalog")

// maxScanned bounds the pages of catalogs that are remembered, each with some 50 bytes.
const maxScanned = 1 << 23

// FindCatalogs reads all of dev for roots of catalogs, for a pool both superblocks of which are lost: the most whole and newest
// one first. progress is told the bytes that were read. It takes as long as reading the device does. Errors: that
// there are too many such roots, ctx's; what cannot be read is passed over.
func FindCatalogs(ctx context.Context, dev blockdev.Device, progress func(done, total int64)) ([]FoundCatalog, error) {
	store := meta.NewStore(dev, dev.Size()/BlockSize, wreckCache)
	store.ReadOnly = true
	s := catalogScan{rows: &meta.Family{Store: store, Kind: 'C'}, roots: map[uint64]meta.Tree{}, named: map[uint64]bool{}}
	buf := blockdev.Aligned(maxIO)
	for off := int64(super.Bytes); off+BlockSize <= dev.Size(); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := min(int64(len(buf)), (dev.Size()-off)/BlockSize*BlockSize)
		s.read(dev, buf[:n], off)
		if len(s.roots)+len(s.named) > maxScanned {
			return nil, fmt.Errorf("%d: %w", maxScanned, errTooMany)
		}
		off += n
		progress(off, dev.Size())
	}
	var out []FoundCatalog
	for _, t := range s.roots {
		if f, ok := lookAt(dev, t); ok {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b FoundCatalog) int {
		return cmp.Or(cmp.Compare(a.Lost, b.Lost), cmp.Compare(b.Layer, a.Layer), b.Changed.Compare(a.Changed), cmp.Compare(a.Block, b.Block))
	})
	return out, nil
}

// catalogScan is one FindCatalogs: pages by their checksums, so that a twin is the same.
type catalogScan struct {
	rows  *meta.Family
	roots map[uint64]meta.Tree
	named map[uint64]bool // by others
}

// read looks at a piece of the device. Of one that cannot be read whole it looks at each block.
func (s *catalogScan) read(dev blockdev.Device, b []byte, off int64) {
	if _, err := dev.ReadAt(b, off); err != nil {
		if len(b) == BlockSize {
			return
		}
		for at := int64(0); at < int64(len(b)); at += BlockSize {
			s.read(dev, b[at:at+BlockSize:at+BlockSize], off+at)
		}
		return
	}
	for at := int64(0); at < int64(len(b)); at += BlockSize {
		page := b[at : at+BlockSize]
		t, ok := s.rows.RootAt(page, alloc.BlockID((off+at)/BlockSize))
		if !ok {
			continue
		}
		for _, c := range meta.Children(page) {
			s.named[c.Sum] = true
			delete(s.roots, c.Sum)
		}
		if sum := xxhash.Sum64(page); !s.named[sum] {
			if _, twin := s.roots[sum]; !twin {
				s.roots[sum] = t
			}
		}
	}
}

// lookAt tells what a catalog has; false: nothing to copy.
func lookAt(dev blockdev.Device, t meta.Tree) (f FoundCatalog, ok bool) {
	f = FoundCatalog{Block: t.Root.Addr, Rows: t.Entries, tree: t}
	w := OpenFound(dev, f)
	f.Lost, f.Layer = w.damaged, w.next
	for _, i := range w.inodes {
		f.Changed = latest(f.Changed, i.ctime)
	}
	for _, r := range w.Relics(false) {
		if !r.Nowhere {
			f.Volumes++
		}
	}
	return f, f.Volumes > 0
}

// OpenFound is a wreck by a catalog that was found: volumes as they were at some checkpoint.
func OpenFound(dev blockdev.Device, f FoundCatalog) *Wreck {
	w := newWreck(dev, super.Block{Geometry: super.Geometry{Blocks: dev.Size() / BlockSize}}, -1)
	w.note("both superblocks are lost: this is a catalog that lies at block %d, as of some checkpoint; what was written later is not shown, "+
		"and what is shown may since have been written over", f.Block)
	w.readCatalog(f.tree)
	return w
}
