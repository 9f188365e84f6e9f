package chain

import (
	"slices"
	"testing"

	"slatefs/chain/blockdev"
)

// Parts that are handed out together are reported together.
func TestHandedOutTogether(t *testing.T) {
	p, _, _ := dirtied(t)
	a, r1 := p.Next(2 * BlockSize)
	b, r2 := p.Next(2 * BlockSize)
	if a != b || len(r1) == 0 || len(r2) == 0 || r1[len(r1)-1].End() > r2[0].Off {
		t.Fatalf("%d: %v, %d: %v", a, r1, b, r2)
	}
	_, r3 := p.Next(1 << 30)
	if c, _ := p.Next(BlockSize); c == a {
		t.Error("all of the first job is handed out, and more of it is")
	}
	runs := slices.Concat(r1, r2, r3)
	for what, bad := range map[string][2][]blockdev.Extent{
		"too little":     {r1, nil},
		"too much":       {slices.Concat(runs, r1), nil},
		"something else": {{{Off: 3 << 20, Len: int64(5) * BlockSize}}, nil},
		"one twice":      {slices.Concat(runs[1:], runs[len(runs)-1:]), nil},
		"in both":        {runs[1:], runs[len(runs)-1:]},
		"nothing":        {nil, nil},
	} {
		wantErr(t, what, p.Report(a, bad[0], bad[1]), ErrInvalid)
	}
	wantErr(t, "unknown job", p.Report(999, runs, nil), ErrNotFound)
	ok(t, p.Failed())
	zeroThem(t, p, runs)
	ok(t, p.Report(a, runs, nil))
	wantErr(t, "a job that is done", p.Report(a, runs, nil), ErrNotFound)
	mustCheck(t, p)
}
