package chain

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// sweepOf makes a layer that n clones hang on and nobody holds, of which all have lost 48 blocks that lie apart.
func sweepOf(t testing.TB, d *devtest.Disk, n int) (*Pool, *layer) {
	t.Helper()
	const lost = 48
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 3*lost*BlockSize)
	for i := range int64(lost) {
		ok(t, planOne(v, 2*i))
		ok(t, planOne(v, 2*i+1))
	}
	mustSnapshot(t, v, "s")
	l := p.tree.snaps.names[snapName{v.ino, "s"}]
	for i := range n {
		c := mustClone(t, v, "s", fmt.Sprint("c", i))
		for k := range int64(lost) {
			ok(t, planOne(c, 2*k))
		}
		if i%32 == 31 {
			ok(t, p.Checkpoint())
		}
	}
	ok(t, p.Unlink(Req{purge: true}, RootIno, "v"))
	ok(t, p.Checkpoint())
	if p.tree.layers[l.id] != l || !l.nameless() || len(l.children) != n {
		t.Fatalf("layer %v: nameless %v, %d children", l.id, l.nameless(), len(l.children))
	}
	return p, l
}

// A crash between the record of a sweep and the pieces in which the runs leave the lists leaves what is left when they are done.
func TestCrashInASweep(t *testing.T) {
	d := newDisk(t, 64<<20)
	p, l := sweepOf(t, d, 5)
	room, err := p.commits.getRoom(context.Background(), credit{bytes: p.stepBytes(), frees: true})
	ok(t, err)
	p.lockTrees()
	rs, _, err := (&deadReader{p: p.tree}).deadBelow(l, l.sweepNext)
	ok(t, err)
	if len(rs) <= sweptRuns {
		t.Errorf("%d runs are dead, next %v: %v", len(rs), l.sweepNext, rs)
	}
	var crashed *devtest.Disk
	ok(t, p.tree.sweepOut(l, rs, func(rec record) error {
		p.mu.Lock()
		p.commits.draw(room)
		err := p.commits.do(rec)
		p.commits.drawn()
		p.mu.Unlock()
		if err == nil {
			_, err = p.commits.commit(never, always)
		}
		crashed = d.Clone().Crash(rand.New(rand.NewPCG(1, 1)))
		return err
	}))
	p.structure.Unlock()
	p.blocks.returnRoom(room)
	mustCheck(t, p)
	q := openPool(t, crashed)
	mustCheck(t, q)
	o := q.tree.layers[l.id]
	if n := sweptBlocks(q); o.own != l.own || n != 48 || sweptBlocks(p) != n || len(o.children) != 5 || !o.swept {
		t.Errorf("own %d, want %d; %d blocks in jobs, want %d", o.own, l.own, n, sweptBlocks(p))
	}
	for i, c := range o.children {
		was := l.children[i]
		if c.lostHere != was.lostHere || lostBlocks(t, q, c) != lostBlocks(t, p, was) {
			t.Errorf("layer %v has lost %d blocks, want %d", c.id, c.lostHere, was.lostHere)
		}
	}
}

func sweptBlocks(p *Pool) (n int64) {
	for _, j := range p.jobs.all {
		if j.reason == reasonSwept {
			n += j.dirtyBlocks()
		}
	}
	return n
}

func lostBlocks(t testing.TB, p *Pool, l *layer) (n int64) {
	t.Helper()
	ok(t, l.lost.Ascend(p.blocks.lists, omap.Key{}, func(_ omap.Key, e runs.Entry) bool {
		n += e.Blocks()
		return true
	}))
	return n
}
