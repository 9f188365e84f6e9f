package chain

import (
	"fmt"

	"slatefs/chain/catalog"
)

// logBound is how many records stay: the log takes about a two-hundredth of a small pool, and 2^20 records at most.
// docs/erase-log.md has the numbers.
func (jq *jobQueue) logBound() int64 { return min(max(jq.blocks.alloc.Total()/32, 32), 1<<20) }

// closed is how many records the log has that may leave it.
func (jq *jobQueue) closed() int64 {
	return jq.logN - int64(jq.lines.Len()) + int64(jq.chain.head.Seq-jq.chain.cut.At.Seq)
}

func (jq *jobQueue) logFull() bool {
	return jq.closed() > jq.logBound() && !jq.opt.Now().Before(jq.exportAt)
}

// logLeaves: records have left the log whose rows are still there.
func (jq *jobQueue) logLeaves() bool {
	return jq.chain.gone < jq.chain.cut.At.Seq || jq.oldGone < jq.chain.old
}

// leaving are the next rows whose records have left the log. The plan lock is held.
func (jq *jobQueue) leaving() (rows []goneRow, err error) {
	jq.mu.assertHeld()
	kind, from, last := catalog.Log, jq.oldGone+1, jq.chain.old
	if jq.oldGone >= jq.chain.old {
		kind, from, last = catalog.Chain, jq.chain.gone+1, jq.chain.cut.At.Seq
	}
	all, next, more, err := jq.rowsFrom(catalog.Key(kind, from), logPage)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if catalog.NumberOf(r.Key) > last {
			break
		}
		if r.Key.Lo == 0 {
			rows = append(rows, goneRow{key: r.Key})
		}
		if len(rows) > 0 {
			rows[len(rows)-1].parts++
		}
	}
	switch {
	case len(rows) > 0:
	case kind == catalog.Chain:
		return nil, fmt.Errorf("erase log: record %d has left it, and is not there: %w", from, ErrCorrupt)
	case more && catalog.NumberOf(next) <= last: // these were gone already
		jq.oldGone = catalog.NumberOf(next) - 1
	default:
		jq.oldGone = last
	}
	return rows, nil
}
