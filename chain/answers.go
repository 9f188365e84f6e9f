package chain

import (
	"slices"

	"slatefs/chain/codec"
)

// answers are the results of the last requests, by FUSE unique, and some older ones. Nothing in the slice changes: so the
// last ones can be given away.
type answers struct{ all []recAnswer }

func (a *answers) add(r recAnswer) {
	if len(a.all) == 2*answersKept {
		a.all = append(make([]recAnswer, 0, 2*answersKept), a.last()...)
	}
	a.all = append(a.all, r)
}

func marshalAnswers(as []recAnswer) []byte {
	e := codec.Encoder{}
	e.Uint(uint64(len(as)))
	for i := range as {
		as[i].encode(&e)
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

// last are those that are kept, in their order. They are shared, and nobody changes them.
func (a *answers) last() []recAnswer { return a.all[max(0, len(a.all)-answersKept):] }

// Answered tells whether a request was carried out already, and on which inode, by its Req.Unique. Of those that were carried
// out by an earlier process as well: one that is sent again is answered by that, and not repeated.
func (p *Pool) Answered(unique uint64) (Ino, bool) {
	p.mu.Lock()
	all := p.names.answers.last()
	p.mu.Unlock()
	for _, a := range slices.Backward(all) {
		if a.unique == unique {
			return a.ino, true
		}
	}
	return 0, false
}
