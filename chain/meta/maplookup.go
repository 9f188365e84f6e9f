package meta

import (
	"fmt"
	"math"
)

// Lookup returns the piece that contains block lb, from lb on, at most limit blocks of
// it. It may end early where going on would need another page; holes of whole subtrees
// come in one piece, and what lies beyond the map is a hole. The error wraps ErrCorrupt,
// or ErrInvalid for a block or limit that cannot be.
func (ms *Maps) Lookup(m Map, lb, limit int64) (Piece, error) {
	p, _, err := ms.lookup(m, lb, limit, true)
	return p, err
}

// LookupCached is Lookup without I/O and without allocation. A miss says that a page on the
// way is not in memory, or is not the page meant: Lookup will read it, or name the error.
func (ms *Maps) LookupCached(m Map, lb, limit int64) (p Piece, miss bool) {
	p, ok, err := ms.lookup(m, lb, limit, false)
	return p, !ok || err != nil
}

// lookup returns false if a page is not cached and must not be read.
func (ms *Maps) lookup(m Map, lb, limit int64, read bool) (Piece, bool, error) {
	if lb < 0 || limit <= 0 {
		return Piece{}, false, fmt.Errorf("meta: map lookup: block %d, %d blocks: %w", lb, limit, ErrInvalid)
	}
	limit = min(limit, math.MaxInt64-lb)
	if lb >= m.end() {
		return Piece{Start: lb, Len: limit}, true, nil
	}
	var path [mapLevels]*mapInner
	depth := 0
	e, base, bits := &m.root, int64(0), m.Bits
	for e.kind == slotInner && depth < mapLevels {
		v, err := ms.reach(e, base, bits, read)
		if v == nil || err != nil {
			return Piece{}, false, err
		}
		n := v.(*mapInner) // vouched for
		path[depth] = n
		depth++
		e, base, bits = n.unit(lb)
	}
	var p Piece
	if e.kind == slotLeaf {
		v, err := ms.reach(e, base, bits, read)
		if v == nil || err != nil {
			return Piece{}, false, err
		}
		p = pieceAt(v.(*mapLeaf).runs, base, bits, lb) // vouched for
	} else {
		p = e.pieceAt(base, bits, lb)
	}
	if p.End() == base+1<<bits {
		p = extend(path[:depth], p, lb+limit, m.end())
	}
	p.Len = min(p.Len, limit)
	return p, true, nil
}

// reach returns the page of e, or nil if it is not cached and must not be read.
func (ms *Maps) reach(e *mapEntry, base int64, bits uint8, read bool) (any, error) {
	if read {
		return ms.page(e, base, bits)
	}
	v, ok := ms.Store.Cached(e.ptr)
	if !ok && ms.Fetch != nil {
		got, err := ms.Fetch(e.ptr, decodeMapPage)
		v, ok = got, err == nil
	}
	if !ok {
		return nil, nil
	}
	return v, ms.vouch(v, e, base, bits)
}

// pieceAt returns the piece from lb on in a hole or run entry.
func (e *mapEntry) pieceAt(base int64, bits uint8, lb int64) Piece {
	if e.kind == slotRun {
		one := [1]mapRun{e.run}
		return pieceAt(one[:], base, bits, lb)
	}
	return Piece{Start: lb, Len: base + 1<<bits - lb}
}

// extend joins to p, which ends with its unit, what continues it in the pages of path
// (root first), and stops once block end is reached. mapEnd is the end of the tree.
func extend(path []*mapInner, p Piece, end, mapEnd int64) Piece {
	for len(path) > 0 && p.End() < end {
		n := path[len(path)-1]
		if p.End() == n.base+1<<n.bits {
			path = path[:len(path)-1]
			continue
		}
		e, base, bits := n.unit(p.End())
		if e.kind == slotLeaf || e.kind == slotInner {
			return p
		}
		q := e.pieceAt(base, bits, base)
		if !p.joins(q) {
			return p
		}
		p.Len += q.Len
		if q.Len != 1<<bits {
			return p
		}
	}
	if !p.Mapped && p.End() == mapEnd {
		p.Len = max(p.Len, end-p.Start)
	}
	return p
}
