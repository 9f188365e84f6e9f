// Package fault says of every error whom it concerns. What an error is is decided once, where it is made; whoever
// receives it looks at the kind, never at the text.
//
//	kind       what happened                             who is touched          what is done
//	---------  ----------------------------------------  ----------------------  ---------------------------------------
//	Refused    a request that cannot be granted: a name  who asked               the answer says why; nothing changed
//	           that is not there, no space, busy
//	Transient  the device or the host could not, this    who asked               background work is tried again with a
//	           time: EIO of a read or a write, ENOSPC,                           back-off, counted and shown; what it
//	           EAGAIN of the host below a pool file                              would free is not counted on meanwhile
//	Object     one thing is damaged: a page whose        that thing              it is named and answers EIO, its blocks
//	           checksum is wrong and has no good twin                            leave what is available; all else goes
//	                                                                             on
//	Pool       a lost sync or a lost journal write: it   all                     read-only from then on; reads go on
//	           is not known any more what is durable
//
// Misuse, a broken invariant of this process, is not an error: it is a panic that names the invariant (Misuse).
//
// The mark nearest to the surface counts: a device's write error is Transient, and Pool where it was the journal's. An
// error without a mark is Refused: it concerns nobody but who asked.
package fault

import (
	"errors"
	"fmt"
)

// Kind is whom an error concerns.
type Kind uint8

// The kinds, in the order of how many they touch. The zero Kind is what an unmarked error has.
const (
	Refused Kind = iota
	Transient
	Object
	Pool
)

var names = [...]string{"refused", "transient", "of one object", "of the pool"}

// String names the kind for logs.
func (k Kind) String() string { return names[k] }

// marked is an error with its kind. It reads as the error that it marks.
type marked struct {
	kind Kind
	err  error
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// Mark says what err is; nil stays nil. The text is unchanged, and errors.Is and As see through it.
func Mark(k Kind, err error) error {
	if err == nil {
		return nil
	}
	return &marked{k, err}
}

// Of is the kind of err: that of the outermost mark, of joined errors the gravest. Nil and unmarked errors are Refused.
func Of(err error) Kind {
	for err != nil {
		switch e := err.(type) { //nolint:errorlint // it walks the chain itself: the outermost mark counts
		case *marked:
			return e.kind
		case interface{ Unwrap() []error }:
			worst := Refused
			for _, one := range e.Unwrap() {
				worst = max(worst, Of(one))
			}
			return worst
		}
		err = errors.Unwrap(err)
	}
	return Refused
}

// Misuse ends the process: it has a bug, and the invariant that it broke is named. It is never answered and survived,
// since what is in memory cannot be believed any more.
func Misuse(invariant string, args ...any) {
	panic("broken invariant: " + fmt.Sprintf(invariant, args...))
}
