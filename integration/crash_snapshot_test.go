package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// snapshotSeen is a snapshot and what its blocks may hold.
type snapshotSeen struct {
	name   string
	vols   []int
	blocks map[*worker]*[partBlocks][]uint64 // contents that are right; after the first look, what was there
}

// freeze makes snapshots of some volumes at one instant, again and again.
func (r *crashRig) freeze(t *testing.T, round int, stop chan struct{}) {
	rng := rand.New(rand.NewPCG(uint64(round), 7))
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(20+rng.IntN(150)) * time.Millisecond):
		}
		s := &snapshotSeen{name: fmt.Sprintf("r%dn%d", round, i), blocks: map[*worker]*[partBlocks][]uint64{}}
		args := []string{"snapshot"}
		for v := range crashVolumes {
			if rng.IntN(3) > 0 {
				s.vols = append(s.vols, v)
				args = append(args, r.at(volName(v))+"@"+s.name)
			}
		}
		if len(s.vols) == 0 {
			continue
		}
		before := map[*worker]*[partBlocks]change{}
		for _, w := range r.workers {
			before[w] = w.acked()
		}
		res := r.try(args...)
		if res.code != 0 {
			if !r.stopped.Load() {
				t.Error(res)
			}
			return
		}
		for _, w := range r.workers {
			s.blocks[w] = w.since(before[w])
		}
		r.snaps = append(r.snaps, s)
	}
}

// acked is the last acknowledged change of each block.
func (w *worker) acked() *[partBlocks]change {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all [partBlocks]change
	for b, h := range w.history {
		for _, c := range h {
			if c.acked {
				all[b] = c
			}
		}
	}
	return &all
}

// since is what each block may have held at some time between an earlier acked and now.
func (w *worker) since(before *[partBlocks]change) *[partBlocks][]uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all [partBlocks][]uint64
	for b, h := range w.history {
		all[b] = []uint64{before[b].content}
		for _, c := range h {
			if c.number > before[b].number {
				all[b] = append(all[b], c.content)
			}
		}
	}
	return &all
}

// verifySnapshot reads a snapshot: it must show what it may, and always the same.
func (r *crashRig) verifySnapshot(t *testing.T, s *snapshotSeen) {
	for w, may := range s.blocks {
		if !slices.Contains(s.vols, w.volume) {
			continue
		}
		path := r.snap(volName(w.volume), s.name)
		for b, got := range readBlocks(t, path, w.volume, w.first) {
			if !slices.Contains(may[b], got) {
				t.Errorf("%s: block %d holds write %d, want one of %d", path, w.first+int64(b), got, may[b])
			}
			may[b] = []uint64{got}
		}
	}
}

// thin destroys most snapshots, so that some live long.
func (r *crashRig) thin(t *testing.T) {
	for len(r.snaps) > 4 {
		i := r.rng.IntN(len(r.snaps))
		for _, v := range r.snaps[i].vols {
			r.slatefs("destroy", r.at(volName(v))+"@"+r.snaps[i].name)
			if _, err := os.Stat(r.snap(volName(v), r.snaps[i].name)); !os.IsNotExist(err) {
				t.Errorf("a destroyed snapshot is there: %v", err)
			}
		}
		r.snaps = slices.Delete(r.snaps, i, i+1)
	}
}
