package catalog

import (
	"fmt"

	"slatefs/chain/meta"
)

// Row is one row.
type Row struct {
	Key meta.Key
	Val []byte
}

// Parts splits a value into rows with copies of its bytes. The last part is shorter than PartSize, so that reading knows
// the end.
func Parts(k meta.Key, v []byte) []Row {
	var out []Row
	for {
		n := min(len(v), PartSize)
		out = append(out, Row{k, append([]byte{}, v[:n]...)})
		if n < PartSize {
			return out
		}
		v, k.Lo = v[n:], k.Lo+1
	}
}

// Long reads a value that may have several parts; ok: there is one. The bytes are the caller's.
func (t *Table) Long(k meta.Key) (val []byte, ok bool, err error) {
	var out []byte
	for part := uint64(0); ; part++ {
		v, ok, err := t.Get(meta.Key{Hi: k.Hi, Lo: k.Lo + part})
		if err != nil {
			return nil, false, err
		}
		if !ok {
			return out, part > 0, nil
		}
		out = append(out, v...)
		if len(v) < PartSize {
			return out, true, nil
		}
	}
}

// Rows calls fn for every object of a kind, its parts joined; an error of fn ends it, and comes back with the object's kind
// and number. val is fn's.
func (t *Table) Rows(kind Kind, fn func(number uint64, val []byte, parts int) error) error {
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
	err := t.Scan(Key(kind, 0), func(k meta.Key, v []byte) bool {
		if KindOf(k) != kind {
			return false
		}
		if k.Lo == 0 && !flush() {
			return false
		}
		number = NumberOf(k)
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
