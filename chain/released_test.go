package chain

import (
	"slices"
	"testing"
)

// What was released is clean, is told apart from what was erased, and adds up across a crash and a checkpoint.
func TestReleasedIsNotErased(t *testing.T) {
	for _, crash := range []bool{true, false} {
		p, _, _ := dirtied(t)
		clean := p.Usage().Clean
		id, runs := lend(t, p, 3*BlockSize)
		zeroThem(t, p, runs)
		ok(t, reportHow(p, id, runs, nil, How{Method: "release", Releases: true}))
		if u := p.Usage(); u.Clean != clean+3*BlockSize {
			t.Errorf("%d bytes are clean, were %d", u.Clean, clean)
		}
		id, runs = lend(t, p, BlockSize)
		job := jobOfToken(p, id)
		zeroThem(t, p, runs)
		ok(t, reportHow(p, id, runs, nil, How{Method: "overwrite"}))
		p = again(t, p, crash)
		js := p.EraseJobs()
		at := slices.IndexFunc(js, func(j JobInfo) bool { return j.ID == job })
		if at < 0 {
			t.Fatalf("crash %v: job %d is not among %+v", crash, job, js)
		}
		if j := js[at]; j.Released != 3*BlockSize || j.Erased != 4*BlockSize || j.Freed != j.Erased+j.Dirty+j.Failed+j.Kept {
			t.Errorf("crash %v: %+v", crash, j)
		}
		mustCheck(t, p)
	}
}
