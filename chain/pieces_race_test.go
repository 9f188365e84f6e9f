//go:build race

package chain

import (
	"fmt"
	"testing"
)

// apart begins a histogram of its own, which restore makes part of the one before.
func (t *holdTable) apart() (restore func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.at
	t.at = nil
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		mine := t.at
		t.at = before
		for at, c := range mine {
			if o := before[at]; o != nil {
				c.n, c.most = c.n+o.n, max(c.most, o.most)
				for i, n := range o.by {
					c.by[i] += n
				}
			}
			if t.at == nil {
				t.at = map[holdPlace]*holdCount{}
			}
			t.at[at] = c
		}
	}
}

// What lists, counts and looks does a bounded part of it under one hold of the plan lock, however much there is: a directory of
// many volumes with many snapshots, a line of many layers with many clones, many jobs, a map of many entries.
func TestListsInPieces(t *testing.T) {
	restore := holds.apart()
	defer restore()
	p := openPool(t, newDisk(t, 64<<20))
	a, err := p.Mkdir(Req{}, RootIno, "d", 0o755)
	ok(t, err)
	const many = 4 * pieceLen
	for i := range many {
		a, err := p.Create(Req{}, a.Ino, fmt.Sprint("v", i), 0o644)
		ok(t, err)
		v, err := p.Volume(a.Ino)
		ok(t, err)
		write(t, v, fill('a', BlockSize), 0)
		mustSnapshot(t, v, "s")
		mustSnapshot(t, v, "t")
		ok(t, p.DestroySnapshots(Req{}, v.ino, []string{"t"}, DestroyOptions{}))
	}
	v := mustVolume(t, p, "v", 1<<40)
	for i := range many {
		write(t, v, fill('b', BlockSize), int64(i)*3*BlockSize)
		mustSnapshot(t, v, fmt.Sprint("s", i))
	}
	var c *Volume
	for i := range many {
		c = mustClone(t, v, "s7", fmt.Sprint("c", i))
	}
	for i := range many {
		write(t, c, fill('c', BlockSize), int64(i)*5*BlockSize)
	}
	for _, look := range []func() error{
		func() error { _, err := snapList(p, a.Ino); return err },
		func() error { _, err := p.SnapDirAttr(a.Ino); return err },
		func() error { _, _, err := p.SnapLookup(a.Ino, "v7@s"); return err },
		func() error { return p.ReadDir(a.Ino, 0, func(DirEntry) bool { return true }) },
		func() error { _, err := p.Snapshots(v.ino); return err },
		func() error { _, err := p.Tree(c.ino); return err },
		func() error { _, err := p.VolumeInfo(c.ino); return err },
		func() error { _, err := p.VolumeInfo(v.ino); return err },
		func() error { _, err := p.DirInfo(a.Ino); return err },
		func() error { _ = p.Usage(); _ = p.EraseJobs(); _ = p.Erasing(); return nil },
		func() error { _, err := v.SeekHole(0); return err },
		func() error { _, err := v.SeekData(1 << 30); wantErr(t, "no data", err, ErrRange); return nil },
		func() error { mustSnapshot(t, c, "x"); return p.RenameSnapshot(Req{}, c.ino, "x", "y") },
		func() error { return c.Allocate(0, 1<<20, true) },
		func() error { return c.Punch(0, 1<<29) },
		func() error { return v.Punch(0, 1<<39) },
		func() error { return v.Truncate(0) },
	} {
		ok(t, look())
	}
	mine := map[string]bool{
		"Pool.ReadSnaps": true, "Pool.SnapDirAttr": true, "Pool.SnapLookup": true, "Pool.ReadDir": true, "snapWalk.piece": true,
		"descent.rest": true, "Pool.fromRoot": true, "Pool.VolumeInfo": true, "Pool.shownOf": true, "Pool.DirInfo": true,
		"Pool.Usage": true, "jobQueue.eachJobWhile": true, "Pool.Erasing": false, "openVolumes.seek": true, "Volume.counted": true, "Volume.unmap": true,
		"layerTree.measureDepth": false,
	}
	for _, h := range holdsByPlace() {
		if mine[h.place] && h.most > mostSteps && h.most > longHolds[h.place].most {
			t.Errorf("%s: %d steps under one hold, for %s", h.place, h.most, h.callers)
		}
		delete(mine, h.place)
	}
	for place, must := range mine {
		if must {
			t.Errorf("%s: no hold was seen", place)
		}
	}
}
