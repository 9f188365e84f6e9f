package chain

import (
	"fmt"

	"slatefs/chain/codec"
)

// recEvent: an event has the next number, and the oldest ones leave the log: so many, up to the one that is the first now.
type recEvent struct {
	n, first, gone uint64
	row            []byte
}

func (r *recEvent) encode(e *codec.Encoder) {
	e.Uint(r.n)
	e.Uint(r.first)
	e.Uint(r.gone)
	e.Bytes(r.row)
}

func (r *recEvent) decode(d *codec.Decoder) {
	r.n, r.first, r.gone = d.Uint(), d.Uint(), d.Uint()
	r.row = append([]byte{}, d.Bytes()...)
}

// apply believes the record where the log cannot be read: nobody looks at its numbers then.
func (r *recEvent) apply(p *Pool) error {
	ev := p.events
	fits := r.n == ev.last+1 && r.first == ev.first+r.gone || ev.broken != nil
	if !fits || r.gone > eventsGone || r.first <= r.gone || r.first > r.n || r.n > maxEventID || len(r.row) > maxEventRow {
		return fmt.Errorf("event %d of %d bytes, from %d on, after event %d: %w", r.n, len(r.row), r.first, ev.last, ErrCorrupt)
	}
	ev.put(r)
	return nil
}
