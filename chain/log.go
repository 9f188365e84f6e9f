package chain

import (
	"errors"
	"fmt"
	"time"

	"slatefs/chain/evidence"
)

// EraseLog is the erase log of a pool: eraselog.go has what it is.
type EraseLog struct{ p *Pool }

// Log is the pool's erase log.
func (p *Pool) Log() EraseLog { return EraseLog{p} }

// SetExport installs what is given the records that are about to leave the log, the oldest first. While it fails
// they stay, until the log is twice as long as it should be.
func (l EraseLog) SetExport(fn func([]EraseRecord) error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.p.jobs.export = fn
}

// Each gives the log to fn some records at a time, the oldest first, from a number on; 0: all, with what is from before the
// chain. The lines of days that are not over come last. That a record has left meanwhile is an error.
func (l EraseLog) Each(from uint64, fn func([]EraseRecord) error) error {
	return l.p.jobs.eachRecord(from, fn)
}

// LogState is what the erase log consists of.
type LogState struct {
	Head    evidence.Head        // of the newest record of the chain
	Cut     evidence.Summary     // what has left; the chain begins behind its head
	Records int64                // in the log, with lines of days that are not over
	Before  int64                // of them, from before there was a chain
	Open    int64                // of them, lines of days that are not over
	Bound   int64                // that stay
	Signed  []evidence.Signature // the last signatures of heads, the oldest first
}

// State tells how long the log is, and how it is sealed.
func (l EraseLog) State() LogState {
	p := l.p
	p.mu.Lock()
	defer p.mu.Unlock()
	c, open := &p.jobs.chain, int64(p.jobs.lines.Len())
	before := p.jobs.logN - open
	return LogState{
		Head: c.head, Cut: c.cut, Records: p.jobs.logN + int64(c.head.Seq-c.cut.At.Seq), Before: before, Open: open,
		Bound: p.jobs.logBound(), Signed: c.signs[:len(c.signs):len(c.signs)],
	}
}

// Sign keeps a signature of a head of the log in the pool. It is refused unless it is of this pool, and of a record that is
// there and has that hash. It is durable after the next Flush.
func (l EraseLog) Sign(s evidence.Signature) error {
	p := l.p
	if err := s.Verify(p.uuid); err != nil {
		return err
	}
	if err := l.has(s.Head); err != nil {
		return err
	}
	return p.works.change(func(time.Time) error { return p.commits.do(&recSigned{s}) })
}

// has is an error if a head is none of this log's.
func (l EraseLog) has(h evidence.Head) error {
	if s := l.State(); h == s.Head || h == s.Cut.At {
		return nil
	}
	pos := logStart(max(h.Seq, 1))
	some, err := l.p.jobs.readLog(&pos)
	if len(some) > 0 && some[0].entry.Seq == h.Seq && some[0].entry.Head() == h {
		return nil
	}
	return errors.Join(fmt.Errorf("record %d of the erase log with the hash %v: %w", h.Seq, h.Hash, ErrNotFound), err)
}
