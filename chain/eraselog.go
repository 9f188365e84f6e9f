package chain

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
)

// The erase log is what can be told of blocks after they are gone. It is a chain (package evidence, logchain.go): each record
// has a number and the hash of the one before it. A job's last change, the one that ends it, writes its record: it is the same
// batch of the journal, so no job ends without one and none has two. What a volume overwrites and discards has no end: that is
// added up, a line for each day and volume (loglines.go), which becomes a record when the day is over.
//
// In every record freed = erased + failed + kept, and nothing is queued; in every job freed = erased + queued + failed +
// kept. Check proves both, and the chain.

// EraseRecord is one record of the erase log. Numbers are bytes.
type EraseRecord struct {
	Kind   evidence.Kind
	Seq    uint64         // its number in the chain; 0: a line whose day is not over, or a record from before there was a chain
	Before bool           // that
	Entry  evidence.Entry // as it stands in the chain, with its canonical bytes; of a Seq
	Row    *evidence.Row  // all that it says

	ID       uint64 // of the job; 0 for a line
	Day      string // of a line, in UTC
	Pool     string
	PoolUUID uuid.UUID
	Device   string // as the eraser names it

	Volume     string    // path when it was freed
	VolumeUUID uuid.UUID // zero: of no volume
	Snapshot   string
	Layers     []uuid.UUID // destroyed layers
	Reason     string
	Who        string
	None       bool // erase=none: zeroed only where it was reused; never called erased

	Freed    int64 // what the destroyed things owned
	Erased   int64
	Released int64 // zero to read, but not erased below: never called erased
	Failed   int64
	Kept     int64 // still shown by others when it was destroyed, by those in KeptBy
	KeptBy   string

	Method, Verify, Program string
	Since                   time.Time // freed
	First, Last             time.Time // zeroed

	Within  time.Duration // erase_deadline, from Since to Last; 0: none
	Late    int64         // part of Erased and Released: zero only after that
	Longest time.Duration // that any of it took

	Written int64 // of a record that says that nothing is left of what was ever written to the layers

	Cut *evidence.Summary // of a record that says that the log was cut
}

// RecordOf is a row of a pool's log as others see it.
func RecordOf(pool string, id uuid.UUID, r *evidence.Row) EraseRecord {
	e := EraseRecord{
		Kind: r.Kind, Row: r, Pool: pool, PoolUUID: id, Device: r.How.Device, Volume: r.Path, Snapshot: r.Name, Reason: r.Reason, Who: r.Who,
		None: r.None, Freed: r.Freed * BlockSize, Erased: (r.Erased - r.Released) * BlockSize, Released: r.Released * BlockSize,
		Kept: r.Kept * BlockSize, KeptBy: r.KeptBy, Method: r.How.Method, Verify: r.How.Verify, Program: r.How.Program,
		Since: r.Since, First: r.First, Last: r.Last, Within: r.Deadline.Within, Late: r.Deadline.Late * BlockSize, Longest: r.Deadline.Longest,
		Written: r.Written * BlockSize, Cut: r.Cut,
	}
	switch r.Kind {
	case evidence.Job:
		e.ID = r.Number
	case evidence.Day, evidence.Nothing:
		e.Day = time.Unix(int64(r.Number)*86400, 0).UTC().Format(time.DateOnly)
	case evidence.Cut, evidence.Closed:
	}
	if r.Volume != 0 {
		e.VolumeUUID = evidence.VolumeUUID(id, r.Volume)
	}
	for _, l := range r.Layers {
		e.Layers = append(e.Layers, evidence.LayerUUID(id, l))
	}
	return e
}

// record is a record of this pool's log.
func (jq *jobQueue) record(o logged) EraseRecord {
	e := RecordOf(jq.name, jq.uuid, o.row)
	e.Before = catalog.KindOf(o.key) == catalog.Log
	if e.Seq = o.entry.Seq; e.Seq != 0 {
		e.Entry = o.entry
	}
	return e
}

// logJob writes the record of a job that ends.
func (jq *jobQueue) logJob(j *job) {
	if j.daily() || j.freed == 0 && (len(j.layers) == 0 || j.who == "") {
		return // nothing was there, or nobody has destroyed what was
	}
	if j.freed == 0 {
		jq.logNothing(j)
		return
	}
	jq.appendRow(&evidence.Row{
		Kind: evidence.Job, Number: j.id, Volume: uint64(j.vol), Path: j.volume, Name: j.layer, Layers: j.layers, Reason: j.reason, Who: j.who, None: j.none,
		Freed: j.freed, Erased: j.erased, Released: j.released, Kept: j.kept, KeptBy: j.keptBy, How: j.how,
		Since: j.since, First: j.begun, Last: j.last, Deadline: j.outcome(),
	})
}

// zeroedBy takes the report of an erase record into the job and the log.
func (jq *jobQueue) zeroedBy(j *job, n int64, when time.Time, told bool, how How) {
	if told {
		j.how = j.how.And(how)
	}
	if n == 0 {
		return
	}
	if j.begun.IsZero() {
		j.begun = when
	}
	j.last = when
	if !j.none {
		j.took(n, when.Sub(j.since))
	}
	if j.how.Releases {
		j.released += n
	}
	if j.daily() {
		jq.logDay(j, n, when)
	}
}

// told is what this process has to tell others, and since which record it is durable.
type told struct {
	lsn uint64
	rec EraseRecord
}

// maxTold bounds what waits to be told; the oldest is dropped. It is in the log all the same.
const maxTold = 4096

func (jq *jobQueue) tell(r EraseRecord) {
	if jq.opt.ReadOnly {
		return
	}
	if len(jq.told) >= maxTold {
		jq.told = jq.told[1:]
	}
	jq.told = append(jq.told, told{jq.commits.lsn, r})
}

// daily: a job that has no record of its own.
func (j *job) daily() bool { return strings.HasPrefix(j.reason, reasonOverwritten) }

// Told returns the records that came to the log since the last call and are durable. After a crash some may come again.
func (p *Pool) Told() (out []EraseRecord) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.jobs.told) && p.jobs.told[n].lsn <= p.commits.durable {
		out = append(out, p.jobs.told[n].rec)
		n++
	}
	p.jobs.told = p.jobs.told[n:]
	return out
}

// EraseLog lists the erase log, the oldest first: what is from before the chain, the chain, then the lines of the days that
// are not over. It holds the plan lock for some records at a time.
func (p *Pool) EraseLog() (out []EraseRecord, err error) {
	err = p.jobs.eachRecord(0, func(recs []EraseRecord) error {
		out = append(out, recs...)
		return nil
	})
	return out, err
}

// eachRecord is EraseLog.Each.
func (jq *jobQueue) eachRecord(from uint64, fn func([]EraseRecord) error) error {
	at := logStart(from)
	for !at.end {
		some, err := jq.readLog(&at)
		recs := make([]EraseRecord, len(some))
		for i, o := range some {
			recs[i] = jq.record(o)
		}
		if err = errors.Join(fn(recs), err); err != nil {
			return err
		}
	}
	return nil
}

// logClosed writes the record of accounts that were closed: so many blocks were ever written to their layers, and each is in
// the record of what zeroed it.
func (jq *jobQueue) logClosed(r *recClosed, written int64) {
	row := evidence.Row{
		Kind: evidence.Closed, Volume: uint64(r.vol), Path: r.path, Reason: reasonClosed, Written: written, Since: r.from, Last: r.last,
	}
	if r.all {
		row.Reason = reasonGone
	}
	for _, l := range r.layers {
		row.Layers = append(row.Layers, l.id)
	}
	jq.appendRow(&row)
}
