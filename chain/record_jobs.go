package chain

import (
	"fmt"
	"slices"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// recJob: the job that collects what a volume overwrites and discards.
type recJob struct {
	vol  Ino
	when time.Time
}

func (r *recJob) encode(e *codec.Encoder) { e.Uint(uint64(r.vol)); e.Time(r.when) }

func (r *recJob) decode(d *codec.Decoder) { r.vol, r.when = Ino(d.Uint()), d.Time() }

func (r *recJob) warm(p *Pool) { p.names.warm(r.vol) }

func (r *recJob) apply(p *Pool) error {
	p.jobs.newJob(r.vol, p.names.pathOf(r.vol), "", reasonOverwritten, "", r.when)
	return nil
}

// recSeal: what a job collected (or what failed) is the next to be erased.
type recSeal struct {
	job uint64
	bad bool
}

func (r *recSeal) encode(e *codec.Encoder) { e.Uint(r.job); e.Bool(r.bad) }

func (r *recSeal) decode(d *codec.Decoder) { r.job, r.bad = d.Uint(), d.Bool() }

func (*recSeal) cuts() bool { return true }

func (r *recSeal) apply(p *Pool) error {
	j := p.jobs.all[r.job]
	if j == nil || j.readyN != 0 {
		return fmt.Errorf("seal of erase job %d: %w", r.job, ErrCorrupt)
	}
	p.jobs.touchJob(j)
	p.jobs.spend(&j.ready)
	j.cursor, j.apart, j.lent = omap.Key{}, omap.Map[int64]{}, lending{}
	j.holes.seal(r.bad)
	if r.bad {
		j.ready.Move(&j.bad)
		j.readyN, j.badN = j.badN, 0
		p.jobs.failedN -= j.readyN
		p.jobs.addDirty(j, j.readyN)
	} else {
		j.ready.Move(&j.fresh)
		j.readyN, j.freshN = j.freshN, 0
	}
	j.epoch, j.lsn = p.plans.epochs.seal(), p.commits.lsn
	p.jobs.turns.want(j)
	p.jobs.endJob(j)
	return nil
}

// recHoles: what lies below a place of a job's ready part may be released from now on.
type recHoles struct {
	job  uint64
	upTo meta.Key
}

func (r *recHoles) encode(e *codec.Encoder) { e.Uint(r.job); e.Key(r.upTo) }

func (r *recHoles) decode(d *codec.Decoder) { r.job, r.upTo = d.Uint(), d.Key() }

func (r *recHoles) apply(p *Pool) error {
	j := p.jobs.all[r.job]
	if j == nil {
		return fmt.Errorf("holes of erase job %d: %w", r.job, ErrCorrupt)
	}
	p.jobs.touchJob(j)
	j.holes.upTo = omap.Key(r.upTo)
	return nil
}

// recErased: runs of a job are zero, others failed; the job has been worked off up to the key. How they were zeroed
// is told when it is not as this process told before.
type recErased struct {
	job            uint64
	upTo           meta.Key
	zeroed, failed []runs.Run
	when           time.Time
	told           bool
	how            How
}

func (r *recErased) encode(e *codec.Encoder) {
	e.Uint(r.job)
	e.Key(r.upTo)
	runs.Encode(e, r.zeroed)
	runs.Encode(e, r.failed)
	encodeTold(e, r.when, r.told, r.how)
}

func (r *recErased) decode(d *codec.Decoder) {
	r.job, r.upTo, r.zeroed, r.failed = d.Uint(), d.Key(), runs.Decode(d), runs.Decode(d)
	r.when, r.told, r.how = decodeTold(d)
}

func (*recErased) cuts() bool { return true }

func (r *recErased) apply(p *Pool) error {
	j := p.jobs.all[r.job]
	if j == nil {
		return fmt.Errorf("erase job %d: %w", r.job, ErrCorrupt)
	}
	p.jobs.touchJob(j)
	j.cursor = omap.Key(r.upTo)
	j.apart = *j.apart.CutAt(j.cursor)
	return p.jobs.workOff(j, r.zeroed, r.failed, r.when, r.told, r.how)
}

// recErasedPlain: the same without births, as journals have it that were written before births stood in it. Nobody makes one.
type recErasedPlain struct {
	job            uint64
	upTo           meta.Key
	zeroed, failed []alloc.Run
	when           time.Time
	told           bool
	how            How
}

func (r *recErasedPlain) encode(e *codec.Encoder) {
	e.Uint(r.job)
	e.Key(r.upTo)
	e.Runs(r.zeroed)
	e.Runs(r.failed)
	encodeTold(e, r.when, r.told, r.how)
}

func (r *recErasedPlain) decode(d *codec.Decoder) {
	r.job, r.upTo, r.zeroed, r.failed = d.Uint(), d.Key(), d.Runs(), d.Runs()
	r.when, r.told, r.how = decodeTold(d)
}

func (*recErasedPlain) cuts() bool { return true }

func (r *recErasedPlain) apply(p *Pool) error {
	with := recErased{r.job, r.upTo, bornIn(0, r.zeroed), bornIn(0, r.failed), r.when, r.told, r.how}
	return with.apply(p)
}

// bornIn are runs of one birth; 0: nobody knows which.
func bornIn(birth LayerID, rs []alloc.Run) []runs.Run {
	out := make([]runs.Run, 0, len(rs))
	for _, r := range rs {
		out = append(out, runs.Run{Dev: r.Start, Len: r.Len, Birth: birth})
	}
	return out
}

// recApart: as recErased, of runs that lie above the cursor, which stays where it is.
type recApart struct {
	job            uint64
	zeroed, failed []runs.Run
	when           time.Time
	told           bool
	how            How
}

func (r *recApart) encode(e *codec.Encoder) {
	e.Uint(r.job)
	runs.Encode(e, r.zeroed)
	runs.Encode(e, r.failed)
	encodeTold(e, r.when, r.told, r.how)
}

func (r *recApart) decode(d *codec.Decoder) {
	r.job, r.zeroed, r.failed = d.Uint(), runs.Decode(d), runs.Decode(d)
	r.when, r.told, r.how = decodeTold(d)
}

func (*recApart) cuts() bool { return true }

func (r *recApart) apply(p *Pool) error {
	j := p.jobs.all[r.job]
	if j == nil {
		return fmt.Errorf("erase job %d: %w", r.job, ErrCorrupt)
	}
	p.jobs.touchJob(j)
	for _, o := range slices.Concat(r.zeroed, r.failed) {
		j.apart.Set(runs.Key(o.Birth, o.Dev), o.Len)
	}
	return p.jobs.workOff(j, r.zeroed, r.failed, r.when, r.told, r.how)
}

// recFirst: a job goes before all others.
type recFirst struct{ job uint64 }

func (r *recFirst) encode(e *codec.Encoder) { e.Uint(r.job) }

func (r *recFirst) decode(d *codec.Decoder) { r.job = d.Uint() }

func (r *recFirst) apply(p *Pool) error {
	j := p.jobs.all[r.job]
	if j == nil {
		return fmt.Errorf("erase job %d goes first: %w", r.job, ErrCorrupt)
	}
	top := p.jobs.topRank()
	p.jobs.touchJob(j)
	p.jobs.place(j, func() { j.rank = top + 1 })
	return nil
}
