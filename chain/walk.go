package chain

import (
	"cmp"
	"context"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/catalog"
	"slatefs/chain/meta"
	"slatefs/chain/overlay"
)

// walk brings the blocks of a part of a map to an erase job, or to a dead list, in steps that are restartable: of a
// layer that died, or of what a large discard cut off. It starts when a checkpoint has settled its source.
type walk struct {
	id     uint64
	layer  *layer // whose the blocks were; follows merges; may be dead
	job    *job
	source *overlay.Storey
	burial bool  // the source is all of a dead layer: pages of others are not entered
	next   int64 // logical block; below it all blocks are sorted
	pages  int64 // below it all pages are given back; what is on disk may be behind next after a crash
	dirty  bool
	try    backoff // failing: a page of the source cannot be read
}

func (p *Pool) newWalk(l *layer, source *overlay.Storey, j *job, burial bool) *walk {
	p.nextJob++
	w := &walk{id: p.nextJob, layer: l, job: j, source: source, burial: burial, dirty: true}
	j.walks++
	p.walks[w.id] = w
	p.poke()
	return w
}

func (p *Pool) endWalk(w *walk) {
	delete(p.walks, w.id)
	p.noteWalk(w, nil)
	w.job.walks--
	w.job.dirty = true
	p.gone = append(p.gone, catalog.Key(catalog.Walk, w.id))
	if l := w.layer; l.dead && !p.walked(l) {
		p.freeing -= l.own // what is left was counted and not found: check says so
		p.forgetLayer(l)
	}
	p.endJob(w.job)
}

// walked tells whether another walk still sorts blocks of l.
func (p *Pool) walked(l *layer) bool {
	for _, w := range p.walks {
		p.mu.step(1)
		if w.layer == l {
			return true
		}
	}
	return false
}

// walkWaits: a walk can only start when a checkpoint has settled its source. The plan lock is held.
func (p *Pool) walkWaits() bool {
	for _, w := range p.walks {
		p.mu.step(1)
		if !w.source.Settled() {
			return true
		}
	}
	return false
}

// walkReady is the oldest walk that can go on, or nil. Of those that failed it is one whose time has come; for who waits
// for space, also one that has not failed often. The plan lock is held.
func (p *Pool) walkReady(waits bool) (first *walk) {
	for _, w := range p.walks {
		p.mu.step(1)
		if w.source.Settled() && (first == nil || w.id < first.id) && (p.mayTry(&w.try) || waits && w.try.tries < triesForWaiter) {
			first = w
		}
	}
	return first
}

// triesForWaiter is how often what fails is tried at once for somebody who waits.
const triesForWaiter = 3

// noteWalk notes how a step of a walk ended. The plan lock is held.
func (p *Pool) noteWalk(w *walk, err error) {
	p.noteTry(&w.try, fmt.Sprintf("walk %d, which finds what %s freed", w.id, cmp.Or(w.job.volume, "nobody")), err)
	if w.try.failing() {
		p.failing[w] = struct{}{}
	} else {
		delete(p.failing, w)
	}
}

// failingWalk is a walk that cannot bring a job its blocks now, or nil.
func (p *Pool) failingWalk(j *job) *walk {
	for w := range p.failing {
		p.mu.step(1)
		if w.job == j {
			return w
		}
	}
	return nil
}

// stranded are the blocks that were freed, and that no walk can find now, because it fails or because the checkpoint does
// that it waits for: they are not available. The plan lock is held.
func (p *Pool) stranded() (n int64) {
	if len(p.failing) == 0 && !p.checkpoints.failing() {
		return 0
	}
	seen := map[*layer]bool{}
	add := func(w *walk) {
		p.mu.step(1)
		if l := w.layer; l.dead && !seen[l] {
			seen[l] = true
			n += l.own
		}
	}
	for w := range p.failing {
		add(w)
	}
	if p.checkpoints.failing() {
		for _, w := range p.walks {
			p.mu.step(1)
			if !w.source.Settled() {
				add(w)
			}
		}
	}
	return n
}

// walkOne takes a step of a walk that is ready, and tells whether there was one.
func (p *Pool) walkOne(context.Context) (bool, error) {
	p.mu.Lock()
	w := p.walkReady(false)
	p.mu.Unlock()
	if w == nil {
		return false, nil
	}
	return true, p.walkStep(w)
}

// walkRuns bounds the runs of one step and so its record.
func (p *Pool) walkRuns() int { return int(min(1024, p.format.Ring/512)) }

// stepBytes bounds the record of one step of a walk or a sweep.
func (p *Pool) stepBytes() int64 { return int64(p.walkRuns()+256) * 24 }

// walkStep takes the next runs of a walk to its job, and the pages that it has passed to the store. That the map cannot be
// read is the walk's alone, and no error: its blocks stay as they are until a later try.
func (p *Pool) walkStep(w *walk) error {
	r, err := p.getRoom(context.Background(), credit{bytes: p.stepBytes(), frees: true})
	if err != nil {
		return err
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.giveBack(r, 0)
	}()
	p.mu.Lock()
	gone := p.walks[w.id] != w // ended by somebody else meanwhile
	p.mu.Unlock()
	if gone {
		return nil
	}
	rec, passed := recWalk{walk: w.id}, []meta.Ptr(nil)
	next, done, err := p.maps.Step(w.source.Base(), w.pages, p.walkRuns(),
		func(ptr meta.Ptr) bool { return !w.burial || ptr.Birth > w.layer.died },
		func(q meta.Piece) {
			if skip := w.next - q.Start; skip > 0 { // sorted before a crash; only its page is left
				if skip >= q.Len {
					return
				}
				q.Dev, q.Len = q.Dev+alloc.BlockID(skip), q.Len-skip
			}
			if !w.burial || q.Birth > w.layer.died {
				rec.runs = append(rec.runs, oldRun{q.Dev, q.Len, q.Birth})
			}
		},
		func(ptr meta.Ptr) { passed = append(passed, ptr) })
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.noteWalk(w, wrapCorrupt(err))
		return nil
	}
	rec.next, rec.done = max(next, w.next), done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.draw(r)
	defer p.drawn()
	if err := p.writable(); err != nil {
		return err
	}
	p.noteWalk(w, nil)
	for _, ptr := range passed {
		p.pageGone(w.layer, ptr)
	}
	w.pages = next
	return p.do(&rec)
}
