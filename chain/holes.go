package chain

import (
	"context"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// What was released is zero to read, and its bytes lie below the device. Zeros that are written afterwards do not reach them. So it
// must never be called erased, whatever becomes of the report: a crash may take it, the read-back may fail, or the pool may
// not take it. Therefore it is noted before (write intent before effect), durably: up to which place of a job's ready part holes may
// have been punched. What is reported of blocks below that place is released, by whatever method they were zeroed in the end. What of
// them fails is so in bad, and what is sealed from there.
//
// A note covers what comes next, too, so that it is one for so many blocks and not one for each hand-out: up to a window's
// worth (64 MiB, less in small pools) of blocks of one birth. So the price is a flush for each of those. And blocks up to that
// place that were zeroed by another method count as released as well: after a crash, and when the method is changed while a job
// is being worked off.

// WillRelease notes, durably, that the blocks of a hand-out may be released from now on: they count as that when they are reported,
// by this process or another, by whatever method. On error nothing may be released.
//
// A token that names no hand-out is a bug, as of Report.
func (p *Pool) WillRelease(t blockdev.Token) error {
	r, err := p.commits.getRoom(context.Background(), credit{bytes: holesBytes, frees: true})
	if err != nil {
		return err
	}
	durable, err := p.jobs.willRelease(r, t)
	if err != nil || durable {
		return err
	}
	return p.Flush()
}

// holesBytes bounds the record of it.
const holesBytes = 48

// willRelease makes the record, if there is none, and tells whether it is durable.
func (jq *jobQueue) willRelease(r *room, t blockdev.Token) (durable bool, err error) {
	jq.mu.Lock()
	defer jq.mu.Unlock()
	defer jq.commits.within(r)()
	if err := jq.writable(); err != nil {
		return false, err
	}
	h := jq.handouts[t]
	if h == nil {
		fault.Misuse("erase fails closed: hand-out %d is to be released, and is not open", t)
	}
	j := h.job
	if next := j.lent.next; j.holes.upTo.Less(next) {
		ahead := omap.Key{Hi: next.Hi, Lo: next.Lo + uint64(jq.format.Window)}
		if err := jq.commits.do(&recHoles{j.id, meta.Key(ahead)}); err != nil {
			return false, err
		}
		j.holesAt = jq.commits.lsn
	}
	return jq.commits.durable >= j.holesAt, nil
}

// holes are where what is left of a job may have been released already.
type holes struct {
	upTo omap.Key // of ready: what lies below it, by birth and block
	bad  bool     // of bad: some of it
}

// in: part of a run may be one.
func (o *holes) in(r runs.Run) bool { return runs.Key(r.Birth, r.Dev).Less(o.upTo) }

// mayBeHoles bounds the blocks of a job that are not worked off and may have been released. The plan lock is held.
func (j *job) mayBeHoles() (n int64) {
	if j.cursor.Less(j.holes.upTo) {
		n = j.readyN
	}
	if j.holes.bad {
		n += j.badN
	}
	return n
}

// seal: what collected, or what failed, is the ready part now.
func (o *holes) seal(bad bool) {
	switch {
	case !bad:
		o.upTo = omap.Key{}
	case o.bad:
		*o = holes{upTo: lastKey}
	default:
		*o = holes{}
	}
}
