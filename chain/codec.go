package chain

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// encoder appends fields; all integers are unsigned varints.
type encoder struct{ b []byte }

func (e *encoder) u(v uint64)     { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) i(v int64)      { e.u(uint64(v)) }
func (e *encoder) byte(v byte)    { e.b = append(e.b, v) }
func (e *encoder) bytes(v []byte) { e.u(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) str(v string)   { e.u(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// farTime stands before a time that is no number of nanoseconds.
const farTime = math.MinInt64

// nanos is a time in nanoseconds since 1970, as far as 64 bits hold them: from 1677 to 2262. 0 and farTime mean something
// else.
func nanos(t time.Time) (n int64, ok bool) {
	n = t.UnixNano()
	return n, n != 0 && n != farTime && time.Unix(0, n).Equal(t)
}

// time keeps any time to the nanosecond. The zero time is 0, which nothing else is.
func (e *encoder) time(t time.Time) {
	n, near := nanos(t)
	switch {
	case t.IsZero():
		e.u(0)
	case near:
		e.b = binary.AppendVarint(e.b, n)
	default:
		e.b = binary.AppendVarint(e.b, farTime)
		e.b = binary.AppendVarint(e.b, t.Unix())
		e.u(uint64(t.Nanosecond()))
	}
}

func (e *encoder) runs(rs []alloc.Run) {
	e.u(uint64(len(rs)))
	for _, r := range rs {
		e.u(uint64(r.Start))
		e.i(r.Len)
	}
}

func (e *encoder) key(k meta.Key) { e.u(k.Hi); e.u(k.Lo) }

// decoder takes the fields back, and only as the encoder writes them. The first fault stays in err and everything after
// it is zero; a length never sizes anything before it was compared with what is left.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s with %d bytes left: %w", what, len(d.b), ErrCorrupt)
	}
	d.b = nil
}

func (d *decoder) u() uint64 {
	v, k := binary.Uvarint(d.b)
	if k <= 0 || k > 1 && d.b[k-1] == 0 {
		d.fail("bad integer")
		return 0
	}
	d.b = d.b[k:]
	return v
}

func (d *decoder) u32() uint32 {
	v := d.u()
	if v > math.MaxUint32 {
		d.fail("integer out of range")
		return 0
	}
	return uint32(v)
}

func (d *decoder) i() int64 {
	v := d.u()
	if v > 1<<62 {
		d.fail("integer out of range")
		return 0
	}
	return int64(v)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("missing byte")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail("bad bool")
	}
	return v == 1
}

func (d *decoder) bytes() []byte {
	n := d.u()
	if n > uint64(len(d.b)) {
		d.fail("length past the end")
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) str() string { return string(d.bytes()) }

func (d *decoder) time() time.Time {
	v := d.signed()
	if v == 0 {
		return time.Time{}
	}
	if v != farTime {
		return time.Unix(0, v)
	}
	sec, nsec := d.signed(), d.u()
	t := time.Unix(sec, int64(nsec))
	if _, near := nanos(t); nsec >= uint64(time.Second) || near || t.IsZero() {
		d.fail("bad time")
		return time.Time{}
	}
	return t
}

// signed is a zigzag varint.
func (d *decoder) signed() int64 {
	v, k := binary.Varint(d.b)
	if k <= 0 || k > 1 && d.b[k-1] == 0 {
		d.fail("bad time")
		return 0
	}
	d.b = d.b[k:]
	return v
}

// len reads a count of things that take at least one byte each.
func (d *decoder) len() int { return d.lenOf(1) }

// lenOf reads a count of things that take at least so many bytes each.
func (d *decoder) lenOf(least int) int {
	n := d.u()
	if n > uint64(len(d.b)/least) {
		d.fail("count past the end")
		return 0
	}
	return int(n)
}

func (d *decoder) runs() []alloc.Run {
	n := d.lenOf(2)
	if n == 0 {
		return nil
	}
	rs := make([]alloc.Run, 0, n)
	for range n {
		rs = append(rs, alloc.Run{Start: alloc.BlockID(d.u()), Len: d.i()})
	}
	return rs
}

func (d *decoder) key() meta.Key { return meta.Key{Hi: d.u(), Lo: d.u()} }

// done reports the first fault, or what is left over.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) > 0 {
		d.fail("trailing bytes")
	}
	return d.err
}
