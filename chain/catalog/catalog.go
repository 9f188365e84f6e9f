// Package catalog is one ordered table of rows by (kind, number, part): inodes, names, layers, jobs. It knows keys and
// bytes; what is in a row is its owner's to know. What changed since the last checkpoint is in memory over a tree; an empty
// value there is a deleted row.
//
//	Key.Hi  kind << 56 | number
//	Key.Lo  name hash of a directory entry or attribute, part of a row that is longer than meta.MaxValue
//
// A checkpoint freezes what is in memory, merges it with the rows that it made itself into a new tree, and installs that, or
// thaws: Freeze, Merge, then Install or ThawSome. Lookups see what is frozen all the while.
//
// The caller locks: a Table is changed and read by one goroutine at a time, but that Merge runs beside all of them.
package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Kind says what a row is of. The numbers are on disk.
type Kind uint8

// The kinds, and what their numbers are.
const (
	Inode     Kind = iota + 1 // inode
	Name                      // directory; by hash
	Link                      // inode: where a symlink points; in parts
	Xattr                     // inode; by hash, in parts
	Layer                     // layer; in parts
	Job                       // erase job; in parts
	Walk                      // walk; in parts
	Property                  // inode; by hash
	Orphan                    // inode that has no name any more
	Drop                      // 0: trees whose pages are to be freed; in parts
	Window                    // 0: blocks that are claimed; in parts
	Answer                    // 0: requests that were carried out; in parts
	Log                       // job: its record in the erase log, from before it was a chain; in parts. 0: how many there are, of Daily too
	Daily                     // volume; by day: what it overwrote and discarded, while the day is not over
	Destroyed                 // job number: what was destroyed and is kept
	Chain                     // record of the erase log, by its number there; in parts. 0: the state of the chain
	Signed                    // signature of a head of that chain, by its number
)

// The kinds of accounts by origin.
const (
	Account   Kind = iota + 18 // layer: what was written in it, and what became of that
	OfVolume                   // volume; by layer: its accounts. 0: what is known of the volume itself; volume 0: where accounts begin
	Closing                    // layer: its account has nothing left, and is to be closed
	Elsewhere                  // volume; by layer: whose births may have bytes of it, too
	Place                      // directory in which something ended: the one that was above it when it was removed
	Event                      // event, by its number. 0: the first and the last number
)

const (
	// PartSize bounds a row's value; longer ones continue in the next part.
	PartSize = 1000

	numberBits = 56
)

// Key is the key of the first row of an object.
func Key(kind Kind, number uint64) meta.Key {
	return meta.Key{Hi: uint64(kind)<<numberBits | number&(1<<numberBits-1)}
}

// KindOf is the kind of a row.
func KindOf(k meta.Key) Kind { return Kind(k.Hi >> numberBits) }

// NumberOf is the number of a row's object.
func NumberOf(k meta.Key) uint64 { return k.Hi & (1<<numberBits - 1) }

// Table is the rows. Its fields are read by who checks it; they are changed by its methods.
type Table struct {
	Family *meta.Family // of the tree
	Look   *meta.Family // the same, for look-ups; nil: Family
	Tree   meta.Tree    // as of the last checkpoint

	fresh  omap.Map[[]byte]  // since then; nil: deleted
	frozen *omap.Map[[]byte] // what a checkpoint is merging into the tree; nil otherwise
	bytes  int64             // of the values in fresh
}

// Get finds a row. The bytes belong to the table and are not changed.
func (t *Table) Get(k meta.Key) ([]byte, bool, error) {
	if v, ok := t.fresh.Get(omap.Key(k)); ok {
		return v, v != nil, nil
	}
	if t.frozen != nil {
		if v, ok := t.frozen.Get(omap.Key(k)); ok {
			return v, v != nil, nil
		}
	}
	return t.look().Get(t.Tree, k)
}

func (t *Table) look() *meta.Family {
	if t.Look != nil {
		return t.Look
	}
	return t.Family
}

// Put stores a row, whose bytes the table keeps; nil deletes it. It reads nothing.
func (t *Table) Put(k meta.Key, v []byte) {
	old, _ := t.fresh.Get(omap.Key(k))
	t.bytes += int64(len(v) - len(old))
	t.fresh.Set(omap.Key(k), v)
}

// Changed is how many rows have changed since the last Freeze.
func (t *Table) Changed() int { return t.fresh.Len() }

// Bytes is what the values take that changed since the last Freeze.
func (t *Table) Bytes() int64 { return t.bytes }

// Pages bounds the pages that the rows which changed, and so many others, will need, with twins: each may lie in a leaf of
// its own, and a leaf of the tree holds two rows at least; new rows may fill leaves by half.
func (t *Table) Pages(others int64) int64 {
	n := int64(t.fresh.Len()) + others
	if n == 0 {
		return 0
	}
	leaves := min(n, int64(t.Tree.Entries)/2+1) + t.bytes/(alloc.BlockSize/2)
	return 2 * (leaves + leaves/8 + int64(t.Tree.Height) + 1)
}

// Freeze sets apart what has changed, for Merge.
func (t *Table) Freeze() {
	z := t.fresh
	t.frozen, t.fresh, t.bytes = &z, omap.Map[[]byte]{}, 0
}

// Merge makes a tree of what is frozen and the rows that changed in another table, beside the old one. No row is in both.
func (t *Table) Merge(rows *Table) (meta.Tree, error) {
	var es []meta.Edit
	add := func(k omap.Key, v []byte) bool {
		es = append(es, meta.Edit{Key: meta.Key(k), Val: v, Delete: v == nil})
		return true
	}
	t.frozen.Ascend(omap.Key{}, add)
	rows.fresh.Ascend(omap.Key{}, add)
	slices.SortFunc(es, func(a, b meta.Edit) int {
		return cmp.Or(cmp.Compare(a.Key.Hi, b.Key.Hi), cmp.Compare(a.Key.Lo, b.Key.Lo))
	})
	tree, err := t.Family.Apply(t.Tree, es)
	if err != nil {
		return tree, fmt.Errorf("catalog: %w", err)
	}
	return tree, nil
}

// Install makes what Merge returned the tree: nothing is frozen any more.
func (t *Table) Install(tree meta.Tree) { t.Tree, t.frozen = tree, nil }

// ThawSome undoes Freeze: what was frozen has changed again, but where it has changed since. It moves n rows at most; more: it
// is to be called again. Lookups find the same meanwhile.
func (t *Table) ThawSome(n int) (more bool) {
	for ; n > 0 && t.frozen != nil; n-- {
		k, v, ok := t.frozen.Ceil(omap.Key{})
		if !ok {
			t.frozen = nil
			break
		}
		if _, since := t.fresh.Get(k); !since {
			t.Put(meta.Key(k), v)
		}
		t.frozen.Delete(k)
	}
	return t.frozen != nil
}

// Scan calls fn for every row from k on while fn returns true. fn changes nothing.
func (t *Table) Scan(k meta.Key, fn func(meta.Key, []byte) bool) error {
	_, _, err := t.ScanSome(k, math.MaxInt, fn)
	return err
}

// ScanSome is Scan of at most so many rows, those that were deleted since the last checkpoint included. more: it stopped
// for that, and goes on at next.
func (t *Table) ScanSome(k meta.Key, rows int, fn func(meta.Key, []byte) bool) (next meta.Key, more bool, err error) {
	cur := t.look().Seek(t.Tree, k)
	tk, tv, tok, err := cur.Next()
	pos := omap.Key(k)
	for ; err == nil; rows-- {
		mk, mv, mok := t.newest(pos)
		stored := tok && (!mok || tk.Less(meta.Key(mk))) // the tree's row, not changed since
		switch {
		case !mok && !tok:
			return next, false, nil
		case rows <= 0 && stored:
			return tk, true, nil
		case rows <= 0:
			return meta.Key(mk), true, nil
		case stored:
			if !fn(tk, tv) {
				return next, false, nil
			}
			tk, tv, tok, err = cur.Next()
			continue
		case tok && tk == meta.Key(mk):
			if tk, tv, tok, err = cur.Next(); err != nil {
				return next, false, err
			}
		}
		if mv != nil && !fn(meta.Key(mk), mv) {
			return next, false, nil
		}
		if pos = mk.Next(); pos == mk {
			return next, false, nil
		}
	}
	return next, false, err
}

// newest is the first row in memory that is not below k.
func (t *Table) newest(k omap.Key) (omap.Key, []byte, bool) {
	fk, fv, fok := t.fresh.Ceil(k)
	if t.frozen != nil {
		if zk, zv, zok := t.frozen.Ceil(k); zok && (!fok || zk.Less(fk)) {
			return zk, zv, true
		}
	}
	return fk, fv, fok
}

// Each calls fn for every row of a kind with the number of its object, until fn fails. An error of fn comes back with the
// row's kind and number.
func (t *Table) Each(kind Kind, fn func(number uint64, row []byte) error) error {
	var inner error
	err := t.Scan(Key(kind, 0), func(k meta.Key, v []byte) bool {
		if KindOf(k) != kind {
			return false
		}
		if inner = fn(NumberOf(k), v); inner != nil {
			inner = fmt.Errorf("row of kind %d of inode %d: %w", kind, NumberOf(k), inner)
		}
		return inner == nil
	})
	return errors.Join(err, inner)
}
