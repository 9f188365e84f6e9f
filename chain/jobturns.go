package chain

import (
	"time"

	"slatefs/chain/omap"
)

// jobTurns tells which job the eraser goes on with, without a look at all the others. A job that has something to be zeroed
// is in one of three places; one whose blocks are all with the eraser, or that has none yet, is in none, until it gets some,
// or some come back. The plan lock guards it.
type jobTurns struct {
	wanted omap.Map[*job] // as they are erased: something of it may be sealed, or handed out
	sealed omap.Map[*job] // by epoch: its ready part waits for plans to end, or for its seal to be durable
	later  omap.Map[*job] // by time: it failed, or cannot be read
}

// jobPlace is where a job is in the queue.
type jobPlace struct {
	wanted        bool
	sealed, later omap.Key // zero: not there
}

// drop takes a job out of the queue.
func (q *jobTurns) drop(j *job) {
	if j.at.wanted {
		q.wanted.Delete(j.orderKey())
	}
	if j.at.sealed != (omap.Key{}) {
		q.sealed.Delete(j.at.sealed)
	}
	if j.at.later != (omap.Key{}) {
		q.later.Delete(j.at.later)
	}
	j.at = jobPlace{}
}

// want: something has come to the job, or back, or may be done with it now.
func (q *jobTurns) want(j *job) {
	if !j.at.wanted {
		q.drop(j)
		j.at.wanted = true
		q.wanted.Set(j.orderKey(), j)
	}
}

// park puts a job away with which nothing can be done now, to where it is found when something can.
func (jq *jobQueue) park(j *job, now time.Time) {
	q := &jq.turns
	q.drop(j)
	switch {
	case !j.sick.Due(now):
		j.at.later = dueKey(j.sick.At, j.id)
		q.later.Set(j.at.later, j)
	case j.readyN > j.lent.out && !jq.sealOver(j):
		j.at.sealed = omap.Key{Hi: j.epoch, Lo: j.id}
		q.sealed.Set(j.at.sealed, j)
	case j.readyN == 0 && j.badN > 0:
		j.at.later = dueKey(j.retryAt, j.id)
		q.later.Set(j.at.later, j)
	}
}

// sealOver: no plan can touch the ready part of the job any more, after a crash neither.
func (jq *jobQueue) sealOver(j *job) bool {
	return jq.plans.over(j) && jq.commits.durable >= j.lsn
}

// wantDue brings jobs back whose time has come, up to most. more: there may be others.
func (jq *jobQueue) wantDue(now time.Time, most int) (more bool) {
	q := &jq.turns
	for ; most > 0; most-- {
		jq.mu.step(1)
		if k, j, ok := q.later.Ceil(omap.Key{}); ok && !timeKey(now, ^uint64(0)).Less(k) {
			q.want(j)
			continue
		}
		_, j, ok := q.sealed.Ceil(omap.Key{}) // the first was sealed first
		if !ok || !jq.sealOver(j) {
			return false
		}
		q.want(j)
	}
	return true
}

// queued: a job that has something to be zeroed which is not with the eraser is in the queue. Check asks.
func (j *job) queued() bool {
	if j.at != (jobPlace{}) {
		return true
	}
	idle := j.readyN == 0 && j.freshN+j.badN == 0 || j.readyN > 0 && j.readyN == j.lent.out
	return idle || j.lent.open.Len()+j.apart.Len() >= maxLent
}
