package chain

import (
	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

type groupRow struct {
	n      int64
	state  alloc.State // where ptr is nil
	counts alloc.Counts
	ptr    meta.Ptr
}

func (r groupRow) marshal() []byte {
	e := codec.Encoder{}
	e.Int(r.n)
	e.Byte(byte(r.state))
	e.Int(r.counts.InUse)
	e.Int(r.counts.Claimed)
	e.Int(r.counts.Meta)
	e.Int(r.counts.Clean)
	if !r.ptr.IsNil() {
		var b [meta.PtrSize]byte
		r.ptr.Marshal(b[:])
		e.B = append(e.B, b[:]...)
	}
	return e.B
}

func (r *groupRow) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	r.n, r.state = d.Int(), alloc.State(d.Byte())
	r.counts = alloc.Counts{InUse: d.Int(), Claimed: d.Int(), Meta: d.Int(), Clean: d.Int()}
	if d.Err == nil && len(d.B) == meta.PtrSize {
		r.ptr, d.B = meta.UnmarshalPtr(d.B), nil
	}
	return wrapCorrupt(d.Done())
}
