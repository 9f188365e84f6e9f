package chain

import (
	"slices"
	"testing"

	"slatefs/chain/blockdev/devtest"
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

// A note that is only in the tail when its process is killed is durable when its heir has opened the pool, which makes no other
// one: a power cut right after the heir's hole does not make it erased.
func TestHolesOfAnHeir(t *testing.T) {
	p, _, _ := dirtied(t)
	ok(t, p.Close())
	d, f := p.dev.(*devtest.Disk).Clone(), memFile(t)
	p, err := Open(d, Options{Now: newClock().now, Tail: f})
	ok(t, err)
	tok, _ := lend(t, p, 3*BlockSize)
	id := jobOfToken(p, tok)
	r, err := p.commits.getRoom(t.Context(), credit{bytes: holesBytes, frees: true})
	ok(t, err)
	if durable, err := p.jobs.willRelease(r, tok); durable || err != nil {
		t.Fatalf("it is durable at once: %v, %v", durable, err)
	}

	d = d.Clone() // the process is killed
	p, err = Open(d, Options{Now: newClock().now, Tail: f, Inherit: true})
	ok(t, err)
	tok, _ = lend(t, p, 3*BlockSize)
	h := p.jobs.handouts[tok]
	if h.job.id != id || h.job.holes.upTo.Less(h.job.lent.next) {
		t.Fatalf("the heir has job %d, want %d, of which holes are noted up to %v", h.job.id, id, h.job.holes.upTo)
	}
	lsn := p.commits.lsn
	ok(t, p.WillRelease(tok))
	if p.commits.lsn != lsn {
		t.Error("it is noted twice")
	}

	p = openPool(t, d.Durable())
	if tok, _ = lend(t, p, 3*BlockSize); jobOfToken(p, tok) != id || p.jobs.all[id].mayBeHoles() == 0 {
		t.Errorf("after a power cut job %d may have no holes", id)
	}
}
