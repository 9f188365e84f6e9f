// Package runs keeps runs of blocks by their birth: the dead list of a layer, the content of an erase job, and what is taken
// out of them. A List is a short row of trees on disk and what came since in memory; Run and its functions are sets.
//
// The caller locks: a List is changed and read by one goroutine at a time. Who changes its trees (SplitAt, Gather, CutAt, Join,
// a checkpoint's build) holds the lock of structure too, so that others may read Trees and Frozen without the plan's.
package runs

import (
	"errors"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// ErrCorrupt is what this package's errors wrap that are not the trees' own: an entry that nothing here writes.
var ErrCorrupt = errors.New("corrupt")

// List holds runs of blocks and single map pages in the order (birth, device block). A block stands in one list only, once; so
// its parts never overlap. The zero List is empty.
//
// Adding is O(log n) and reads nothing.
type List struct {
	Trees  []meta.Tree      // what checkpoints have written
	Fresh  omap.Map[Entry]  // what came since
	Frozen *omap.Map[Entry] // what a checkpoint is merging into the trees; nil otherwise
	Edits  uint64           // changes of what it holds, by this process
	place  *Place           // while it is frozen
}

// Add puts a run or a page into the list, joined to the run before it where that ends there.
func (l *List) Add(birth meta.Birth, b alloc.BlockID, e Entry) {
	l.Edits++
	if !e.Page {
		if k, q, ok := l.Fresh.Floor(Key(birth, b)); ok && !q.Page && k.Hi == uint64(birth) && k.Lo+uint64(q.Len) == uint64(b) {
			l.Fresh.Set(k, Entry{Len: q.Len + e.Len})
			return
		}
	}
	l.Fresh.Set(Key(birth, b), e)
}

// Take takes a run out of what came since the last checkpoint, and returns how many blocks of it were there.
func (l *List) Take(r Run) int64 {
	took := Carve(&l.Fresh, r)
	if took > 0 {
		l.Edits++
	}
	return took
}

// Empty tells whether it has no entries, on disk or in memory.
func (l *List) Empty() bool { return len(l.Trees) == 0 && l.Fresh.Len() == 0 && l.Frozen == nil }

// CutAt takes the entries with births from b on out of the list and returns them. The trees were split by SplitAt.
func (l *List) CutAt(b meta.Birth, below, above []meta.Tree) (upper List) {
	l.whole()
	l.Edits++
	l.Trees, upper.Trees = below, above
	upper.Fresh = *l.Fresh.CutAt(omap.Key{Hi: uint64(b)})
	return upper
}

// Join moves all of o into l.
func (l *List) Join(o *List) {
	l.whole()
	o.whole()
	l.Trees = append(l.Trees, o.Trees...)
	l.Fresh.Join(&o.Fresh)
	l.Edits += 1 + o.Edits
	*o = List{}
}

// JoinTrees moves o into l but for what one of them has in memory, and returns that: it is for Put, one after the other, and is the
// smaller part.
func (l *List) JoinTrees(o *List) (fresh omap.Map[Entry]) {
	l.whole()
	o.whole()
	l.Trees = append(l.Trees, o.Trees...)
	l.Edits += 1 + o.Edits
	fresh = o.Fresh
	if l.Fresh.Len() < fresh.Len() {
		l.Fresh, fresh = fresh, l.Fresh
	}
	*o = List{}
	return fresh
}

// Put puts an entry into memory as it is.
func (l *List) Put(k omap.Key, e Entry) {
	l.Edits++
	l.Fresh.Set(k, e)
}

// Place is where a list is that is frozen: it follows when the list moves.
type Place struct{ at *List }

// List is the list, wherever it is now.
func (p *Place) List() *List { return p.at }

// Freeze sets apart what is in memory, for a checkpoint to merge into the trees: until Install or ThawSome.
func (l *List) Freeze() *Place {
	f := l.Fresh
	l.Frozen, l.Fresh, l.place = &f, omap.Map[Entry]{}, &Place{l}
	return l.place
}

// Building tells whether the list is frozen.
func (l *List) Building() bool { return l.place != nil }

// Install ends Freeze: what was frozen is in these trees, with all that was in those before.
func (l *List) Install(trees []meta.Tree) { l.Trees, l.Frozen, l.place = trees, nil, nil }

// ThawSome undoes Freeze: what was frozen came since, again. It moves n entries at most; more: it is to be called again, and
// the list is frozen until then.
func (l *List) ThawSome(n int) (more bool) {
	for ; n > 0 && l.Frozen != nil; n-- {
		if l.Fresh.Len() == 0 {
			l.Fresh, l.Frozen = *l.Frozen, nil
			break
		}
		k, e, ok := l.Frozen.Ceil(omap.Key{})
		if !ok {
			l.Frozen = nil
			break
		}
		l.Fresh.Set(k, e)
		l.Frozen.Delete(k)
	}
	if l.Frozen == nil {
		l.place = nil
	}
	return l.Frozen != nil
}

// Move makes l what o is, frozen or not, and o empty.
func (l *List) Move(o *List) {
	*l = *o
	if l.place != nil {
		l.place.at = l
	}
	*o = List{}
}

// whole: a list is not cut or joined while a checkpoint builds it.
func (l *List) whole() {
	if l.place != nil {
		panic("runs: a list is cut or joined while it is frozen")
	}
}
