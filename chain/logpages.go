package chain

import (
	"fmt"

	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// logged is a record of the log, where it lies.
type logged struct {
	key   meta.Key
	parts int
	row   *evidence.Row
	entry evidence.Entry // of the chain
}

// logPos is where the log is read on: in the rows of jobs from before the chain, then in the chain, then in the lines of days
// that are not over.
type logPos struct {
	at   meta.Key // zero: in the lines
	line omap.Key
	seen bool // records of the chain were read: what follows may not be missing
	end  bool
}

// logStart is before the record of a number; 0: before all.
func logStart(from uint64) logPos {
	if from > 0 {
		return logPos{at: catalog.Key(catalog.Chain, from)}
	}
	return logPos{at: catalog.Key(catalog.Log, 1)}
}

// logPage bounds what is read of the log under one hold of the lock, in rows of the catalog.
const logPage = 48

// readLog reads some records, and moves on. With an error come those that were read before it.
func (jq *jobQueue) readLog(pos *logPos) (out []logged, err error) {
	next := *pos
	err = jq.commits.underPlan(func() (err error) {
		next = *pos
		out, err = jq.logFrom(&next, logPage)
		return err
	})
	*pos = next
	return out, err
}

// logFrom is readLog of so many rows, or one record that has more. The plan lock is held.
func (jq *jobQueue) logFrom(pos *logPos, rows int) (out []logged, err error) {
	if pos.at == (meta.Key{}) {
		return jq.linesFrom(pos, rows), nil
	}
	if err := jq.skipGone(pos); err != nil {
		return nil, err
	}
	kind := catalog.KindOf(pos.at)
	all, next, more, err := jq.rowsFrom(pos.at, rows)
	if err != nil {
		return nil, err
	}
	out, err = readRows(all)
	for i := range out {
		if e := out[i].entry; kind == catalog.Chain && pos.seen && e.Seq != catalog.NumberOf(pos.at)+uint64(i) {
			return out[:i], fmt.Errorf("erase log: record %d follows record %d: %w", e.Seq, catalog.NumberOf(pos.at)+uint64(i)-1, ErrCorrupt)
		}
	}
	switch {
	case more:
		pos.at = next
	case kind == catalog.Log:
		pos.at = catalog.Key(catalog.Chain, 1)
	default:
		*pos = logPos{}
	}
	pos.seen = pos.seen || kind == catalog.Chain && len(out) > 0
	return out, err
}

// skipGone passes over what has left the log and is still in the catalog.
func (jq *jobQueue) skipGone(pos *logPos) error {
	n := catalog.NumberOf(pos.at)
	if catalog.KindOf(pos.at) == catalog.Log {
		pos.at = catalog.Key(catalog.Log, max(n, jq.chain.old+1))
		return nil
	}
	if pos.seen && n <= jq.chain.cut.At.Seq {
		return fmt.Errorf("erase log: record %d has left while it was read: %w", n, ErrBusy)
	}
	pos.at = catalog.Key(catalog.Chain, max(n, jq.chain.cut.At.Seq+1))
	return nil
}

// rowsFrom reads so many rows of a kind, but no record in part, or all of one that has more. more: there may be others, from
// next on.
func (jq *jobQueue) rowsFrom(at meta.Key, n int) (all []catalog.Row, next meta.Key, more bool, err error) {
	kind := catalog.KindOf(at)
	next, more, err = jq.names.cat.ScanSome(at, n, func(k meta.Key, v []byte) bool {
		jq.mu.step(1)
		if catalog.KindOf(k) != kind {
			return false
		}
		all = append(all, catalog.Row{Key: k, Val: v})
		return true
	})
	if more = more && catalog.KindOf(next) == kind; more && next.Lo > 0 {
		all, err = jq.whole(all, &next)
	}
	if err != nil {
		err = fmt.Errorf("erase log: %w", wrapCorrupt(err))
	}
	return all, next, more, err
}

// whole leaves the last record out, whose parts are not all there, unless it is the only one: then all of it is read. next is
// where to go on.
func (jq *jobQueue) whole(all []catalog.Row, next *meta.Key) ([]catalog.Row, error) {
	n := len(all)
	for n > 0 && all[n-1].Key.Hi == next.Hi {
		n--
	}
	if n > 0 || len(all) == 0 {
		next.Lo = 0
		return all[:n], nil
	}
	k := meta.Key{Hi: next.Hi}
	val, _, err := jq.names.cat.Long(k)
	*next = meta.Key{Hi: k.Hi + 1}
	return catalog.Parts(k, val), err
}

// readRows makes records of rows of the catalog.
func readRows(all []catalog.Row) (out []logged, err error) {
	for len(all) > 0 {
		o, val := logged{key: all[0].Key}, []byte(nil)
		for len(all) > 0 && all[0].Key == (meta.Key{Hi: o.key.Hi, Lo: uint64(o.parts)}) {
			val = append(val, all[0].Val...)
			o.parts, all = o.parts+1, all[1:]
		}
		if o.parts == 0 {
			err = fmt.Errorf("no first part: %w", ErrCorrupt)
		} else {
			err = o.read(val)
		}
		if err != nil {
			return out, o.wrap(err)
		}
		out = append(out, o)
	}
	return out, nil
}

// read takes a value apart: of the chain the hash before it and the row; else a line.
func (o *logged) read(val []byte) (err error) {
	n := catalog.NumberOf(o.key)
	if catalog.KindOf(o.key) == catalog.Log {
		o.row, err = evidence.UnmarshalLine(evidence.Job, n, val)
		return err
	}
	e := evidence.Entry{Seq: n}
	if len(val) < len(e.Prev) {
		return fmt.Errorf("%d bytes: %w", len(val), ErrCorrupt)
	}
	copy(e.Prev[:], val)
	e.Row = val[len(e.Prev):]
	e.Digest = evidence.Digest(e.Row)
	o.entry = e
	o.row, err = evidence.Unmarshal(e.Row)
	return err
}

func (o *logged) wrap(err error) error {
	return fmt.Errorf("erase log: row %d/%d of %x: %w", catalog.KindOf(o.key), catalog.NumberOf(o.key), o.key.Lo, wrapCorrupt(err))
}
