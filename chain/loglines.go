package chain

import (
	"fmt"
	"strings"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// A line adds up what happened to a volume in a day (UTC): what it overwrote and discarded, and, in another, what was destroyed
// of it and owned nothing. Lines are few, one or two for each volume, and all in memory, beside their rows in the catalog: no
// record of the eraser reads the device. When the day is over a line becomes a record of the chain (recDay), whoever writes.
//
// Days are those of the clock. Where it was set back a day may have a second record; where it was set forward, or where there are
// too many lines, a line is closed before its time, and the rest of the day has another. They add up all the same.

// dayOf numbers days from 1970 on.
func dayOf(t time.Time) uint64 { return uint64(max(0, t.Unix()) / 86400) }

// dayEnds is when a day is over.
func dayEnds(day uint64) time.Time { return time.Unix(int64(day+1)*86400, 0) }

// nothingBit is set in the Lo of the key of a line of what owned nothing; the rest is the day.
const nothingBit = 1 << 63

// lineKey is where a line lies in the catalog.
func lineKey(r *evidence.Row) meta.Key {
	k := meta.Key{Hi: catalog.Key(catalog.Daily, r.Volume).Hi, Lo: r.Number}
	if r.Kind == evidence.Nothing {
		k.Lo |= nothingBit
	}
	return k
}

// linePlace is where the line of a key is in memory: the oldest day first.
func linePlace(k meta.Key) omap.Key {
	return omap.Key{Hi: k.Lo &^ nothingBit, Lo: catalog.NumberOf(k)<<1 | k.Lo>>63}
}

// line is a volume's line of a day, or a new one.
func (jq *jobQueue) line(kind evidence.Kind, j *job, when time.Time) *evidence.Row {
	r := &evidence.Row{Kind: kind, Number: dayOf(when), Volume: uint64(j.vol)}
	if old, ok := jq.lines.Get(linePlace(lineKey(r))); ok {
		r = old
	}
	if r.Path = j.volume; len(r.Path) > maxLogPath {
		r.Path = r.Path[len(r.Path)-maxLogPath:]
	}
	return r
}

// maxLogPath bounds the path in a line; of a longer one the end is kept.
const maxLogPath = 400

// logDay adds blocks that were zeroed to the line of their volume and day.
func (jq *jobQueue) logDay(j *job, n int64, when time.Time) {
	r := jq.line(evidence.Day, j, when)
	if r.Freed == 0 {
		r.Reason, r.Since, r.First = reasonOverwritten, j.since, when
	}
	r.Freed += n
	r.Erased += n
	if j.how.Releases {
		r.Released += n
	}
	r.None, r.How, r.Last = r.None || j.none, r.How.And(j.how), when
	d := deadlineOf(r.Deadline)
	d.addDeadline(n, j.within, when.Sub(j.since))
	r.Deadline = d.outcome()
	jq.putLine(r)
}

// logNothing adds layers that owned nothing to the line of their volume and day: a snapshot of an idle volume costs the log
// the bytes of its number.
func (jq *jobQueue) logNothing(j *job) {
	r := jq.line(evidence.Nothing, j, j.since)
	if r.Reason == "" {
		r.Reason, r.Name, r.Since = reasonNothing, j.layer, j.since
	} else if r.Name != j.layer {
		r.Name = "" // several
	}
	r.Layers = append(r.Layers, j.layers...)
	if !strings.Contains("; "+r.Who+"; ", "; "+j.who+"; ") {
		r.Who = strings.TrimPrefix(r.Who+"; "+j.who, "; ")
	}
	r.Last = j.since
	jq.putLine(r)
}

// putLine stores a line. One that is too long for a row becomes a record at once, and the day goes on with another.
func (jq *jobQueue) putLine(r *evidence.Row) {
	b := r.MarshalLine()
	if len(b) >= catalog.PartSize {
		jq.closeLine(r)
		return
	}
	k := lineKey(r)
	if _, had := jq.lines.Get(linePlace(k)); !had {
		jq.lines.Set(linePlace(k), r)
		jq.logN++
	}
	jq.names.cat.Put(k, b)
}

// closeLine makes a line a record of the chain.
func (jq *jobQueue) closeLine(r *evidence.Row) {
	jq.dropLine(lineKey(r))
	jq.appendRow(r)
}

// dropLine takes a line out, if it is there.
func (jq *jobQueue) dropLine(k meta.Key) {
	if jq.lines.Delete(linePlace(k)) {
		jq.names.cat.Put(k, nil)
		jq.logN--
	}
}

// oldestLine is the one whose day is over first; nil: there is none.
func (jq *jobQueue) oldestLine() *evidence.Row {
	_, r, _ := jq.lines.Ceil(omap.Key{})
	return r
}

// lineDue: the oldest line's day is over, or there are too many for the log to be bounded. The plan lock is held.
func (jq *jobQueue) lineDue() bool {
	r := jq.oldestLine()
	return r != nil && (int64(jq.lines.Len()) > jq.logBound()/4 || !jq.opt.Now().Before(dayEnds(r.Number)))
}

// untilDayOver is how long it is until then. Not longer than an hour: the clock may be set meanwhile.
func (jq *jobQueue) untilDayOver() (d time.Duration, any bool) {
	r := jq.oldestLine()
	if r == nil {
		return 0, false
	}
	return min(max(dayEnds(r.Number).Sub(jq.opt.Now()), 0), time.Hour), true
}

// linesFrom lists lines, and moves on.
func (jq *jobQueue) linesFrom(pos *logPos, rows int) (out []logged) {
	pos.end = true
	jq.lines.Ascend(pos.line, func(k omap.Key, r *evidence.Row) bool {
		jq.mu.step(1)
		if len(out) == rows {
			pos.line, pos.end = k, false
			return false
		}
		c := *r // it goes on changing
		out = append(out, logged{key: lineKey(r), row: &c})
		return true
	})
	return out
}

// loadLines reads the lines at a mount. What is damaged of them stays where it is, for Check to find.
func (jq *jobQueue) loadLines() error {
	return jq.names.cat.Scan(catalog.Key(catalog.Daily, 0), func(k meta.Key, v []byte) bool {
		if catalog.KindOf(k) != catalog.Daily {
			return false
		}
		if r, err := parseLine(k, v); err == nil {
			jq.lines.Set(linePlace(lineKey(r)), r)
		}
		return true
	})
}

// parseLine reads a line by its key.
func parseLine(k meta.Key, v []byte) (*evidence.Row, error) {
	kind := evidence.Day
	if k.Lo&nothingBit != 0 {
		kind = evidence.Nothing
	}
	r, err := evidence.UnmarshalLine(kind, k.Lo&^nothingBit, v)
	if err != nil {
		return nil, fmt.Errorf("erase log: row %d/%d of %x: %w", catalog.Daily, catalog.NumberOf(k), k.Lo, wrapCorrupt(err))
	}
	if r.Volume != catalog.NumberOf(k) {
		return nil, fmt.Errorf("erase log: the line of volume %d is stored as that of volume %d: %w", r.Volume, catalog.NumberOf(k), ErrCorrupt)
	}
	return r, nil
}
