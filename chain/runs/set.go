package runs

import (
	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Run is a run of blocks that were born in one layer.
type Run struct {
	Dev   alloc.BlockID
	Len   int64
	Birth meta.Birth
}

// Encode appends runs with their number.
func Encode(e *codec.Encoder, rs []Run) {
	e.Uint(uint64(len(rs)))
	for _, r := range rs {
		e.Uint(uint64(r.Dev))
		e.Int(r.Len)
		e.Uint(uint64(r.Birth))
	}
}

// Decode takes runs; nil for none. What blocks and births there are the caller checks.
func Decode(d *codec.Decoder) []Run {
	n := d.LenOf(3)
	if n == 0 {
		return nil
	}
	rs := make([]Run, 0, n)
	for range n {
		rs = append(rs, Run{alloc.BlockID(d.Uint()), d.Int(), meta.Birth(d.Uint())})
	}
	return rs
}

// Blocks is how many blocks runs have in all.
func Blocks(rs []Run) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}

// Below is what of runs, in order, lies below a key.
func Below(rs []Run, end omap.Key) (out []Run) {
	for _, r := range rs {
		switch k := Key(r.Birth, r.Dev); {
		case !k.Less(end):
			return out
		case k.Hi == end.Hi && k.Lo+uint64(r.Len) > end.Lo:
			r.Len = int64(end.Lo - k.Lo)
		}
		out = append(out, r)
	}
	return out
}

// From is what of runs, in order, does not lie below a key.
func From(rs []Run, from omap.Key) (out []Run) {
	for _, r := range rs {
		if k := Key(r.Birth, r.Dev); k.Less(from) {
			skip := int64(from.Lo - k.Lo)
			if k.Hi != from.Hi || skip >= r.Len {
				continue
			}
			r.Dev, r.Len = r.Dev+alloc.BlockID(skip), r.Len-skip
		}
		out = append(out, r)
	}
	return out
}

// Intersect is what lies in both of two sorted lists of disjoint runs.
func Intersect(a, b []Run) (out []Run) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		x, y := a[i], b[j]
		if x.Birth == y.Birth {
			lo, hi := max(x.Dev, y.Dev), min(x.Dev+alloc.BlockID(x.Len), y.Dev+alloc.BlockID(y.Len))
			if lo < hi {
				out = append(out, Run{lo, int64(hi - lo), x.Birth})
			}
		}
		if Key(x.Birth, x.Dev+alloc.BlockID(x.Len)).Less(Key(y.Birth, y.Dev+alloc.BlockID(y.Len))) {
			i++
		} else {
			j++
		}
	}
	return out
}

// Carve takes a run out of entries and returns how many blocks of it they had.
func Carve(m *omap.Map[Entry], r Run) (took int64) {
	end := r.Dev + alloc.BlockID(r.Len)
	at := Key(r.Birth, r.Dev)
	if k, _, ok := m.Floor(at); ok && k.Hi == at.Hi {
		at = k
	}
	for {
		k, e, ok := m.Ceil(at)
		b := alloc.BlockID(k.Lo)
		if !ok || k.Hi != uint64(r.Birth) || b >= end {
			return took
		}
		last := b + alloc.BlockID(e.Len)
		if last > r.Dev {
			took += int64(min(last, end) - max(b, r.Dev))
			m.Delete(k)
			if b < r.Dev {
				m.Set(k, Entry{Len: int64(r.Dev - b)})
			}
			if last > end {
				m.Set(Key(r.Birth, end), Entry{Len: int64(last - end)})
			}
		}
		at = k.Next()
	}
}
