package alloc

import (
	"errors"
	"testing"
)

// All agrees with State of each block.
func TestAll(t *testing.T) {
	p := New(64, 3*64+10)
	for g := range p.Groups() {
		if err := p.SetGroup(g, Counts{Clean: int64(p.size(g))}, true, Clean); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []Run{{Start: 10, Len: 20}, {Start: 60, Len: 70}, {Start: 195, Len: 7}} {
		if err := p.Set(r, Clean, InUse); err != nil {
			t.Fatal(err)
		}
	}
	for start := int64(0); start < p.Total(); start += 11 {
		for n := int64(1); start+n <= p.Total(); n += 7 {
			want := true
			for b := start; b < start+n; b++ {
				st, err := p.State(BlockID(b))
				if err != nil {
					t.Fatal(err)
				}
				want = want && st == InUse
			}
			err := p.All(Run{Start: BlockID(start), Len: n}, InUse)
			if (err == nil) != want || err != nil && !errors.Is(err, ErrState) {
				t.Fatalf("blocks %d+%d all in use: %v, want %v", start, n, err, want)
			}
		}
	}
	if err := p.All(Run{Start: BlockID(p.Total()), Len: 1}, InUse); !errors.Is(err, ErrRange) {
		t.Errorf("past the end: %v", err)
	}
}
