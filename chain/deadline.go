package chain

import (
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/codec"
	"slatefs/chain/evidence"
	"slatefs/chain/omap"
)

// erase_deadline is the longest that what is freed may take until it is zero. As with erase=none, what holds for a volume goes
// into each job when that is made, and stays. The time of a job begins when its first block was freed. The job that collects
// what a volume overwrites would be as old as the volume's first write for ever: while something of it is being zeroed, or
// failed, what is freed goes to another, whose time begins then (Volume.job).
//
// Jobs with a deadline go before those without, the one that is due first before the others: no other order keeps more of
// them. Who must be zeroed how fast for that is the eraser's to find out, from Deadlines.

// deadline is what a job was promised, and what came of it so far. It lies in an attribute of the job's row, and of its record
// in the erase log.
type deadline struct {
	within  time.Duration // from when it was freed; 0: nothing is promised
	late    int64         // blocks that were zero only after that
	longest time.Duration // that a block took
}

const attrDeadline = "deadline"

// outcome is what a record says of it.
func (d *deadline) outcome() evidence.Deadline {
	return evidence.Deadline{Within: d.within, Late: d.late, Longest: d.longest}
}

func (d *deadline) decodeDeadline(c *codec.Decoder) { *d = deadlineOf(evidence.DecodeDeadline(c)) }

func deadlineOf(l evidence.Deadline) deadline { return deadline{l.Within, l.Late, l.Longest} }

// deadlineAttrs is the attribute, where something was promised.
func (d *deadline) deadlineAttrs() []codec.Attr {
	if d.within == 0 {
		return nil
	}
	var e codec.Encoder
	d.outcome().Encode(&e)
	return []codec.Attr{{Name: attrDeadline, Val: e.B}}
}

// took counts blocks that were zero so long after they were freed.
func (d *deadline) took(n int64, after time.Duration) {
	if d.within == 0 {
		return
	}
	d.longest = max(d.longest, after)
	if after > d.within {
		d.late += n
	}
}

// addDeadline is the sum of several, for the line of a day: what is promised last holds.
func (d *deadline) addDeadline(n int64, within, after time.Duration) {
	if within == 0 {
		return
	}
	d.within = within
	d.took(n, after)
}

// due is when all of a job is to be zero; zero: at no time. Of what is not scheduled nothing is promised.
func (j *job) due() time.Time {
	if j.within == 0 || j.none {
		return time.Time{}
	}
	return j.since.Add(j.within)
}

// followed tells whether what a volume frees now goes to another job than this one: see the top.
func (j *job) followed() bool { return j.within > 0 && j.readyN+j.badN > 0 }

// Of the order's key, Hi has whether a job is unscheduled, its rank, and the second in which it is due.
const (
	rankBits = 30
	dueBits  = 33 // to the year 2242
	neverDue = 1<<dueBits - 1
)

// orderKey is a job's place in the order: those of erase=none last, else the highest rank first, else the one that is due
// first, else what a crash left, for until that is zero nobody's evidence is complete, else the oldest. Ranks beyond those that
// there is room for are one.
func (j *job) orderKey() omap.Key {
	k := omap.Key{Hi: (1<<rankBits - 1 - min(j.rank, 1<<rankBits-1)) << dueBits, Lo: j.id}
	second := uint64(neverDue)
	if at := j.due(); !at.IsZero() {
		second = min(uint64(max(at.Unix(), 0)), neverDue-1)
	} else if j.ofCrash() {
		second = neverDue - 1 // it is little
	}
	k.Hi |= second
	if j.none {
		k.Hi |= 1 << 63
	}
	return k
}

// oldest is since when the oldest job waits: of those in front of each kind that there is in the order, so where several have
// deadlines of their own it may be another that is older. Zero: there is none. It looks at few.
func (jq *jobQueue) oldest() (at time.Time) {
	const rank0, none = uint64(1<<rankBits-1) << dueBits, uint64(1) << 63
	for _, from := range []uint64{0, rank0, rank0 | (neverDue - 1), rank0 | neverDue, none, none | rank0} {
		jq.mu.step(1)
		_, j, ok := jq.order.Ceil(omap.Key{Hi: from})
		if ok && (at.IsZero() || j.since.Before(at)) {
			at = j.since
		}
	}
	return at
}

// maxRank bounds the ranks of rows.
const maxRank = 1 << 62

// Deadlines lists the jobs with a deadline, in the order in which they are erased, and how much is to be erased until each of
// them is zero. It takes the plan lock for some jobs at a time, and looks at none behind the last that has one.
func (p *Pool) Deadlines() []blockdev.Due {
	var out []blockdev.Due
	var ahead int64
	freeing := false
	p.jobs.eachJobWhile(func(j *job) bool {
		at := j.due()
		if at.IsZero() && (j.none || j.rank == 0) {
			return false
		}
		ahead += j.dirtyBlocks()
		if j.walks > 0 && !freeing { // how much it still brings nobody knows: at most all that is freeing
			freeing = true
			ahead += p.tree.freeing
		}
		if at.IsZero() {
			return true
		}
		d := blockdev.Due{Job: j.id, Since: j.since, At: at, Ahead: ahead * BlockSize}
		if j.badN > 0 {
			d.Retry = j.retryAt
		}
		if j.sick.Failing() {
			d.Retry = j.sick.At
		}
		d.Failed = j.badN > 0 || j.sick.Failing()
		if j.dirtyBlocks()+j.badN > 0 || j.walks > 0 {
			out = append(out, d)
		}
		return true
	}, func() {})
	return out
}
