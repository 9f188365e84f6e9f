package chain

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
	"slatefs/chain/super"
)

// Relic is a volume or a snapshot of a wreck.
type Relic struct {
	Volume  Ino
	Layer   LayerID
	Path    []string // names of directories from the root, and that of the volume; bytes that anybody may have chosen
	Nowhere bool     // the path is not whole: a row on the way is lost, or says what cannot be
	Snap    string   // empty: the volume itself
	Size    int64    // bytes
	Blocks  int64    // that are mapped, at most, as far as that is known

	of *layer
}

// Relics are the volumes of a wreck, by their numbers, with snapshots or without. What has no name any more, though it is still
// there (it was open when it was unlinked, or is destroyed and kept), is not among them.
func (w *Wreck) Relics(snaps bool) (out []Relic) {
	for _, id := range slices.Sorted(maps.Keys(w.layers)) {
		l := w.layers[id]
		if !l.head && (!snaps || !l.named || l.swept) || l.vol == 0 || l.head && w.heads[l.vol] != l {
			continue
		}
		i := w.inodes[l.vol]
		if i != nil && (i.parent == 0 || i.typ != TypeFile) {
			continue
		}
		r := Relic{Volume: l.vol, Layer: l.id, Size: l.size, of: l}
		if !l.head {
			r.Snap = l.name
		}
		r.Path, r.Nowhere = w.path(l.vol)
		r.Blocks = w.mapped(l)
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Relic) int { return cmp.Compare(a.Volume, b.Volume) })
	return out
}

// maxPath bounds the directories on a way: no kernel takes more.
const maxPath = 2048

func (w *Wreck) path(ino Ino) (path []string, nowhere bool) {
	for at := ino; at != RootIno; {
		i := w.inodes[at]
		if i == nil || i.name == "" || len(path) == maxPath {
			path = append(path[:min(len(path), 16)], fmt.Sprintf("inode %d", at))
			nowhere = true
			break
		}
		path = append(path, i.name)
		at = i.parent
	}
	slices.Reverse(path)
	return path, nowhere
}

// mapped is about how many blocks a layer shows, for who shows how far he is.
func (w *Wreck) mapped(l *layer) (n int64) {
	_ = l.top.Pieces(0, blocksOf(l.size), func(_ int64, p overlay.Piece) error { //nolint:errcheck // neither function has one
		n += p.Len
		return nil
	}, func(m meta.Map, lo, hi int64) error {
		n += min(int64(m.Count()), hi-lo)
		return nil
	})
	return min(n, w.Super.Geometry.Blocks)
}

// errTooMuch: a map that shows a block twice could be copied for ever.
var errTooMuch = errors.New("its map shows more blocks than the pool has")

// Content calls piece for what a relic has in order, bytes at their place on the device, and lost for what cannot be told; where
// neither is called it reads as zeros. What lies beyond its size is left out. An error of either ends it.
func (w *Wreck) Content(r *Relic, piece func(off, n, dev int64) error, lost func(off, n int64, err error) error) error {
	left := w.Super.Geometry.Blocks
	span := func(lo, hi int64) (off, n int64) {
		off = lo * BlockSize
		return off, min(hi*BlockSize, r.Size) - off
	}
	tell := func(lb int64, p overlay.Piece) error {
		off, n := span(lb, lb+p.Len)
		if err := w.place(p); err != nil {
			return lost(off, n, err)
		}
		if left -= p.Len; left < 0 {
			return errors.Join(lost(off, r.Size-off, errTooMuch), errTooMuch)
		}
		return piece(off, n, int64(p.Dev)*BlockSize)
	}
	err := r.of.top.Pieces(0, blocksOf(r.Size), tell, func(m meta.Map, lo, hi int64) error {
		return w.maps.Survey(m, lo, hi, func(p meta.Piece) error {
			return tell(p.Start, overlay.Piece{Len: p.Len, Dev: p.Dev, Birth: p.Birth})
		}, func(lo, hi int64, _ uint64, err error) error {
			off, n := span(lo, hi)
			return lost(off, n, err)
		})
	})
	if errors.Is(err, errTooMuch) {
		return nil // it was told
	}
	return err
}

// place refuses what cannot lie where guest blocks do.
func (w *Wreck) place(p overlay.Piece) error {
	first := alloc.BlockID(super.Slots + w.Super.Geometry.Ring/BlockSize)
	if total := w.Super.Geometry.Blocks; p.Dev < first || p.Len <= 0 || p.Len > total || p.Dev > alloc.BlockID(total-p.Len) {
		return fmt.Errorf("blocks %d+%d are no place for data: %w", p.Dev, p.Len, ErrCorrupt)
	}
	return nil
}
