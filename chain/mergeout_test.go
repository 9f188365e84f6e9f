package chain

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// mergeOf makes a snapshot that nobody holds and that goes to its only child: the head of its volume, or else the next snapshot, which
// n clones and the head hang on. Of the blocks of both these have lost some, and so has the child.
func mergeOf(t testing.TB, d *devtest.Disk, n int, head bool) (p *Pool, l *layer, vols []*Volume) {
	t.Helper()
	p = openPool(t, d)
	v := mustVolume(t, p, "v", int64(4*n)*BlockSize)
	put := func(v *Volume, from, blocks int) {
		for i := range blocks {
			ok(t, planOne(v, int64(from+2*i)))
		}
	}
	put(v, 0, 2*n)
	put(v, 1, 2*n)
	mustSnapshot(t, v, "older")
	put(v, 0, 2*n)
	mustSnapshot(t, v, "a")
	put(v, n/2, n)
	below := 0
	if !head {
		mustSnapshot(t, v, "b")
		below = n
	}
	l = p.tree.snaps.names[snapName{v.ino, "a"}]
	for i := range below {
		c := mustClone(t, v, "b", fmt.Sprint("c", i))
		put(c, i%7, n/2)
		vols = append(vols, c)
		if i%32 == 31 {
			ok(t, p.Checkpoint())
		}
	}
	put(v, 1, n)
	p.structure.Lock()
	p.built = make(chan struct{}) // so that it is not merged at once
	p.structure.Unlock()
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{Now: true, Defer: true}))
	p.structure.Lock()
	p.buildEnds()
	p.structure.Unlock()
	if p.tree.layers[l.id] != l || len(l.children) != 1 || l.children[0].head != head || !head && len(l.children[0].children) != n+1 {
		t.Fatalf("layer %v: %d children", l.id, len(l.children))
	}
	return p, l, append(vols, v)
}

// What those below a merge lose while it is prepared, and between its record and the pieces after that, is counted once, and a crash
// there leaves what is left when they are done.
func TestWritesAroundAMerge(t *testing.T) {
	for _, head := range []bool{false, true} {
		t.Run(fmt.Sprint("into a head ", head), func(t *testing.T) {
			d := newDisk(t, 64<<20)
			p, l, vols := mergeOf(t, d, 12, head)
			vols = vols[max(0, len(vols)-3):] // what is claimed suffices for these
			room, err := p.commits.getRoom(context.Background(), credit{bytes: changeBytes, pages: changePages, frees: true})
			ok(t, err)
			rewrite := func(from int64) { // of the layer that goes, and of what is above it
				t.Helper()
				n := 0
				for i, v := range vols {
					for b := range int64(2) {
						var pl Plan
						need, err := v.PlanWrite(&pl, (from+int64(i)%3+b)*BlockSize, BlockSize)
						ok(t, err)
						if need.None() { // else it would wait for the structure lock
							ok(t, pl.Commit(pl.Len))
							n++
						}
					}
				}
				if n == 0 {
					t.Errorf("%d writes", n)
				}
			}
			for _, v := range vols {
				ok(t, planOne(v, 47)) // its map below is in memory
			}
			p.lockTrees()
			rewrite(24)
			m, err := p.tree.outlook(l)
			ok(t, err)
			if m == nil || m.from != l || m.into.head != head {
				t.Fatalf("prepared: %+v", m)
			}
			rewrite(30)
			var crashed *devtest.Disk
			p.mu.Lock()
			p.commits.draw(room)
			err = p.commits.do(&recReap{layer: l.id, when: p.opt.Now(), merge: m})
			p.commits.drawn()
			p.mu.Unlock()
			ok(t, err)
			rewrite(36)
			ok(t, p.Flush())
			crashed = d.Clone().Crash(rand.New(rand.NewPCG(1, 1)))
			p.tree.endMerge(m)
			rewrite(41)
			p.structure.Unlock()
			p.blocks.returnRoom(room)
			mustCheck(t, p)
			q := openPool(t, crashed)
			mustCheck(t, q)
			for _, v := range vols {
				if h := v.head(); h.losing != nil || h.parent != nil && h.parent.losing != nil {
					t.Errorf("layer %v is followed still", h.id)
				}
			}
			ok(t, p.Checkpoint())
			eraseAll(t, p)
			mustCheck(t, p)
		})
	}
}

// A merge that is prepared and not made leaves nothing behind.
func TestMergeNotMade(t *testing.T) {
	p, l, vols := mergeOf(t, newDisk(t, 64<<20), 5, false)
	p.lockTrees()
	m, err := p.tree.outlook(l)
	ok(t, err)
	p.tree.endMerge(m)
	p.structure.Unlock()
	mustCheck(t, p)
	for _, v := range vols {
		if v.head().losing != nil {
			t.Errorf("layer %v is followed still", v.head().id)
		}
	}
	ok(t, p.removal.reapAll())
	if p.tree.layers[l.id] == l {
		t.Error("it is not merged afterwards")
	}
	mustCheck(t, p)
}

// detached makes a snapshot of a volume with n walks that wait for a checkpoint, and another one above it.
func detached(t testing.TB, p *Pool, n int) (*Volume, *layer) {
	t.Helper()
	const piece = (largeDiscard + 1) * BlockSize
	v := mustVolume(t, p, "wide", int64(n+1)*piece)
	for i := range int64(n) {
		ok(t, planOne(v, i*piece/BlockSize))
	}
	for i := range int64(n) {
		ok(t, v.Punch(i*piece, piece))
	}
	mustSnapshot(t, v, "a")
	mustSnapshot(t, v, "b")
	l := p.tree.snaps.names[snapName{v.ino, "a"}]
	if len(l.walks) != n {
		t.Fatalf("%d walks, want %d", len(l.walks), n)
	}
	return v, l
}

// The walks of a layer that is merged are its child's, and go on there.
func TestWalksOfAMerge(t *testing.T) {
	p := openPool(t, newDisk(t, 64<<20))
	v, l := detached(t, p, 5)
	into := l.children[0]
	ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{Now: true, Defer: true}))
	if p.tree.layers[l.id] != nil || len(into.walks) != 5 || into.waitWalks != 5 {
		t.Errorf("%d walks, and %d that wait", len(into.walks), into.waitWalks)
	}
	mustCheck(t, p)
	eraseAll(t, p)
	if len(into.walks) > 0 || into.waitWalks != 0 {
		t.Errorf("%d walks, and %d that wait, are left", len(into.walks), into.waitWalks)
	}
	mustCheck(t, p)
}
