package chain

import (
	"math"

	"slatefs/chain/catalog"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
)

// log checks the erase log: records that add up, of jobs that have ended, as many as were counted, each tied to the one before
// it, from where the log begins to its head, and signatures of what is there.
func (c *checker) log() {
	c.oldLog()
	c.logLines()
	c.logChain()
	c.logSigned()
}

func (c *checker) adds(what string, k meta.Key, r *evidence.Row) {
	if !r.Adds() {
		c.r.bad("erase log: %s %d/%x: freed %d, erased %d, released %d, kept %d: they do not add up", what, catalog.NumberOf(k), k.Lo,
			r.Freed, r.Erased, r.Released, r.Kept)
	}
}

// rows of a kind in the catalog, from a number on.
func (c *checker) logRows(kind catalog.Kind, from uint64) []logged {
	rows, _, _, err := c.p.jobs.rowsFrom(catalog.Key(kind, from), math.MaxInt)
	if err != nil {
		c.r.bad("%v", err)
	}
	out, err := readRows(rows)
	if err != nil {
		c.r.bad("%v", err)
	}
	return out
}

// oldLog checks the records from before the chain, and that they and the lines are as many as were counted.
func (c *checker) oldLog() {
	jq := c.p.jobs
	all := c.logRows(catalog.Log, 1)
	for _, o := range all {
		id := catalog.NumberOf(o.key)
		c.adds("record", o.key, o.row)
		if jq.all[id] != nil || id > c.p.commits.nextJob {
			c.r.bad("erase log: record of job %d, which has not ended", id)
		}
	}
	lines := 0
	err := jq.names.cat.Scan(catalog.Key(catalog.Daily, 0), func(k meta.Key, _ []byte) bool {
		if catalog.KindOf(k) == catalog.Daily {
			lines++
			return true
		}
		return false
	})
	if err != nil {
		c.r.bad("erase log: %v", err)
	}
	if n := int64(len(all) + lines); n != jq.logN {
		c.r.bad("erase log: %d records, counted %d", n, jq.logN)
	}
}

// logLines checks that the lines in memory are those in the catalog.
func (c *checker) logLines() {
	jq, n := c.p.jobs, 0
	err := jq.names.cat.Scan(catalog.Key(catalog.Daily, 0), func(k meta.Key, v []byte) bool {
		if catalog.KindOf(k) != catalog.Daily {
			return false
		}
		r, err := parseLine(k, v)
		if err != nil {
			c.r.bad("%v", err)
			return true
		}
		n++
		c.adds("line", k, r)
		if got, ok := jq.lines.Get(linePlace(k)); !ok || string(got.MarshalLine()) != string(v) {
			c.r.bad("erase log: the line of volume %d, day %d, is another in memory", r.Volume, r.Number)
		}
		return true
	})
	if err != nil {
		c.r.bad("erase log: %v", err)
	}
	if n != jq.lines.Len() {
		c.r.bad("erase log: %d lines of days that are not over, counted %d", n, jq.lines.Len())
	}
}

// logChain goes along the chain.
func (c *checker) logChain() {
	ch := &c.p.jobs.chain
	at := ch.cut.At // where it is gone to, what is before is not known any more
	all := c.logRows(catalog.Chain, 1)
	if len(all) > 0 && ch.gone < ch.cut.At.Seq {
		at = evidence.Head{Seq: ch.gone, Hash: all[0].entry.Prev}
	}
	for _, o := range all {
		next, err := at.Follow(o.entry)
		if err != nil {
			c.r.bad("erase log: %v", err)
			next = o.entry.Head()
		}
		at = next
		c.adds("record", o.key, o.row)
		if at.Seq == ch.cut.At.Seq && at != ch.cut.At {
			c.r.bad("erase log: it begins behind record %d with the hash %v, and that has %v", at.Seq, ch.cut.At.Hash, at.Hash)
		}
	}
	if at != ch.head {
		c.r.bad("erase log: it ends with record %d, hash %v, and its head is record %d, hash %v", at.Seq, at.Hash, ch.head.Seq, ch.head.Hash)
	}
}

// logSigned checks signatures, and that those of records that are there are of them.
func (c *checker) logSigned() {
	ch := &c.p.jobs.chain
	hashes := map[uint64]evidence.Hash{ch.cut.At.Seq: ch.cut.At.Hash}
	for _, o := range c.logRows(catalog.Chain, 1) {
		hashes[o.entry.Seq] = o.entry.Head().Hash
	}
	first := ch.cut.At == evidence.Genesis(c.p.uuid) // else the pool may have had another UUID, under which the first ones were made
	for _, s := range ch.signs {
		err := s.Verify(c.p.uuid)
		if err != nil && first {
			c.r.bad("erase log: %v", err)
		}
		first = first || err == nil
		if h, ok := hashes[s.Head.Seq]; s.Head.Seq > ch.head.Seq || ok && h != s.Head.Hash {
			c.r.bad("erase log: somebody has signed record %d with the hash %v, which it has not", s.Head.Seq, s.Head.Hash)
		}
	}
	n := uint64(0)
	err := c.p.names.cat.Each(catalog.Signed, func(number uint64, _ []byte) error {
		if n++; number > ch.signed || number+maxSigned <= ch.signed {
			c.r.bad("erase log: signature %d of %d", number, ch.signed)
		}
		return nil
	})
	if err != nil || n != uint64(len(ch.signs)) || n != min(ch.signed, maxSigned) {
		c.r.bad("erase log: %d signatures of %d, counted %d: %v", n, ch.signed, len(ch.signs), err)
	}
}

// events checks that the events from the first to the last are there, whole, and no others.
func (c *checker) events() {
	ev, next := c.p.events, c.p.events.first
	if ev.broken != nil {
		c.r.bad("%v", ev.broken)
		return
	}
	err := c.p.names.cat.Scan(catalog.Key(catalog.Event, 1), func(k meta.Key, v []byte) bool {
		if catalog.KindOf(k) != catalog.Event {
			return false
		}
		if n := catalog.NumberOf(k); n != next || k.Lo != 0 {
			c.r.bad("log of events: row %d/%x, want event %d of %d to %d", n, k.Lo, next, ev.first, ev.last)
		}
		if err := new(Event).unmarshal(v); err != nil {
			c.r.bad("log of events: event %d: %v", catalog.NumberOf(k), err)
		}
		next = catalog.NumberOf(k) + 1
		return true
	})
	if err != nil || next != ev.last+1 {
		c.r.bad("log of events: it ends before event %d, of %d to %d: %v", next, ev.first, ev.last, err)
	}
}
