package chain

import "slatefs/chain/codec"

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
