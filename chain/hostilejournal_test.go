package chain

import (
	"errors"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
)

// TestHostileRecords: batches with a good checksum whose records cannot be. Each is an error that says corrupt, or a
// finding of check.
func TestHostileRecords(t *testing.T) {
	far := []alloc.Run{{Start: 1 << 50, Len: 1 << 61}}
	super := []alloc.Run{{Start: 0, Len: 2}}
	cases := map[string]func(h *victim) record{
		"claim beyond":         func(*victim) record { return &recClaim{far} },
		"claim of metadata":    func(*victim) record { return &recClaim{super} },
		"claim of no block":    func(*victim) record { return &recClaim{[]alloc.Run{{Start: 900}}} },
		"unclaim of live":      func(*victim) record { return &recUnclaim{[]alloc.Run{{Start: 60, Len: 2}}} },
		"map in no layer":      func(*victim) record { return &recMap{layer: 99, n: 1} },
		"map in a snapshot":    func(h *victim) record { return &recMap{layer: h.head().parent.id, n: 1} },
		"map of no block":      func(h *victim) record { return &recMap{layer: h.head().id} },
		"map of 2^62":          func(h *victim) record { return &recMap{layer: h.head().id, lb: 1 << 61, n: 1 << 61} },
		"map beyond a map":     func(h *victim) record { return &recMap{layer: h.head().id, lb: mapEnd, n: 1} },
		"map on metadata":      func(h *victim) record { return &recMap{layer: h.head().id, n: 1, dev: 3} },
		"map on clean":         func(h *victim) record { return &recMap{layer: h.head().id, n: 1, dev: 1000} },
		"map beyond the pool":  func(h *victim) record { return &recMap{layer: h.head().id, n: 1, dev: 1 << 63, clean: true} },
		"map makes 2^62 bytes": func(h *victim) record { return &recMap{layer: h.head().id, n: 1, size: 1 << 62} },
		"old born in none": func(h *victim) record {
			return &recMap{layer: h.other().id, n: 1, old: []runs.Run{{Dev: 70, Len: 1, Birth: 0}}}
		},
		"old beyond": func(h *victim) record {
			return &recMap{layer: h.head().id, n: 1, old: []runs.Run{{Dev: 1 << 63, Len: 1 << 61, Birth: 1}}}
		},
		"old of the superblock": func(h *victim) record {
			return &recMap{layer: h.head().id, n: 1, old: []runs.Run{{Dev: 0, Len: 2, Birth: h.head().id}}}
		},
		"dirty without a job": func(*victim) record { return &recDirty{999, 1, []alloc.Run{{Start: 900, Len: 1}}} },
		"dirty, born in none": func(h *victim) record { return &recDirty{h.v.ino, 999, []alloc.Run{{Start: 900, Len: 1}}} },
		"holes of no job":     func(*victim) record { return &recHoles{job: 999} },
		"erased of no job":    func(*victim) record { return &recErased{job: 999} },
		"erased of metadata":  func(h *victim) record { return &recErased{job: h.ready(), zeroed: bornIn(1, super)} },
		"erased of live": func(h *victim) record {
			return &recErased{job: h.ready(), zeroed: []runs.Run{{Dev: 70, Len: 1, Birth: 1}}}
		},
		"failed beyond":          func(h *victim) record { return &recErased{job: h.ready(), failed: bornIn(1, far)} },
		"seal of no job":         func(*victim) record { return &recSeal{job: 999} },
		"grant of metadata":      func(*victim) record { return &recGrant{alloc.Run{Start: 3, Len: 16}} },
		"grant beyond":           func(*victim) record { return &recGrant{far[0]} },
		"put of a huge value":    func(*victim) record { return putRow(catalog.Key(catalog.Link, 5), make([]byte, 5000)) },
		"put over a layer":       func(h *victim) record { return putRow(catalog.Key(catalog.Layer, uint64(h.head().id)), []byte{1}) },
		"second head":            func(h *victim) record { return &recHead{vol: h.v.ino} },
		"head on a head":         func(h *victim) record { return &recHead{vol: 500, parent: h.head().id} },
		"head of 2^62 bytes":     func(*victim) record { return &recHead{vol: 500, size: 1 << 62} },
		"freeze of nothing":      func(*victim) record { return &recFreeze{vols: []Ino{999}} },
		"freeze with a bad name": func(h *victim) record { return &recFreeze{vols: []Ino{h.v.ino}, name: "../x"} },
		"rollback to itself":     func(h *victim) record { return &recRollback{vol: h.v.ino, snap: h.head().id} },
		"rollback of nothing":    func(h *victim) record { return &recRollback{vol: 999, snap: h.head().parent.id} },
		"rename to nothing":      func(h *victim) record { return &recRename{layer: h.head().parent.id} },
		"rename of a head":       func(h *victim) record { return &recRename{h.head().id, "x"} },
		"unname of nothing":      func(*victim) record { return &recUnname{layer: 999} },
		"unname of a head":       func(h *victim) record { return &recUnname{layer: h.head().id} },
		"destroy, the name left": func(h *victim) record { return &recDestroy{vol: h.v.ino} },
		"shed, the name left":    func(h *victim) record { return &recShed{vol: h.v.ino, n: 1} },
		"shed of too many":       func(h *victim) record { return &recShed{vol: h.v.ino, n: layersAtOnce} },
		"home of too few":        func(h *victim) record { return &recHomeSome{h.dir, RootIno} },
		"shed of nothing":        func(h *victim) record { return &recShed{vol: h.v.ino} },
		"detach of a snapshot":   func(h *victim) record { return &recDetach{layer: h.head().parent.id, hi: 9} },
		"detach beyond":          func(h *victim) record { return &recDetach{layer: h.head().id, lo: 1, hi: 1 << 61, mapped: 1} },
		"detach counts more":     func(h *victim) record { return &recDetach{layer: h.head().id, lo: 1, hi: 9, mapped: 1 << 40} },
		"walk of nothing":        func(*victim) record { return &recWalk{walk: 999} },
		"resize to 2^62":         func(h *victim) record { return &recResize{h.head().id, 1 << 62} },
		"reap of nothing":        func(*victim) record { return &recReap{layer: 999} },
		"sweep of nothing":       func(*victim) record { return &recSweep{layer: 999} },
		"sweep of a head": func(h *victim) record {
			return &recSweep{layer: h.head().id, runs: []runs.Run{{Dev: 70, Len: 1, Birth: 1}}}
		},
	}
	for name, fn := range cases {
		d := hostile(t, func(*victim) {})
		p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		h := &victim{t: t, p: p, v: existing(t, p, "disk.raw"), w: existing(t, p, "other")}
		p.structure.Lock()
		p.mu.Lock()
		p.commits.pending = append(p.commits.pending, encodeRecord(fn(h))...)
		p.mu.Unlock()
		p.structure.Unlock()
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
		refused(t, name, d)
	}
	for name, batch := range map[string][]byte{
		"kind 0": {0}, "kind 200": {200, 1, 2}, "cut short": {kindOf(&recMap{}), 1}, "2^40 runs": {kindOf(&recClaim{}), 0x80, 0x80, 0x80, 0x80, 0x80, 0x40},
	} {
		d, _ := closedPool(t)
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.commits.journal.Append(p.supers.super.Generation, batch); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(d, readOnly()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ready seals the job of the volume, so that an erased record of it is the next.
func (h *victim) ready() uint64 {
	j := h.p.jobs.byVol[h.v.ino]
	defer h.p.commits.within(h.p.commits.tryRoom(credit{bytes: oneSeal}))()
	if err := h.p.commits.do(&recSeal{job: j.id}); err != nil {
		h.t.Fatal(err)
	}
	return j.id
}

// TestLaterGeneration: a batch that follows a superblock which cannot be read any more.
func TestLaterGeneration(t *testing.T) {
	d, newest := closedPool(t)
	p, err := Open(d, Options{Now: newClock().now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.commits.journal.Append(p.supers.super.Generation+1, encodeRecord(&recPut{key: meta.Key{Hi: 1}})); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(d.Clone(), readOnly()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a batch of a later generation: %v", err)
	}
	d.Flip(int64(newest)*BlockSize+100, 1)
	if _, err := Open(d, readOnly()); !errors.Is(err, ErrCorrupt) {
		t.Errorf("and the superblock lost: %v", err)
	}
}

func putRow(k meta.Key, val []byte) record { return &recPut{key: k, val: val} }
