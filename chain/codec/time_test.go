package codec

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

// Any time comes back, what 64 bits of nanoseconds hold as it always was encoded; one time has one encoding.
func TestTimeCodec(t *testing.T) {
	old := func(n int64) []byte { return binary.AppendVarint(nil, n) }
	for _, c := range []struct {
		name string
		t    time.Time
		was  []byte // as it was always encoded
	}{
		{"none", time.Time{}, []byte{0}},
		{"now", time.Unix(1796000000, 1), old(1796000000000000001)},
		{"before 1970", time.Unix(-1, 999999999), old(-1)},
		{"first near one", time.Unix(0, math.MinInt64+1), old(math.MinInt64 + 1)},
		{"last near one", time.Unix(0, math.MaxInt64), old(math.MaxInt64)},
		{"1970", time.Unix(0, 0), nil},
		{"first that is far", time.Unix(0, math.MinInt64), nil},
		{"last but one before", time.Unix(0, math.MinInt64).Add(-1), nil},
		{"next after", time.Unix(0, math.MaxInt64).Add(1), nil},
		{"year 1", time.Time{}.Add(1), nil},
		{"last", time.Unix(math.MaxInt64, 999999999), nil},
		{"first", time.Unix(math.MinInt64, 0), nil},
	} {
		e := Encoder{}
		e.Time(c.t)
		if c.was != nil && !slices.Equal(e.B, c.was) {
			t.Errorf("%s: encoded as %x, was %x", c.name, e.B, c.was)
		}
		d := Decoder{B: e.B}
		if got := d.Time(); d.Done() != nil || !got.Equal(c.t) || got.Unix() != c.t.Unix() {
			t.Errorf("%s: %v, %v, want %v", c.name, got, d.Err, c.t)
		}
	}
	far := func(sec int64, nsec uint64) []byte {
		return binary.AppendUvarint(binary.AppendVarint(old(farTime), sec), nsec)
	}
	for name, b := range map[string][]byte{
		"a near one": far(1796000000, 1), "none": far(-62135596800, 0), "too many nanoseconds": far(1<<40, 1e9),
		"no nanoseconds": far(1<<40, 1)[:16], "no seconds": old(farTime), "huge nanoseconds": far(1<<40, math.MaxUint64),
	} {
		d := Decoder{B: b}
		if got := d.Time(); d.Done() == nil {
			t.Errorf("%s: taken as %v", name, got)
		}
	}
}
