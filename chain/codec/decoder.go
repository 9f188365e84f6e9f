package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// Decoder takes the fields back, and only as the Encoder writes them. The first fault stays in Err, and everything after
// it is zero: a caller takes all fields and asks Done once. A length never sizes anything before it was compared with what
// is left.
type Decoder struct {
	B   []byte // what is left; the caller's, and never written to
	Err error  // the first fault, ErrCorrupt; or of a root, meta.ErrCorrupt
}

// Fail notes a fault that the caller found in a field, unless there was one before.
func (d *Decoder) Fail(what string) {
	if d.Err == nil {
		d.Err = fmt.Errorf("%s with %d bytes left: %w", what, len(d.B), ErrCorrupt)
	}
	d.B = nil
}

// Done is the first fault, or what is left over.
func (d *Decoder) Done() error {
	if d.Err == nil && len(d.B) > 0 {
		d.Fail("trailing bytes")
	}
	return d.Err
}

// Uint takes any integer.
func (d *Decoder) Uint() uint64 {
	v, k := binary.Uvarint(d.B)
	if k <= 0 || k > 1 && d.B[k-1] == 0 {
		d.Fail("bad integer")
		return 0
	}
	d.B = d.B[k:]
	return v
}

// Uint32 takes an integer of at most 32 bits.
func (d *Decoder) Uint32() uint32 {
	v := d.Uint()
	if v > math.MaxUint32 {
		d.Fail("integer out of range")
		return 0
	}
	return uint32(v)
}

// Int takes an integer that is at most 2^62, so that a few of them can be added up.
func (d *Decoder) Int() int64 {
	v := d.Uint()
	if v > 1<<62 {
		d.Fail("integer out of range")
		return 0
	}
	return int64(v)
}

// Byte takes one byte.
func (d *Decoder) Byte() byte {
	if len(d.B) == 0 {
		d.Fail("missing byte")
		return 0
	}
	v := d.B[0]
	d.B = d.B[1:]
	return v
}

// Bool takes a byte that is 0 or 1.
func (d *Decoder) Bool() bool {
	v := d.Byte()
	if v > 1 {
		d.Fail("bad bool")
	}
	return v == 1
}

// Bytes takes bytes. They are part of B: who keeps them copies them.
func (d *Decoder) Bytes() []byte {
	n := d.Uint()
	if n > uint64(len(d.B)) {
		d.Fail("length past the end")
		return nil
	}
	v := d.B[:n:n]
	d.B = d.B[n:]
	return v
}

// Str takes a text. Nothing says that it is UTF-8.
func (d *Decoder) Str() string { return string(d.Bytes()) }

// Time takes a time, in the local zone.
func (d *Decoder) Time() time.Time {
	v := d.signed()
	if v == 0 {
		return time.Time{}
	}
	if v != farTime {
		return time.Unix(0, v)
	}
	sec, nsec := d.signed(), d.Uint()
	t := time.Unix(sec, int64(nsec))
	if _, near := nanos(t); nsec >= uint64(time.Second) || near || t.IsZero() {
		d.Fail("bad time")
		return time.Time{}
	}
	return t
}

// signed is a zigzag varint.
func (d *Decoder) signed() int64 {
	v, k := binary.Varint(d.B)
	if k <= 0 || k > 1 && d.B[k-1] == 0 {
		d.Fail("bad time")
		return 0
	}
	d.B = d.B[k:]
	return v
}

// Len takes a count of things that take at least one byte each.
func (d *Decoder) Len() int { return d.LenOf(1) }

// LenOf takes a count of things that take at least so many bytes each.
func (d *Decoder) LenOf(least int) int {
	n := d.Uint()
	if n > uint64(len(d.B)/least) {
		d.Fail("count past the end")
		return 0
	}
	return int(n)
}

// Runs takes runs of blocks; nil for none. What blocks there are, and that a run has any, the caller checks.
func (d *Decoder) Runs() []alloc.Run {
	n := d.LenOf(2)
	if n == 0 {
		return nil
	}
	rs := make([]alloc.Run, 0, n)
	for range n {
		rs = append(rs, alloc.Run{Start: alloc.BlockID(d.Uint()), Len: d.Int()})
	}
	return rs
}

// Births takes numbers of layers; nil for none.
func (d *Decoder) Births() (ids []meta.Birth) {
	for range d.Len() {
		ids = append(ids, meta.Birth(d.Uint()))
	}
	return ids
}

// Key takes a key.
func (d *Decoder) Key() meta.Key { return meta.Key{Hi: d.Uint(), Lo: d.Uint()} }

// Tree takes the root of a tree. Its pages are not read.
func (d *Decoder) Tree() meta.Tree {
	if len(d.B) < meta.TreeSize {
		d.Fail("short tree")
		return meta.Tree{}
	}
	t, err := meta.UnmarshalTree(d.B[:meta.TreeSize])
	if err != nil && d.Err == nil {
		d.Err = err
	}
	d.B = d.B[meta.TreeSize:]
	return t
}

// Trees takes roots of trees; nil for none.
func (d *Decoder) Trees() []meta.Tree {
	n := d.Len()
	if n > len(d.B)/meta.TreeSize {
		d.Fail("count of trees past the end")
		return nil
	}
	var ts []meta.Tree
	for range n {
		ts = append(ts, d.Tree())
	}
	return ts
}

// Map takes the root of a map. Its pages are not read.
func (d *Decoder) Map() meta.Map {
	if len(d.B) < meta.MapSize {
		d.Fail("short map")
		return meta.Map{}
	}
	m, err := meta.UnmarshalMap(d.B[:meta.MapSize])
	if err != nil && d.Err == nil {
		d.Err = err
	}
	d.B = d.B[meta.MapSize:]
	return m
}
