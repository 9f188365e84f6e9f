package chain

import (
	"errors"
	"fmt"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/fault"
	"slatefs/chain/omap"
)

// job is an erase job: the durable list of dirty runs with its history. Every dirty block is in exactly one.
//
// It has three parts. What is freed collects in fresh. Sealing makes it ready: nothing is added to ready any more, and
// it may be zeroed when every plan that is older than the seal is closed and the seal is durable (invariant 11). What
// failed waits in bad until it is sealed again. lending says which blocks of ready are where.
type job struct {
	id      uint64
	vol     Ino
	volume  string // its path when the job was made
	layer   string // name of the snapshot, or what it was
	reason  string
	who     string
	since   time.Time
	fresh   list
	ready   list
	bad     list
	freshN  int64 // guest blocks in each
	readyN  int64
	badN    int64
	cursor  omap.Key // ready has been worked off below it
	freed   int64    // blocks, ever, with those that are kept
	erased  int64
	walks   int // that still bring blocks
	epoch   uint64
	lsn     uint64
	apart   omap.Map[int64] // of ready, above the cursor: worked off already, blocks by (birth, block)
	lent    lending         // what the eraser has of ready
	retryAt time.Time       // of bad
	retries int
	sick    backoff // its lists cannot be read
	mute    bool    // sick, for its day in the log could not be read
	dirty   bool
	story   // what its record in the erase log will say besides
}

var lastKey = omap.Key{Hi: ^uint64(0), Lo: ^uint64(0)}

const (
	reasonOverwritten = "overwritten or discarded"
	reasonSnapshot    = "snapshot destroyed"
	reasonVolume      = "volume destroyed"
	reasonRollback    = "rolled back"
	reasonRecovery    = "recovery"
	reasonInitial     = "initial"
	reasonSwept       = "no clone shows it any more"
)

// dirtyBlocks are those that erasing could make clean now or later; failed ones are not among them.
func (j *job) dirtyBlocks() int64 { return j.freshN + j.readyN }

// attrs are a job's attributes: its story's, and what is apart.
func (j *job) attrs() []codec.Attr {
	if j.apart.Len() == 0 {
		return j.story.attrs()
	}
	var e codec.Encoder
	e.Uint(uint64(j.apart.Len()))
	j.apart.Ascend(omap.Key{}, func(k omap.Key, n int64) bool {
		e.Uint(k.Hi)
		e.Uint(k.Lo)
		e.Int(n)
		return true
	})
	return append([]codec.Attr{{Name: attrApart, Val: e.B}}, j.story.attrs()...)
}

func (j *job) loads() map[string]func(*codec.Decoder) {
	m := j.story.loads()
	m[attrApart] = func(d *codec.Decoder) {
		for range d.LenOf(3) {
			k, n := omap.Key{Hi: d.Uint(), Lo: d.Uint()}, d.Int()
			j.apart.Set(k, n)
		}
	}
	return m
}

func (p *Pool) newJob(vol Ino, volume, layer, reason, who string, when time.Time) *job {
	p.nextJob++
	j := &job{id: p.nextJob, vol: vol, volume: volume, layer: layer, reason: reason, who: who, since: when, cursor: lastKey}
	j.none = p.unscheduled(vol)
	p.jobs[j.id] = j
	p.place(j, func() {})
	if reason == reasonOverwritten {
		p.volJobs[vol] = j
	}
	j.dirty = true
	return j
}

func (p *Pool) addToJob(j *job, r oldRun) {
	p.mu.step(1)
	j.fresh.add(r.birth, r.dev, entry{n: r.n})
	j.freshN += r.n
	j.freed += r.n
	p.addDirty(j, r.n)
	j.dirty = true
	p.poke()
}

// addDirty counts blocks of a job that can be zeroed, or with a negative number can not any more.
func (p *Pool) addDirty(j *job, n int64) {
	p.dirtyN += n
	if j.none {
		p.noneN += n
	}
	if j.sick.failing() {
		p.sickN += n
	}
}

// joinJob makes a whole list part of a job; n guest blocks are in it.
func (p *Pool) joinJob(j *job, l *list, n int64) {
	p.mu.step(1)
	j.fresh.join(l)
	j.freshN += n
	j.freed += n
	p.addDirty(j, n)
	j.dirty = true
	p.poke()
}

// ailing notes that a job's lists, or its day in the log, cannot be read now: it is passed by until its back-off is over,
// and what it would make clean is not available meanwhile. It returns err, as it is marked.
func (p *Pool) ailing(j *job, err error) error {
	if err = wrapCorrupt(err); errors.Is(err, ErrCorrupt) {
		err = fault.Mark(fault.Object, err)
	}
	err = fmt.Errorf("erase job %d: %w", j.id, err)
	if !j.sick.failing() {
		p.sickN += j.dirtyBlocks()
	}
	wait := j.sick.fail(p.opt.Now(), err)
	p.sick[j] = struct{}{}
	time.AfterFunc(wait, p.poke)
	p.log.Error("erase job passed by; it is tried again", "pool", p.name, "job", j.id, "volume", j.volume, "after", wait, "error", err)
	return err
}

// well notes that a job could be read.
func (p *Pool) well(j *job) {
	if j.sick.succeed() {
		p.sickN -= j.dirtyBlocks()
		delete(p.sick, j)
		p.log.Info("erase job goes on", "pool", p.name, "job", j.id, "volume", j.volume)
	}
}

// endJob forgets a job that has nothing left and gets nothing more.
func (p *Pool) endJob(j *job) {
	// Pages in its lists do not count: what a checkpoint brought there replay does not know.
	if j.freshN+j.readyN+j.badN > 0 || j.walks > 0 {
		return
	}
	p.logJob(j)
	p.spend(&j.ready)
	p.spend(&j.fresh)
	delete(p.jobs, j.id)
	p.order.Delete(j.orderKey())
	delete(p.sick, j)
	if p.volJobs[j.vol] == j {
		delete(p.volJobs, j.vol)
	}
	p.gone = append(p.gone, catalog.Key(catalog.Job, j.id))
}

// spend leaves a list that has been worked off to the next checkpoint, which gives its pages back.
func (p *Pool) spend(l *list) {
	if !l.empty() {
		p.spent = append(p.spent, *l)
	}
	*l = list{}
}
