package chain

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/evidence"
	"slatefs/chain/fault"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// jobQueue has what is to be erased: jobs in their order, what is handed out of each, and the log of those that have ended. The plan
// lock guards it.
type jobQueue struct {
	*core
	health  *health
	commits *commitLog
	plans   *planTable
	blocks  *blockSpace
	names   *nameTable
	origins *originTable
	memory  *memory

	gate      gate[*job, jobRow]          // mu: that jobs change by
	all       map[uint64]*job             // mu
	order     omap.Map[*job]              // mu: the same, as they are erased
	turns     jobTurns                    // mu
	handouts  map[blockdev.Token]*handout // mu
	lastToken blockdev.Token              // mu
	byVol     map[Ino]*job                // mu: the one that collects what a volume overwrites
	growing   map[Ino]*job                // mu: the one that gets the layers of a volume which loses some at a time
	spent     []*runs.List                // mu: worked off since the last checkpoint
	chain     logChain                    // mu
	logN      int64                       // mu: rows of lines, and of records from before the chain
	lines     omap.Map[*evidence.Row]     // mu: of days that are not over, by linePlace
	oldGone   uint64                      // mu: of records from before the chain, the rows of those of jobs up to this one are gone
	told      []told                      // mu: records that nobody was told of yet
	export    func([]EraseRecord) error   // mu
	exportAt  time.Time                   // mu: not tried again before
	dirtyN    int64                       // mu: blocks in jobs that can be zeroed
	noneN     int64                       // mu: part of them: in jobs of erase=none
	sickN     int64                       // mu: part of them: in jobs that are failing
	failedN   int64                       // mu
	crashN    int                         // mu: jobs of what crashes left
	cleaned   int64                       // mu: blocks erased, by this process
	demand    int                         // mu: calls of it that run
}

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
	fresh   runs.List
	ready   runs.List
	bad     runs.List
	freshN  int64 // guest blocks in each
	readyN  int64
	badN    int64
	cursor  omap.Key // ready has been worked off below it
	freed   int64    // blocks, ever, with those that are kept
	erased  int64
	walks   int // that still bring blocks, or give back pages
	sorting int // of them, those that bring blocks
	epoch   uint64
	lsn     uint64
	apart   omap.Map[int64] // of ready, above the cursor: worked off already, blocks by (birth, block)
	lent    lending         // what the eraser has of ready
	holes   holes
	retryAt time.Time // of bad
	retries int
	holesAt uint64        // the record that made holes what they are; 0 after a load: what Open replays is durable then
	sick    fault.Backoff // its lists cannot be read
	gateMark
	copied *omap.Map[int64] // of apart, for the row that it waits for
	at     jobPlace         // in the queue
	mem    int64            // bytes that are dirty since the last cut
	story                   // what its record in the erase log will say besides
}

var lastKey = omap.Key{Hi: ^uint64(0), Lo: ^uint64(0)}

const (
	reasonOverwritten = "overwritten or discarded"
	reasonSnapshot    = "snapshot destroyed"
	reasonVolume      = "volume destroyed"
	reasonRollback    = evidence.ReasonRollback
	reasonRecovery    = "recovery"
	reasonRepair      = "repair"
	reasonInitial     = "initial"
	reasonSwept       = "no clone shows it any more"
	reasonNothing     = "destroyed, and owned nothing"
	reasonCut         = "the log was cut"
	reasonClosed      = "nothing is left of what was written to these"
	reasonGone        = "nothing is left of all that was ever written to the volume"
)

// dirtyBlocks are those that erasing could make clean now or later; failed ones are not among them.
func (j *job) dirtyBlocks() int64 { return j.freshN + j.readyN }

func (j *job) loads() map[string]func(*codec.Decoder) {
	m := j.story.loads()
	m[attrApart] = func(d *codec.Decoder) {
		for range d.LenOf(3) {
			k, n := omap.Key{Hi: d.Uint(), Lo: d.Uint()}, d.Int()
			j.apart.Set(k, n)
		}
	}
	m[attrHoles] = func(d *codec.Decoder) { j.holes = holes{upTo: omap.Key(d.Key()), bad: d.Bool()} }
	return m
}

func (jq *jobQueue) newJob(vol Ino, volume, layer, reason, who string, when time.Time) *job {
	jq.mu.assertHeld()
	jq.commits.nextJob++
	j := &job{id: jq.commits.nextJob, vol: vol, volume: volume, layer: layer, reason: reason, who: who, since: when, cursor: lastKey}
	j.none = jq.names.unscheduled(vol)
	if reason != reasonInitial { // nobody freed that
		j.within = jq.names.within(vol)
	}
	jq.all[j.id] = j
	jq.countCrash(j, 1)
	jq.place(j, func() {})
	if reason == reasonOverwritten {
		jq.byVol[vol] = j
	}
	jq.touchJob(j)
	return j
}

// nextRow takes a row of the cut that has begun, or a part of one, and tells whether there is more.
func (jq *jobQueue) nextRow() (more bool) {
	if j, waits := jq.gate.first(); waits && !j.copyApart(apartAtOnce) {
		jq.mu.step(apartAtOnce)
		return true
	}
	return jq.gate.next()
}

// apartAtOnce is how much of what is apart is copied in one part.
const apartAtOnce = 4

// countCrash counts a job that has come or gone, if it has what a crash left.
func (jq *jobQueue) countCrash(j *job, n int) {
	if j.ofCrash() {
		jq.crashN += n
	}
}

// ofCrash: it has what a crash left claimed, or a repair found that nothing names, and nobody knows whose that was.
func (j *job) ofCrash() bool {
	return j.vol == 0 && (j.reason == reasonRecovery || j.reason == reasonRepair)
}

// touchJob: j is about to change.
func (jq *jobQueue) touchJob(j *job) { jq.gate.pass(j) }

func (jq *jobQueue) addToJob(j *job, r runs.Run) {
	jq.mu.assertHeld()
	jq.mu.step(1)
	jq.touchJob(j)
	j.fresh.Add(r.Birth, r.Dev, runs.Entry{Len: r.Len})
	j.freshN += r.Len
	j.freed += r.Len
	jq.addDirty(j, r.Len)
	jq.memory.note(&j.mem, memJob(j))
	jq.turns.want(j)
	jq.poke()
}

// addDirty counts blocks of a job that can be zeroed, or with a negative number can not any more.
func (jq *jobQueue) addDirty(j *job, n int64) {
	jq.dirtyN += n
	if j.none {
		jq.noneN += n
	}
	if j.sick.Failing() {
		jq.sickN += n
	}
}

// joinJob makes a whole list part of a job; n guest blocks are in it.
func (jq *jobQueue) joinJob(j *job, l *runs.List, n int64) {
	jq.mu.assertHeld()
	jq.mu.step(1)
	jq.touchJob(j)
	j.fresh.Join(l)
	j.freshN += n
	j.freed += n
	jq.addDirty(j, n)
	jq.memory.note(&j.mem, memJob(j))
	jq.turns.want(j)
	jq.poke()
}

// ailing notes that a job's lists cannot be read now: it is passed by until its back-off is over,
// and what it would make clean is not available meanwhile. It returns err, as it is marked.
func (jq *jobQueue) ailing(j *job, err error) error {
	if err = wrapCorrupt(err); errors.Is(err, ErrCorrupt) {
		err = fault.Mark(fault.Object, err)
	}
	err = fmt.Errorf("erase job %d: %w", j.id, err)
	if !j.sick.Failing() {
		jq.sickN += j.dirtyBlocks()
	}
	wait := j.sick.Fail(jq.opt.Now(), err, lastRetry)
	jq.health.troubles.set(&j.sick, fmt.Sprintf("erase job %d, of %s", j.id, cmp.Or(j.volume, "nobody")), false)
	time.AfterFunc(wait, jq.poke)
	jq.mu.say(jq.log, slog.LevelError, "erase job passed by; it is tried again", "pool", jq.name, "job", j.id,
		"volume", j.volume, "after", wait, "error", err)
	return err
}

// well notes that a job could be read.
func (jq *jobQueue) well(j *job) {
	if j.sick.Succeed() {
		jq.sickN -= j.dirtyBlocks()
		jq.health.troubles.drop(&j.sick)
		jq.turns.want(j)
		jq.mu.say(jq.log, slog.LevelInfo, "erase job goes on", "pool", jq.name, "job", j.id, "volume", j.volume)
	}
}

// workedOff: nothing is left of a job's blocks, and it gets no more. Pages in its lists do not count: what a checkpoint brought
// there replay does not know.
func (j *job) workedOff() bool { return j.freshN+j.readyN+j.badN == 0 && j.sorting == 0 && !j.more }

// logEnded writes the record of a job when nothing is left of its blocks, once. It does not wait for walks that just give back
// pages: after a crash these do it again, and records of the log must come in the order in which they came.
func (jq *jobQueue) logEnded(j *job) {
	if j.workedOff() && !j.logged {
		jq.touchJob(j)
		j.logged = true
		jq.logJob(j)
	}
}

// endJob forgets a job that has nothing left and gets nothing more.
func (jq *jobQueue) endJob(j *job) {
	jq.mu.assertHeld()
	jq.logEnded(j)
	if !j.workedOff() || j.walks > 0 {
		return
	}
	jq.gate.end(j)
	jq.spend(&j.ready)
	jq.spend(&j.fresh)
	delete(jq.all, j.id)
	jq.countCrash(j, -1)
	jq.order.Delete(j.orderKey())
	jq.turns.drop(j)
	jq.health.troubles.drop(&j.sick)
	if jq.byVol[j.vol] == j {
		delete(jq.byVol, j.vol)
	}
	jq.names.gone = append(jq.names.gone, catalog.Key(catalog.Job, j.id))
}

// spend leaves a list that has been worked off to the next checkpoint, which gives its pages back.
func (jq *jobQueue) spend(l *runs.List) {
	if l.Empty() {
		*l = runs.List{}
		return
	}
	spent := &runs.List{}
	spent.Move(l)
	jq.spent = append(jq.spent, spent)
}
