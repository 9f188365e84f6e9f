package chain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Evidence is what can be proved of all that was ever written in some volumes, in one layer or in a pool. It is complete when every
// block that was born there is zero, with proof, or was never written; else all that is left is named. Bytes.
//
// It never calls complete what is not. It may call incomplete what is, in one case: while blocks that a crash left claimed are
// not zero yet, for nobody knows whose they were; of volumes that did not end before.
type Evidence struct {
	Complete bool
	Written  int64 // ever: blocks that were used, each time
	Zeroed   int64
	Released int64 // zero to read, and not erased below
	Left     int64 // on the device

	First, Last time.Time // the first layer was made; the last report of the eraser
	Remains     []Remain  // why it is not complete, the most first
}

// RemainState says how something is left.
type RemainState string

// What becomes of blocks, from those that are shown to those that nobody knows enough of.
const (
	RemainShown       RemainState = "shown"       // by the volume or snapshot in By
	RemainDestroyed   RemainState = "destroyed"   // and kept for undestroy under ID
	RemainOpen        RemainState = "open"        // a snapshot that was destroyed, whose file is open
	RemainFreeing     RemainState = "freeing"     // nobody shows them any more; they come to a job yet
	RemainQueued      RemainState = "queued"      // in the erase job ID
	RemainFailed      RemainState = "failed"      // in the erase job ID: they could not be zeroed, and are tried again
	RemainUnscheduled RemainState = "unscheduled" // in the erase job ID, of erase=none
	RemainReleased    RemainState = "released"    // zero to read, and not erased below
	RemainWriting     RemainState = "writing"     // writes that are under way hold them
	RemainCrash       RemainState = "crash"       // in the erase job ID: a crash left them, and they may be anybody's
	RemainInitial     RemainState = "initial"     // in the erase job ID: there when the pool was made or grew
	RemainUnknown     RemainState = "unknown"     // what was written before accounts were kept; no bytes
)

// Remain is one reason why evidence is not complete.
type Remain struct {
	State RemainState
	Bytes int64
	UpTo  bool   // so many at most: part of it may be on its way to an erase job, or others' that lie in one block with bytes of the subject
	By    string // who shows it: a path, or path@snapshot; any bytes
	ID    uint64 // of an erase job, or of what is kept; of what may have been released, the job that has it still
	More  int    // not 0: it stands for so many others
}

// Subject is what evidence is asked of: volumes that are or were, or one layer, or the pool.
type Subject struct {
	Volumes []Ino
	Layer   LayerID
	Shows   bool // the layer is a snapshot: all that it shows, too, whoever wrote it
	Pool    bool
}

// EvidenceOf finds out what can be proved of a subject. It holds the structure lock, and the plan lock for pieces. It reads the
// rows of the subject's open accounts, and of lists what says how much of them is whose: O(log n) for each account and job, and for
// each layer below what is left.
//
// Errors: ErrNotFound for a layer that was never made, ErrCorrupt, or the device's: nothing is known then.
func EvidenceOf(p *Pool, s Subject) (Evidence, error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	q := &inquiry{p: p, s: s}
	if err := q.find(); err != nil {
		return Evidence{}, err
	}
	return q.result(), nil
}

// find finds out.
func (q *inquiry) find() error {
	q.open, q.remains = map[LayerID]*openAccount{}, map[Remain]int64{}
	for _, step := range []func() error{q.begin, q.writing, q.crashes, q.gather, q.queued, q.held, q.shows} {
		if err := step(); err != nil {
			return wrapCorrupt(err)
		}
	}
	return nil
}

// inquiry collects evidence. The structure lock is held.
type inquiry struct {
	p       *Pool
	s       Subject
	vols    map[Ino]bool // whose births count; nil: all
	sum     account
	open    map[LayerID]*openAccount // those that have something left
	remains map[Remain]int64         // blocks, by a reason without its bytes
	budget  int                      // layers that may still be looked at
}

// openAccount is what is left of one birth.
type openAccount struct {
	vol   Ino
	left  int64 // blocks
	jobs  int64 // part of it: in jobs
	other bool  // of others: they may have bytes of the subject, too
}

// maxLooked bounds the layers whose lists one inquiry weighs. What there is beyond is named together.
const maxLooked = 16384

func (q *inquiry) begin() error {
	q.budget = maxLooked
	p := q.p
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ot := p.origins; {
	case q.s.Layer != 0 && q.s.Layer > p.tree.nextLayer:
		return fmt.Errorf("layer %v: %w", q.s.Layer, ErrNotFound)
	case !ot.begun, q.s.Layer != 0 && !ot.covers(q.s.Layer), q.s.Pool && ot.first > 0,
		len(q.s.Volumes) > 0 && slices.Min(q.s.Volumes) <= ot.before:
		q.remain(Remain{State: RemainUnknown}, 0)
	}
	if q.s.Pool {
		return nil
	}
	q.vols = map[Ino]bool{}
	for _, v := range q.s.Volumes {
		q.vols[v] = true
	}
	return nil
}

// remain notes a reason, of so many blocks more.
func (q *inquiry) remain(r Remain, blocks int64) { q.remains[r] += blocks }

// counts: a birth of a volume is of the subject.
func (q *inquiry) counts(birth LayerID, vol Ino) bool {
	return q.s.Pool || birth != 0 && (birth == q.s.Layer || q.vols[vol])
}

// writing finds writes that are under way: they have blocks of the subject that no account knows. Who begins one later writes later.
func (q *inquiry) writing() error {
	p := q.p
	vols := slices.Collect(maps.Keys(q.vols))
	if q.s.Pool {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.space.namedN > 0 {
			q.remain(Remain{State: RemainWriting}, p.space.namedN)
		}
		return nil
	}
	if q.s.Layer != 0 {
		vol, err := q.volumeOf(q.s.Layer)
		if err != nil {
			return err
		}
		vols = append(vols, vol)
	}
	i := 0
	p.tree.inPieces(func() bool {
		if i == len(vols) {
			return false
		}
		if n := p.plans.inFlight(vols[i]); n > 0 {
			q.remain(Remain{State: RemainWriting}, n)
		}
		i++
		return true
	})
	return nil
}

// account is one account, with what has changed since its row was written.
func (q *inquiry) account(birth LayerID) (account, bool, error) {
	a, ok, err := q.p.origins.stored(birth)
	if err != nil {
		return a, false, err
	}
	q.p.mu.Lock()
	defer q.p.mu.Unlock()
	return a, q.p.origins.addChanges(birth, &a) || ok, nil
}

// volumeOf is the volume that a layer is of, or was; 0: it is gone, and so is its account.
func (q *inquiry) volumeOf(id LayerID) (Ino, error) {
	a, _, err := q.account(id)
	if err != nil || a.vol != 0 {
		return a.vol, err
	}
	q.p.mu.Lock()
	defer q.p.mu.Unlock()
	if l := q.p.tree.layers[id]; l != nil {
		return l.line[len(l.line)-1].vol, nil
	}
	return 0, nil
}

// crashes finds jobs of what a crash left claimed, where something of the subject was there then. What of that was only released is of
// births that nobody knows, and no job any more: it may be anybody's for good. Of the pool it finds what waits in jobs and may have been
// released: whoever zeroes all of it, as its end does, does not reach that.
func (q *inquiry) crashes() error {
	q.p.mu.Lock()
	nobodys := q.p.origins.nobodys
	q.p.mu.Unlock()
	if !q.s.Pool && nobodys > 0 {
		q.remain(Remain{State: RemainReleased, UpTo: true}, nobodys)
	}
	var left []*job
	q.p.jobs.eachJob(func(j *job) {
		if n := j.mayBeHoles(); n > 0 && q.s.Pool {
			q.remain(Remain{State: RemainReleased, UpTo: true, ID: j.id}, n)
		}
		if j.ofCrash() {
			left = append(left, j)
		}
	}, func() {})
	vols := slices.Sorted(maps.Keys(q.vols))
	if q.s.Layer != 0 {
		vol, err := q.volumeOf(q.s.Layer)
		if err != nil {
			return err
		}
		vols = append(vols, vol)
	}
	for _, j := range left {
		n := j.dirtyBlocks() + j.badN
		if q.s.Pool { // they are counted as births that nobody knows
			continue
		}
		for _, v := range vols {
			was, err := q.wasThere(v, j)
			if err != nil {
				return err
			}
			if was {
				q.remain(Remain{State: RemainCrash, ID: j.id}, n)
				break
			}
		}
	}
	return nil
}

// wasThere: a volume may have been there when a crash left the blocks of a job. One that was made since may be, too: numbers, and
// so UUIDs, that were given and not durable are given again.
func (q *inquiry) wasThere(vol Ino, j *job) (bool, error) {
	if vol == 0 { // of a layer that is gone nobody knows whose it was
		return true, nil
	}
	v, err := q.volume(vol)
	return v.end == 0 || v.end >= j.id, err
}

// volume is what is known of a volume, with what has changed since its row was written.
func (q *inquiry) volume(vol Ino) (volumeAccount, error) {
	v, _, err := q.p.origins.storedVolume(vol)
	q.p.mu.Lock()
	defer q.p.mu.Unlock()
	q.p.origins.addVolumeChanges(vol, &v)
	return v, err
}

// result sums up.
func (q *inquiry) result() Evidence {
	e := Evidence{
		Written: q.sum.written * BlockSize, Zeroed: q.sum.zeroed * BlockSize, Released: q.sum.released * BlockSize,
		Left: q.sum.left() * BlockSize, First: q.sum.from, Last: q.sum.last,
	}
	if q.sum.released > 0 {
		q.remain(Remain{State: RemainReleased}, q.sum.released)
	}
	for r, n := range q.remains {
		r.Bytes = n * BlockSize
		e.Remains = append(e.Remains, r)
	}
	slices.SortFunc(e.Remains, func(a, b Remain) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.State, b.State), cmp.Compare(a.By, b.By), cmp.Compare(a.ID, b.ID))
	})
	e.Complete = len(e.Remains) == 0 && len(q.open) == 0
	return e
}
