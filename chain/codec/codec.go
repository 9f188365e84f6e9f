// Package codec writes and reads the fields of records and of rows of the catalog. What it writes has one form: a reader
// takes nothing else, so what comes back is encoded to the same bytes again.
//
//	integer    unsigned varint in its shortest form; of a signed one that is never negative, below 2^62
//	bytes      length, then so many; text likewise
//	time       zigzag varint: nanoseconds since 1970; 0: none; -2^63: seconds (zigzag) and nanoseconds follow
//	run        start, blocks
//	runs, …    count, then so many
//	key        two integers
//	tree, map  as package meta marshals them, with a fixed length
//	attribute  name as text, value as bytes
//
// An Encoder or Decoder belongs to one goroutine.
package codec

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// ErrCorrupt is what every error of this package wraps: bytes that no Encoder writes, or too few of them.
var ErrCorrupt = errors.New("corrupt")

// Encoder appends fields to B, which is the caller's before and after. The zero Encoder is ready; one with a B goes on
// behind what is there.
type Encoder struct{ B []byte }

// Uint appends any integer.
func (e *Encoder) Uint(v uint64) { e.B = binary.AppendUvarint(e.B, v) }

// Int appends an integer that is not negative, and at most 2^62: Decoder.Int refuses others.
func (e *Encoder) Int(v int64) { e.Uint(uint64(v)) }

// Byte appends one byte.
func (e *Encoder) Byte(v byte) { e.B = append(e.B, v) }

// Bool appends a byte that is 1 for true, else 0.
func (e *Encoder) Bool(v bool) {
	if v {
		e.Byte(1)
	} else {
		e.Byte(0)
	}
}

// Bytes appends bytes with their length. They are copied.
func (e *Encoder) Bytes(v []byte) { e.Uint(uint64(len(v))); e.B = append(e.B, v...) }

// Str appends a text with its length in bytes.
func (e *Encoder) Str(v string) { e.Uint(uint64(len(v))); e.B = append(e.B, v...) }

// farTime stands before a time that is no number of nanoseconds.
const farTime = math.MinInt64

// nanos is a time in nanoseconds since 1970, as far as 64 bits hold them: from 1677 to 2262. 0 and farTime mean something
// else.
func nanos(t time.Time) (n int64, ok bool) {
	n = t.UnixNano()
	return n, n != 0 && n != farTime && time.Unix(0, n).Equal(t)
}

// Time keeps any time to the nanosecond. The zero time is 0, which nothing else is.
func (e *Encoder) Time(t time.Time) {
	n, near := nanos(t)
	switch {
	case t.IsZero():
		e.Uint(0)
	case near:
		e.B = binary.AppendVarint(e.B, n)
	default:
		e.B = binary.AppendVarint(e.B, farTime)
		e.B = binary.AppendVarint(e.B, t.Unix())
		e.Uint(uint64(t.Nanosecond()))
	}
}

// Runs appends runs of blocks with their number.
func (e *Encoder) Runs(rs []alloc.Run) {
	e.Uint(uint64(len(rs)))
	for _, r := range rs {
		e.Uint(uint64(r.Start))
		e.Int(r.Len)
	}
}

// Births appends numbers of layers with their number.
func (e *Encoder) Births(ids []meta.Birth) {
	e.Uint(uint64(len(ids)))
	for _, id := range ids {
		e.Uint(uint64(id))
	}
}

// Key appends the key of a row or an entry.
func (e *Encoder) Key(k meta.Key) { e.Uint(k.Hi); e.Uint(k.Lo) }

// Tree appends the root of a tree.
func (e *Encoder) Tree(t meta.Tree) {
	var b [meta.TreeSize]byte
	t.Marshal(b[:])
	e.B = append(e.B, b[:]...)
}

// Trees appends roots of trees with their number.
func (e *Encoder) Trees(ts []meta.Tree) {
	e.Uint(uint64(len(ts)))
	for _, t := range ts {
		e.Tree(t)
	}
}

// Map appends the root of a map.
func (e *Encoder) Map(m meta.Map) {
	b := m.Marshal()
	e.B = append(e.B, b[:]...)
}
