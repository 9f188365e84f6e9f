package chain

import (
	"slices"

	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// A merge is one record, and most of it is one step under the plan lock. What grows is done in pieces: before the record it is
// counted what those below have lost of the range that comes to them (outlook), which is followed until the record is there (loss);
// after it that is added, and what the layer had in memory, its walks and its line go to the child (mergeOn). Who could see a part of
// that waits for the structure lock, which is held all the time: so does a checkpoint. A guest's writes and discards do not wait, and
// come to the same before and after a piece.

// loss is how many blocks with births in (from, to] a layer has lost.
type loss struct {
	of       *layer
	from, to LayerID
	n        int64
	upTo     omap.Key // what comes into memory below it is followed; the rest is still to be looked at
}

// lost: a layer has lost a run, which is in what its dead list has in memory.
func (w *loss) lost(l *layer, r runs.Run) {
	if r.Birth <= w.from || r.Birth > w.to {
		return
	}
	if k, _, ok := l.lost.Fresh.Floor(runs.Key(r.Birth, r.Dev)); ok && k.Less(w.upTo) {
		w.n += r.Len
	}
}

// outlook prepares the merge that the end of a layer leads to; nil: none. The structure lock is held, no checkpoint is being built,
// and the plan lock is taken in pieces. The merge is made by a record that has it, or dropped (endMerge).
func (lt *layerTree) outlook(l *layer) (*merge, error) {
	lt.assertTrees()
	lt.mu.Lock()
	from, into := lt.mergeAfter(l)
	lt.mu.Unlock()
	if from == nil {
		return nil, nil
	}
	m := newMerge(from, into)
	m.inPieces = true
	for _, w := range m.lost {
		if err := lt.weighLoss(w); err != nil {
			return m, err
		}
	}
	split := runs.List{Trees: slices.Clone(into.lost.Trees)}
	var err error
	m.below, m.upper, err = split.SplitAt(lt.blocks.lists, from.floor()+1)
	lt.mu.Lock()
	defer lt.mu.Unlock()
	lt.touch(into)
	into.lost.Trees = split.Trees
	return m, err
}

// weighLoss counts a loss, which is followed from then on.
func (lt *layerTree) weighLoss(w *loss) error {
	first, end := omap.Key{Hi: uint64(w.from) + 1}, omap.Key{Hi: uint64(w.to) + 1}
	n, err := lt.weighTrees(w.of, first, end)
	if err != nil {
		return err
	}
	lt.mu.Lock()
	w.n, w.upTo = n, first
	w.of.losing = w
	lt.mu.Unlock()
	lt.inPieces(func() bool {
		k, e, ok := w.of.lost.Fresh.Ceil(w.upTo)
		if !ok || !k.Less(end) {
			w.upTo = end
			return false
		}
		w.n += e.Blocks()
		w.upTo = k.Next()
		return true
	})
	return nil
}

// endMerge does what is left of a merge that was made, or ends one that was not. The structure lock is held.
func (lt *layerTree) endMerge(m *merge) {
	if m != nil {
		lt.inPiecesOf(pieceLen/6, func() bool { return lt.mergeOn(m) })
	}
}

// mergeOn takes one step of what is left of a merge, and tells whether there are more.
func (lt *layerTree) mergeOn(m *merge) (more bool) {
	switch c := m.into; {
	case len(m.lost) > 0:
		w := m.lost[0]
		m.lost, w.of.losing = m.lost[1:], nil
		if m.made {
			lt.mu.step(1)
			lt.touch(w.of)
			w.of.lostHere += w.n
		}
	case m.fresh.Len() > 0:
		k, e, _ := m.fresh.Ceil(omap.Key{})
		m.fresh.Delete(k)
		lt.touch(c)
		c.lost.Put(k, e)
	case len(m.walks) > 0:
		lt.mu.step(1)
		lt.touchWalk(m.walks[0])
		m.walks[0].joinLayer(c)
		m.walks = m.walks[1:]
	case len(m.spans) > 0:
		lt.mu.step(1)
		s := m.spans[0]
		lt.lines.Delete(s.key(m.from.id))
		lt.lines.Set(s.key(c.id), c)
		if c.head {
			lt.origins.place(c.id, c.vol, s)
		}
		m.spans = m.spans[1:]
	default:
		return false
	}
	return true
}
