package chain

import (
	"errors"
	"fmt"
	"math"

	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// catalog is one ordered table of rows by (kind, number, part): inodes, names, layers, jobs. What changed since the
// last checkpoint is in memory over the tree; an empty value there is a deleted row.
//
//	Key.Hi  kind << 56 | number
//	Key.Lo  name hash of a directory entry or attribute, part of a row that is longer than meta.MaxValue
type catalog struct {
	family *meta.Family
	tree   meta.Tree
	fresh  omap.Map[[]byte]
	frozen *omap.Map[[]byte] // what a checkpoint is merging into the tree; nil otherwise
	bytes  int64             // of the values in fresh
}

type rowKind uint8

const (
	rowInode rowKind = iota + 1
	rowName
	rowLink
	rowXattr
	rowLayer
	rowJob
	rowWalk
	rowProperty
	rowOrphan
	rowDrop
	rowWindow
	rowAnswer
	rowLog   // a job's record in the erase log; number 0: how many there are, of both kinds
	rowDaily // what a volume overwrote and discarded in a day
	rowDoomed
)

// partSize bounds a row's value; longer ones continue in the next part.
const partSize = 1000

func rowKey(kind rowKind, number uint64) meta.Key {
	return meta.Key{Hi: uint64(kind)<<56 | number&(1<<56-1)}
}

func (c *catalog) get(k meta.Key) ([]byte, bool, error) {
	if v, ok := c.fresh.Get(omap.Key(k)); ok {
		return v, v != nil, nil
	}
	if c.frozen != nil {
		if v, ok := c.frozen.Get(omap.Key(k)); ok {
			return v, v != nil, nil
		}
	}
	return c.family.Get(c.tree, k)
}

// put stores a row; nil deletes it.
func (c *catalog) put(k meta.Key, v []byte) {
	old, _ := c.fresh.Get(omap.Key(k))
	c.bytes += int64(len(v) - len(old))
	c.fresh.Set(omap.Key(k), v)
}

// pages bounds the pages that the rows which changed, and so many others, will need, with twins: each may lie in a leaf of
// its own, and a leaf of the tree holds two rows at least; new rows may fill leaves by half.
func (c *catalog) pages(others int64) int64 {
	n := int64(c.fresh.Len()) + others
	if n == 0 {
		return 0
	}
	leaves := min(n, int64(c.tree.Entries)/2+1) + c.bytes/(BlockSize/2)
	return 2 * (leaves + leaves/8 + int64(c.tree.Height) + 1)
}

// scan calls fn for every row from k on while fn returns true.
func (c *catalog) scan(k meta.Key, fn func(meta.Key, []byte) bool) error {
	_, _, err := c.scanSome(k, math.MaxInt, fn)
	return err
}

// scanSome is scan of at most so many rows, those that were deleted since the last checkpoint included. more: it stopped
// for that, and goes on at next.
func (c *catalog) scanSome(k meta.Key, rows int, fn func(meta.Key, []byte) bool) (next meta.Key, more bool, err error) {
	cur := c.family.Seek(c.tree, k)
	tk, tv, tok, err := cur.Next()
	pos := omap.Key(k)
	for ; err == nil; rows-- {
		mk, mv, mok := c.newest(pos)
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
func (c *catalog) newest(k omap.Key) (omap.Key, []byte, bool) {
	fk, fv, fok := c.fresh.Ceil(k)
	if c.frozen != nil {
		if zk, zv, zok := c.frozen.Ceil(k); zok && (!fok || zk.Less(fk)) {
			return zk, zv, true
		}
	}
	return fk, fv, fok
}

// long reads a row that may have several parts.
func (c *catalog) long(k meta.Key) ([]byte, bool, error) {
	var out []byte
	for part := uint64(0); ; part++ {
		v, ok, err := c.get(meta.Key{Hi: k.Hi, Lo: k.Lo + part})
		if err != nil {
			return nil, false, err
		}
		if !ok {
			return out, part > 0, nil
		}
		out = append(out, v...)
		if len(v) < partSize {
			return out, true, nil
		}
	}
}

// parts splits a value into rows. The last part is shorter than partSize, so that reading knows the end.
func parts(k meta.Key, v []byte) []recPut {
	var out []recPut
	for {
		n := min(len(v), partSize)
		out = append(out, recPut{key: k, val: append([]byte{}, v[:n]...)})
		if n < partSize {
			return out
		}
		v, k.Lo = v[n:], k.Lo+1
	}
}

// storeRow writes an object's row outside the journal: at a checkpoint, whose records describe it already. More parts
// in the last checkpoint's row are deleted.
func (b *builder) storeRow(k meta.Key, v []byte) {
	rows := parts(k, v)
	for _, r := range rows {
		b.rows.put(r.key, r.val)
	}
	for i := len(rows); i < b.p.parts[k]; i++ {
		b.rows.put(meta.Key{Hi: k.Hi, Lo: k.Lo + uint64(i)}, nil)
	}
	b.parts[k] = len(rows)
}

func (b *builder) dropRow(k meta.Key) {
	for i := range b.p.parts[k] {
		b.rows.put(meta.Key{Hi: k.Hi, Lo: k.Lo + uint64(i)}, nil)
	}
	b.parts[k] = 0
}

// rows calls fn for every object of a kind, its parts joined.
func (c *catalog) rows(kind rowKind, fn func(number uint64, val []byte, parts int) error) error {
	var val []byte
	var n int
	var number uint64
	var inner error
	flush := func() bool {
		if n > 0 {
			if inner = fn(number, val, n); inner != nil {
				inner = fmt.Errorf("catalog row %d/%d: %w", kind, number, inner)
				return false
			}
		}
		val, n = nil, 0
		return true
	}
	err := c.scan(rowKey(kind, 0), func(k meta.Key, v []byte) bool {
		if rowKind(k.Hi>>56) != kind {
			return false
		}
		if k.Lo == 0 && !flush() {
			return false
		}
		number = k.Hi & (1<<56 - 1)
		val, n = append(val, v...), n+1
		return true
	})
	if err == nil && inner == nil {
		flush()
	}
	if err != nil {
		return err
	}
	return inner
}

// each calls fn for every row of a kind whose number is an inode's.
func (c *catalog) each(kind rowKind, fn func(ino Ino, row []byte) error) error {
	var inner error
	err := c.scan(rowKey(kind, 0), func(k meta.Key, v []byte) bool {
		if rowKind(k.Hi>>56) != kind {
			return false
		}
		ino := Ino(k.Hi & (1<<56 - 1))
		if inner = fn(ino, v); inner != nil {
			inner = fmt.Errorf("row of kind %d of inode %d: %w", kind, ino, inner)
		}
		return inner == nil
	})
	return errors.Join(err, inner)
}
