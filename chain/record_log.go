package chain

import (
	"fmt"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/evidence"
	"slatefs/chain/meta"
)

// recDay: a line becomes a record of the log: its day is over.
type recDay struct {
	nothing bool
	day     uint64
	vol     Ino
}

func (r *recDay) encode(e *codec.Encoder) { e.Bool(r.nothing); e.Uint(r.day); e.Uint(uint64(r.vol)) }

func (r *recDay) decode(d *codec.Decoder) {
	r.nothing, r.day, r.vol = d.Bool(), d.Uint(), Ino(d.Uint())
}

func (r *recDay) apply(p *Pool) error {
	row := &evidence.Row{Kind: evidence.Day, Number: r.day, Volume: uint64(r.vol)}
	if r.nothing {
		row.Kind = evidence.Nothing
	}
	line, ok := p.jobs.lines.Get(linePlace(lineKey(row)))
	if !ok {
		return fmt.Errorf("day %d of volume %d is over, and was never logged: %w", r.day, r.vol, ErrCorrupt)
	}
	p.jobs.closeLine(line)
	return nil
}

// recCut: the oldest records leave the log: of the chain those up to the head of the summary, of those from before it the ones
// of jobs up to a number.
type recCut struct {
	sum  evidence.Summary
	old  uint64
	when time.Time
}

func (r *recCut) encode(e *codec.Encoder) { r.sum.Encode(e); e.Uint(r.old); e.Time(r.when) }

func (r *recCut) decode(d *codec.Decoder) {
	r.sum, r.old, r.when = evidence.DecodeSummary(d), d.Uint(), d.Time()
}

func (r *recCut) apply(p *Pool) error {
	c := &p.jobs.chain
	if r.sum.At.Seq < c.cut.At.Seq || r.sum.At.Seq > c.head.Seq || r.sum.Before < c.cut.Before || r.sum.Exported < c.cut.Exported || r.old < c.old {
		return fmt.Errorf("the erase log is cut at record %d; it has %d to %d: %w", r.sum.At.Seq, c.cut.At.Seq+1, c.head.Seq, ErrCorrupt)
	}
	c.cut, c.old = r.sum, r.old
	sum := r.sum
	p.jobs.appendRow(&evidence.Row{Kind: evidence.Cut, Reason: reasonCut, Since: r.when, Cut: &sum})
	return nil
}

// recGone: rows of records that have left the log are gone, by their keys and how many parts they have.
type recGone struct{ rows []goneRow }

type goneRow struct {
	key   meta.Key
	parts uint64
}

func (r *recGone) encode(e *codec.Encoder) {
	e.Uint(uint64(len(r.rows)))
	for _, o := range r.rows {
		e.Key(o.key)
		e.Uint(o.parts)
	}
}

func (r *recGone) decode(d *codec.Decoder) {
	for range d.LenOf(3) {
		r.rows = append(r.rows, goneRow{d.Key(), d.Uint()})
	}
}

func (r *recGone) apply(p *Pool) error {
	jq := p.jobs
	c, parts := &jq.chain, uint64(0)
	for _, o := range r.rows {
		kind, n := catalog.KindOf(o.key), catalog.NumberOf(o.key)
		ok := kind == catalog.Chain && n == c.gone+1 && n <= c.cut.At.Seq || kind == catalog.Log && n > 0 && n <= c.old && jq.logN > 0
		if parts += o.parts; !ok || o.key.Lo != 0 || o.parts == 0 || max(o.parts, parts) > maxLogParts {
			return fmt.Errorf("row %x of %d parts is gone from the erase log: %w", o.key, o.parts, ErrCorrupt)
		}
		if kind == catalog.Chain {
			c.gone = n
		} else {
			jq.logN--
			jq.oldGone = max(jq.oldGone, n)
		}
		jq.mu.step(int(o.parts))
		for i := range o.parts {
			jq.names.cat.Put(meta.Key{Hi: o.key.Hi, Lo: i}, nil)
		}
	}
	return nil
}

// maxLogParts bounds the parts of records: what is long in one is the layers of a job.
const maxLogParts = 1 << 16

// recSigned: somebody has signed a head of the log.
type recSigned struct{ sig evidence.Signature }

func (r *recSigned) encode(e *codec.Encoder) { e.Bytes(r.sig.Marshal()) }

func (r *recSigned) decode(d *codec.Decoder) {
	b := d.Bytes()
	if d.Err != nil {
		return
	}
	var err error
	if r.sig, err = evidence.UnmarshalSignature(b); err != nil {
		d.Fail("bad signature")
	}
}

func (r *recSigned) apply(p *Pool) error {
	c := &p.jobs.chain
	if r.sig.Head.Seq > c.head.Seq {
		return fmt.Errorf("signature of record %d of the erase log, which ends with record %d: %w", r.sig.Head.Seq, c.head.Seq, ErrCorrupt)
	}
	c.signed++
	p.names.cat.Put(catalog.Key(catalog.Signed, c.signed), r.sig.Marshal())
	c.signs = append(c.signs, r.sig)
	if len(c.signs) > maxSigned {
		c.signs = c.signs[1:]
		p.names.cat.Put(catalog.Key(catalog.Signed, c.signed-maxSigned), nil)
	}
	return nil
}

// maxSigned is how many signatures stay: those of a year, if one is made each day.
const maxSigned = 400

// recForget: records leave the erase log, by the keys of their rows, as journals have it that were written before the log was a
// chain. Nobody makes one.
type recForget struct{ keys []meta.Key }

func (r *recForget) encode(e *codec.Encoder) {
	e.Uint(uint64(len(r.keys)))
	for _, k := range r.keys {
		e.Key(k)
	}
}

func (r *recForget) decode(d *codec.Decoder) {
	for range d.LenOf(2) {
		r.keys = append(r.keys, d.Key())
	}
}

// warm looks at what is there: the rows themselves, and those behind them.
func (r *recForget) warm(p *Pool) {
	for _, k := range r.keys {
		_, _, _ = p.names.cat.Long(k) //nolint:errcheck // apply says it
	}
}

func (r *recForget) apply(p *Pool) error {
	for _, k := range r.keys {
		p.mu.step(1)
		kind := catalog.KindOf(k)
		if kind == catalog.Daily {
			p.jobs.dropLine(k)
			continue
		}
		if kind != catalog.Log || k.Lo != 0 || catalog.NumberOf(k) == 0 {
			return fmt.Errorf("row %x leaves the erase log: %w", k, ErrCorrupt)
		}
		gone := false
		for ; ; k.Lo++ {
			_, ok, err := p.names.cat.Get(k)
			if err != nil {
				return wrapCorrupt(err)
			}
			if !ok {
				break
			}
			p.names.cat.Put(k, nil)
			gone = true
		}
		if gone {
			p.jobs.logN--
		}
	}
	return nil
}
