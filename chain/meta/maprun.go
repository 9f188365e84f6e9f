package meta

import (
	"fmt"
	"sort"

	"slatefs/alloc"
)

// mapRun is a mapped run of a region of at most 8192 blocks, packed as on disk. Blocks
// count from the start of the region.
//
//	word bits
//	0    0-12   first block in the region
//	0    13-25  length - 1, blocks
//	0    26-63  device block, low 38 bits
//	1    0-1    device block, high 2 bits
//	1    2-49   birth
//	1    50-51  kind: 1 mapped (0 never, others reserved)
//	1    52-63  zero
type mapRun struct{ lo, hi uint64 }

const (
	runSize   = 16
	runMapped = 1

	runLenShift   = 13
	runDevShift   = 26
	runDevLow     = 38
	runBirthShift = 2
	runKindShift  = 50

	runMaxBlock = 1<<mapRegionBits - 1
	runMaxDev   = 1<<40 - 1
	runMaxBirth = 1<<48 - 1
)

// packRun packs a mapped piece that lies in the region which starts at base.
func packRun(p Piece, base int64) mapRun {
	dev := uint64(p.Dev)
	return mapRun{
		lo: uint64(p.Start-base) | uint64(p.Len-1)<<runLenShift | dev<<runDevShift,
		hi: dev>>runDevLow | uint64(p.Birth)<<runBirthShift | runMapped<<runKindShift,
	}
}

func (r mapRun) start() int64   { return int64(r.lo & runMaxBlock) }
func (r mapRun) blocks() int64  { return int64(r.lo>>runLenShift&runMaxBlock) + 1 }
func (r mapRun) end() int64     { return r.start() + r.blocks() }
func (r mapRun) birth() Birth   { return Birth(r.hi >> runBirthShift & runMaxBirth) }
func (r mapRun) devEnd() uint64 { return uint64(r.dev()) + uint64(r.blocks()) }

func (r mapRun) dev() alloc.BlockID {
	return alloc.BlockID(r.lo>>runDevShift | r.hi<<runDevLow&runMaxDev)
}

// piece unpacks a run of the region which starts at base.
func (r mapRun) piece(base int64) Piece {
	return Piece{Start: base + r.start(), Len: r.blocks(), Dev: r.dev(), Birth: r.birth(), Mapped: true}
}

// validate checks a run from disk that must lie in a region of bits, at or after
// block from of it.
func (r mapRun) validate(from int64, bits uint8) error {
	switch {
	case r.hi>>runKindShift != runMapped:
		return fmt.Errorf("run of kind %#x: %w", r.hi>>runKindShift, ErrCorrupt)
	case r.start() < from || r.end() > 1<<bits:
		return fmt.Errorf("run at %d+%d outside [%d, %d): %w", r.start(), r.blocks(), from, int64(1)<<bits, ErrCorrupt)
	case r.dev() == 0:
		return fmt.Errorf("run at %d on device block 0: %w", r.start(), ErrCorrupt)
	}
	return nil
}

// pieceAt returns the piece that contains lb, from lb on, in the region of bits at base
// which holds runs. It ends with the region at the latest.
func pieceAt(runs []mapRun, base int64, bits uint8, lb int64) Piece {
	rel := lb - base
	i, j := 0, len(runs)
	for i < j {
		if h := int(uint(i+j) >> 1); runs[h].end() <= rel {
			i = h + 1
		} else {
			j = h
		}
	}
	end := base + 1<<bits
	if i == len(runs) {
		return Piece{Start: lb, Len: end - lb}
	}
	p := runs[i].piece(base)
	if p.Start > lb {
		return Piece{Start: lb, Len: p.Start - lb}
	}
	return p.clip(lb, end)
}

// overlay returns the mapped pieces of [lo, hi) when set is laid over old. Both are sorted
// and disjoint and may reach beyond; old is all mapped. Pieces that continue each other are joined.
func overlay(old, set []Piece, lo, hi int64) []Piece {
	out := make([]Piece, 0, len(old)+2*len(set))
	at := lo // everything before it is done
	keep := func(to int64) {
		for at < to && len(old) > 0 && old[0].Start < to {
			if old[0].End() > at {
				out = appendPiece(out, old[0].clip(max(at, old[0].Start), to))
			}
			if old[0].End() > to {
				break
			}
			old = old[1:]
		}
	}
	for _, s := range set {
		s = s.clip(max(lo, s.Start), hi)
		keep(s.Start)
		if s.Mapped {
			out = appendPiece(out, s)
		}
		at = s.End()
	}
	keep(hi)
	return out
}

// appendPiece adds p, joined with the last piece where it continues that.
func appendPiece(out []Piece, p Piece) []Piece {
	if n := len(out); n > 0 && out[n-1].joins(p) {
		out[n-1].Len += p.Len
		return out
	}
	return append(out, p)
}

// within returns those of the sorted pieces that touch [lo, hi).
func within(ps []Piece, lo, hi int64) []Piece {
	i := sort.Search(len(ps), func(i int) bool { return ps[i].End() > lo })
	j := sort.Search(len(ps), func(j int) bool { return ps[j].Start >= hi })
	return ps[i:max(i, j)]
}
