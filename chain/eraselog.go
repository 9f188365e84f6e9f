package chain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// The erase log is what can be told of blocks after they are gone. A job's last change, the one that ends it, writes its
// record: it is the same batch of the journal, so no job ends without one and none has two. What a volume overwrites
// and discards has no end: that is added up, a line for each day and volume.
//
// In every record freed = erased + failed + kept, and nothing is queued; in every job freed = erased + queued + failed +
// kept. Check proves both.

// EraseRecord is one record of the erase log. Numbers are bytes.
type EraseRecord struct {
	ID       uint64 // of the job; 0 for a day's line
	Day      string // of a day's line, in UTC
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
}

// logRow is a record as it lies in the catalog.
type logRow struct {
	vol            Ino
	volume, layer  string
	layers         []LayerID
	reason, who    string
	none           bool
	freed, erased  int64 // blocks; erased with released
	released, kept int64
	keptBy         string
	how            How
	since          time.Time
	first, last    time.Time
	deadline
}

func (r *logRow) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(r.vol))
	e.Str(r.volume)
	e.Str(r.layer)
	e.Births(r.layers)
	e.Str(r.reason)
	e.Str(r.who)
	e.Bool(r.none)
	for _, n := range []int64{r.freed, r.erased, r.released, r.kept} {
		e.Int(n)
	}
	e.Str(r.keptBy)
	r.how.encode(&e)
	e.Time(r.since)
	e.Time(r.first)
	e.Time(r.last)
	e.Attrs(r.deadlineAttrs())
	return e.B
}

func (r *logRow) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	r.vol, r.volume, r.layer, r.layers = Ino(d.Uint()), d.Str(), d.Str(), d.Births()
	r.reason, r.who, r.none = d.Str(), d.Str(), d.Bool()
	for _, n := range []*int64{&r.freed, &r.erased, &r.released, &r.kept} {
		*n = d.Int()
	}
	r.keptBy, r.how = d.Str(), decodeHow(&d)
	r.since, r.first, r.last = d.Time(), d.Time(), d.Time()
	d.Attrs(map[string]func(*codec.Decoder){attrDeadline: r.decodeDeadline})
	for _, n := range []int64{r.freed, r.erased, r.released, r.kept} {
		if n > maxLogged {
			d.Fail("number out of range")
		}
	}
	return wrapCorrupt(d.Done())
}

// maxLogged bounds the blocks of a record: a pool has 2^40, and may be overwritten some times a day.
const maxLogged = 1 << 50

// adds tells whether the record's numbers add up.
func (r *logRow) adds() bool { return r.freed == r.erased+r.kept && r.released <= r.erased }

func dayOf(t time.Time) uint64 { return uint64(max(0, t.Unix()) / 86400) }

func dailyKey(vol Ino, day uint64) meta.Key {
	return meta.Key{Hi: catalog.Key(catalog.Daily, uint64(vol)).Hi, Lo: day}
}

// record is a row as others see it.
func (jq *jobQueue) record(k meta.Key, r *logRow) EraseRecord {
	e := EraseRecord{
		Pool: jq.name, PoolUUID: jq.uuid, Device: r.how.Device, Volume: r.volume, Snapshot: r.layer, Reason: r.reason, Who: r.who,
		None: r.none, Freed: r.freed * BlockSize, Erased: (r.erased - r.released) * BlockSize, Released: r.released * BlockSize,
		Kept: r.kept * BlockSize, KeptBy: r.keptBy, Method: r.how.Method, Verify: r.how.Verify, Program: r.how.Program,
		Since: r.since, First: r.first, Last: r.last, Within: r.within, Late: r.late * BlockSize, Longest: r.longest,
	}
	if catalog.Kind(k.Hi>>56) == catalog.Log {
		e.ID = k.Hi & (1<<56 - 1)
	} else {
		e.Day = time.Unix(int64(k.Lo)*86400, 0).UTC().Format(time.DateOnly)
	}
	if r.vol != 0 {
		e.VolumeUUID = jq.volumeUUID(r.vol)
	}
	for _, l := range r.layers {
		e.Layers = append(e.Layers, jq.layerUUID(l))
	}
	return e
}

// daily: a job that has no record of its own.
func (j *job) daily() bool { return strings.HasPrefix(j.reason, reasonOverwritten) }

// logJob writes the record of a job that ends.
func (jq *jobQueue) logJob(j *job) {
	if j.daily() || j.freed == 0 && (len(j.layers) == 0 || j.who == "") {
		return // nothing was there, or nobody has destroyed what was
	}
	r := logRow{
		vol: j.vol, volume: j.volume, layer: j.layer, layers: j.layers, reason: j.reason, who: j.who, none: j.none,
		freed: j.freed, erased: j.erased, released: j.released, kept: j.kept, keptBy: j.keptBy, how: j.how,
		since: j.since, first: j.begun, last: j.last, deadline: j.deadline,
	}
	k := catalog.Key(catalog.Log, j.id)
	for _, part := range catalog.Parts(k, r.marshal()) {
		jq.names.cat.Put(part.Key, part.Val)
	}
	jq.logN++
	jq.tell(jq.record(k, &r))
}

// logDay adds blocks that were zeroed to the line of their volume and day.
func (jq *jobQueue) logDay(j *job, n int64, when time.Time) error {
	k := dailyKey(j.vol, dayOf(when))
	v, ok, err := jq.names.cat.Get(k)
	if err != nil {
		return fmt.Errorf("erase log of volume %d: %w", j.vol, wrapCorrupt(err))
	}
	r := logRow{vol: j.vol, reason: reasonOverwritten, since: j.since, first: when}
	if ok {
		if err := r.unmarshal(v); err != nil {
			return fmt.Errorf("erase log of volume %d: %w", j.vol, err)
		}
	} else {
		jq.logN++
	}
	if r.volume = j.volume; len(r.volume) > maxLogPath {
		r.volume = r.volume[len(r.volume)-maxLogPath:]
	}
	r.freed += n
	r.erased += n
	if j.how.Releases {
		r.released += n
	}
	r.none, r.how, r.last = r.none || j.none, r.how.and(j.how), when
	r.addDeadline(n, j.within, when.Sub(j.since))
	jq.names.cat.Put(k, r.marshal())
	jq.tellDays(k, &r)
	return nil
}

// maxLogPath bounds the path in a day's line, which has one part; of a longer one the end is kept.
const maxLogPath = 400

// zeroedBy takes the report of an erase record into the job and the log.
func (jq *jobQueue) zeroedBy(j *job, n int64, when time.Time, told bool, how How) error {
	if told {
		j.how = j.how.and(how)
	}
	if n == 0 {
		return nil
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
		return jq.logDay(j, n, when)
	}
	return nil
}

// logReadable tells whether zeroedBy will find what it needs, while nothing has changed yet.
func (jq *jobQueue) logReadable(j *job, when time.Time) error {
	if !j.daily() {
		return nil
	}
	_, _, err := jq.names.cat.Get(dailyKey(j.vol, dayOf(when)))
	return err
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

// tellDays keeps the line of each volume for the day, and tells the lines of a day that is over.
func (jq *jobQueue) tellDays(k meta.Key, r *logRow) {
	for vol, e := range jq.today {
		if e.Day != jq.record(k, r).Day {
			jq.tell(e)
			delete(jq.today, vol)
		}
	}
	jq.today[r.vol] = jq.record(k, r)
}

// Told returns the records that came to the log since the last call and are durable: those of jobs, and the lines of
// days that are over. After a crash some may come again.
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

// EraseLog lists the erase log, the oldest first. It holds the plan lock for some records at a time.
func (p *Pool) EraseLog() ([]EraseRecord, error) {
	var out []EraseRecord
	err := p.jobs.eachLog(func(k meta.Key, r *logRow) { out = append(out, p.jobs.record(k, r)) })
	slices.SortStableFunc(out, func(a, b EraseRecord) int {
		return cmp.Or(a.Last.Compare(b.Last), a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return out, err
}

// logPage is how many rows of the log are read under one hold of the lock.
const logPage = 128

func (jq *jobQueue) eachLog(fn func(meta.Key, *logRow)) error {
	for from := (meta.Key{Hi: catalog.Key(catalog.Log, 1).Hi}); ; {
		type row struct {
			at meta.Key
			r  *logRow
		}
		var some []row
		var next meta.Key
		more := false
		err := jq.commits.underPlan(func() error {
			some, more = nil, false
			see := func(at meta.Key, r *logRow) { some = append(some, row{at, r}) }
			return jq.logFrom(from, logPage, see, func(at meta.Key) { next, more = at, true })
		})
		for _, o := range some {
			fn(o.at, o.r)
		}
		if err != nil || !more {
			return err
		}
		from = next
	}
}

// logFrom calls fn for up to n rows from a key on, and then more with where to go on.
func (jq *jobQueue) logFrom(from meta.Key, n int, fn func(meta.Key, *logRow), more func(meta.Key)) error {
	var at meta.Key
	var val []byte
	var inner error
	flush := func() bool {
		if val != nil && inner == nil {
			var r logRow
			if inner = r.unmarshal(val); inner == nil {
				fn(at, &r)
			} else {
				inner = fmt.Errorf("erase log: row %d/%d of %x: %w", at.Hi>>56, at.Hi&(1<<56-1), at.Lo, inner)
			}
			n--
		}
		val = nil
		return inner == nil
	}
	err := jq.names.cat.Scan(from, func(k meta.Key, v []byte) bool {
		kind := catalog.KindOf(k)
		if kind != catalog.Log && kind != catalog.Daily {
			return false
		}
		if kind == catalog.Log && k.Lo > 0 && val != nil { // the next part
			val = append(val, v...)
			return true
		}
		if !flush() {
			return false
		}
		if n <= 0 {
			more(k)
			return false
		}
		at, val = k, append([]byte{}, v...)
		return true
	})
	if err != nil {
		return wrapCorrupt(err)
	}
	flush()
	return inner
}

// logBound is how many records stay: the log takes about a hundredth of a small pool, and 16,384 records at most.
func (jq *jobQueue) logBound() int64 { return min(max(jq.blocks.alloc.Total()/32, 32), 1<<14) }

// SetLogExport installs what is given the records that are about to leave the log, the oldest first. While it fails
// they stay, until the log is twice as long as it should be.
func (p *Pool) SetLogExport(fn func([]EraseRecord) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs.export = fn
}

func (jq *jobQueue) logFull() bool {
	return jq.logN > jq.logBound() && !jq.opt.Now().Before(jq.exportAt)
}

// forgetAtOnce bounds the records that one batch takes out of the log.
const forgetAtOnce = 128

func (jq *jobQueue) marshalLogCount() []byte {
	e := codec.Encoder{}
	e.Int(jq.logN)
	return e.B
}

func (jq *jobQueue) loadLogCount() error {
	v, ok, err := jq.names.cat.Get(catalog.Key(catalog.Log, 0))
	if err != nil || !ok {
		return err
	}
	d := codec.Decoder{B: v}
	jq.logN = d.Int()
	return wrapCorrupt(d.Done())
}

// logClosed writes the record of accounts that were closed.
func (jq *jobQueue) logClosed(*recClosed, int64) {}
