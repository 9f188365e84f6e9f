package chain

import "slatefs/chain/codec"

// answers are the results of the last requests, by FUSE unique.
type answers struct {
	ring []recAnswer
	next int
}

func (a *answers) add(r recAnswer) {
	if len(a.ring) < answersKept {
		a.ring = append(a.ring, r)
		return
	}
	a.ring[a.next] = r
	a.next = (a.next + 1) % answersKept
}

func (a *answers) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(len(a.ring)))
	for i := range a.ring {
		a.ring[(a.next+i)%len(a.ring)].encode(&e)
	}
	return e.B
}

func (a *answers) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	for range d.Len() {
		var r recAnswer
		r.decode(&d)
		a.add(r)
	}
	return wrapCorrupt(d.Done())
}

const answersKept = 4096
