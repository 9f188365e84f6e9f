package chain

import (
	"fmt"

	"github.com/google/uuid"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/evidence"
)

// logChain is the erase log as a chain: where it ends, where it begins, and who signed it. A record is tied to the one before
// it by apply, under the plan lock, so that replay makes the same chain; that costs a digest and a link, a microsecond.
//
// A log that grows for ever has to lose its oldest records. That is one record of the journal (recCut): it says what is known of
// those that leave, the log begins behind them from then on, and a record of the chain tells of it, so that nobody cuts a
// log unseen. Their rows go after that, in steps (recGone).
type logChain struct {
	head   evidence.Head        // mu
	cut    evidence.Summary     // mu: what has left; its head is where the log begins
	gone   uint64               // mu: the rows of records up to this one are gone; cut.At.Seq at most
	old    uint64               // mu: of the records from before the chain, those of jobs up to this one have left
	signed uint64               // mu: signatures, ever
	signs  []evidence.Signature // mu: the last of them
}

// newLogChain is the chain of a pool before its first record.
func newLogChain(pool uuid.UUID) logChain {
	h := evidence.Genesis(pool)
	return logChain{head: h, cut: evidence.Summary{At: h}}
}

// appendRow makes a row the newest record of the log.
func (jq *jobQueue) appendRow(r *evidence.Row) {
	jq.mu.assertHeld()
	jq.mu.step(1)
	e := evidence.NewEntry(jq.chain.head, r.Marshal())
	k := catalog.Key(catalog.Chain, e.Seq)
	for _, part := range catalog.Parts(k, append(e.Prev[:], e.Row...)) {
		jq.names.cat.Put(part.Key, part.Val)
	}
	jq.chain.head = e.Head()
	jq.tell(jq.record(logged{key: k, row: r, entry: e}))
}

// marshal is the row of the chain's state, which each checkpoint writes.
func (c *logChain) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(c.head.Seq)
	e.Bytes(c.head.Hash[:])
	c.cut.Encode(&e)
	e.Uint(c.gone)
	e.Uint(c.old)
	e.Uint(c.signed)
	e.Attrs(nil)
	return e.B
}

// unmarshal reads it. Where there is none the chain has not begun.
func (c *logChain) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	c.head.Seq = d.Uint()
	if h := d.Bytes(); len(h) == len(c.head.Hash) {
		copy(c.head.Hash[:], h)
	} else {
		d.Fail("bad hash")
	}
	c.cut = evidence.DecodeSummary(&d)
	c.gone, c.old, c.signed = d.Uint(), d.Uint(), d.Uint()
	d.Attrs(nil)
	if err := d.Done(); err != nil {
		return wrapCorrupt(err)
	}
	if c.gone > c.cut.At.Seq || c.cut.At.Seq > c.head.Seq || max(c.head.Seq, c.old, c.signed) > maxSeq {
		return fmt.Errorf("erase log: it ends with record %d, begins behind record %d, and is gone to %d: %w", c.head.Seq, c.cut.At.Seq, c.gone, ErrCorrupt)
	}
	return nil
}

// maxSeq bounds the number of a record: it is in the key of its row.
const maxSeq = 1<<56 - 1

// load reads the state of the log: how many rows there are, the chain, the lines of days, and signatures.
func (jq *jobQueue) loadLog() error {
	cat := &jq.names.cat
	v, ok, err := cat.Get(catalog.Key(catalog.Log, 0))
	if err == nil && ok {
		d := codec.Decoder{B: v}
		jq.logN = d.Int()
		err = d.Done()
	}
	if err == nil {
		v, ok, err = cat.Long(catalog.Key(catalog.Chain, 0))
	}
	if err == nil && ok {
		err = jq.chain.unmarshal(v)
	}
	if err == nil {
		err = cat.Each(catalog.Signed, func(_ uint64, v []byte) error {
			s, err := evidence.UnmarshalSignature(v)
			jq.chain.signs = append(jq.chain.signs, s)
			return err
		})
	}
	if err == nil {
		err = jq.loadLines()
	}
	return wrapCorrupt(err)
}

func (jq *jobQueue) marshalLogCount() []byte {
	e := codec.Encoder{}
	e.Int(jq.logN)
	return e.B
}
