package control

import (
	"errors"
	"slices"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// What a pool refuses, by kind. Errors of a daemon's are of these kinds on both sides of the socket: errors.Is finds in the client
// what it would have found in the daemon.
var (
	ErrNotFound     = chain.ErrNotFound
	ErrExist        = chain.ErrExist
	ErrNotDir       = chain.ErrNotDir
	ErrIsDir        = chain.ErrIsDir
	ErrNotEmpty     = chain.ErrNotEmpty
	ErrBusy         = chain.ErrBusy
	ErrNoSpace      = chain.ErrNoSpace
	ErrHostSpace    = chain.ErrHostSpace
	ErrHeld         = chain.ErrHeld
	ErrQuota        = chain.ErrQuota
	ErrReadOnly     = chain.ErrReadOnly
	ErrPerm         = chain.ErrPerm
	ErrInvalid      = chain.ErrInvalid
	ErrNameTooLong  = chain.ErrNameTooLong
	ErrTooBig       = chain.ErrTooBig
	ErrNoAttr       = chain.ErrNoAttr
	ErrRange        = chain.ErrRange
	ErrUnsupported  = chain.ErrUnsupported
	ErrClosed       = chain.ErrClosed
	ErrNotNow       = chain.ErrNotNow
	ErrGone         = chain.ErrGone
	ErrHasSnapshots = chain.ErrHasSnapshots
	ErrHasClones    = chain.ErrHasClones
	ErrTagged       = chain.ErrTagged
	ErrNotPool      = chain.ErrNotPool
	ErrVersion      = chain.ErrVersion
	ErrFeature      = chain.ErrFeature
	ErrCorrupt      = chain.ErrCorrupt
	ErrOvertaken    = chain.ErrOvertaken

	// ErrInUse: another daemon has the pool.
	ErrInUse = host.ErrInUse

	// ErrOtherVersion: the daemon does not know what it is asked, as one of another version.
	ErrOtherVersion = errors.New("of another version")
)

// kinds are the errors that travel, and their names on the wire. A name is never given to another error.
var kinds = []struct {
	name string
	err  error
}{
	{"not-found", ErrNotFound},
	{"exists", ErrExist},
	{"not-a-directory", ErrNotDir},
	{"is-a-directory", ErrIsDir},
	{"not-empty", ErrNotEmpty},
	{"busy", ErrBusy},
	{"no-space", ErrNoSpace},
	{"host-space", ErrHostSpace},
	{"held", ErrHeld},
	{"quota", ErrQuota},
	{"read-only", ErrReadOnly},
	{"not-permitted", ErrPerm},
	{"invalid", ErrInvalid},
	{"name-too-long", ErrNameTooLong},
	{"too-big", ErrTooBig},
	{"no-attribute", ErrNoAttr},
	{"past-end", ErrRange},
	{"unsupported", ErrUnsupported},
	{"closed", ErrClosed},
	{"not-now", ErrNotNow},
	{"gone", ErrGone},
	{"has-snapshots", ErrHasSnapshots},
	{"has-clones", ErrHasClones},
	{"tagged", ErrTagged},
	{"not-a-pool", ErrNotPool},
	{"format-version", ErrVersion},
	{"format-feature", ErrFeature},
	{"corrupt", ErrCorrupt},
	{"overtaken", ErrOvertaken},
	{"in-use", ErrInUse},
	{"other-version", ErrOtherVersion},
}

// Error is an error as it travels: its text, the way out of it, and all kinds that it is of.
type Error struct {
	Text  string   `json:"text"`
	Hint  string   `json:"hint,omitempty"`
	Kinds []string `json:"kinds,omitempty"`
}

// ErrorOf makes an error travel.
func ErrorOf(err error) *Error {
	w := &Error{Text: show.ErrorText(err), Hint: show.HintOf(err)}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			w.Kinds = append(w.Kinds, k.name)
		}
	}
	return w
}

// Err is the error again. Of a kind that this program does not know, for the daemon is newer, the text is left.
func (w *Error) Err() error {
	e := &remoteError{text: w.Text}
	for _, k := range kinds {
		if slices.Contains(w.Kinds, k.name) {
			e.kinds = append(e.kinds, k.err)
		}
	}
	if w.Hint != "" {
		return show.Hinted(e, "%s", w.Hint)
	}
	return e
}

// remoteError is an error of a daemon's.
type remoteError struct {
	text  string
	kinds []error
}

func (e *remoteError) Error() string { return e.text }

// Is tells whether it is of a kind.
func (e *remoteError) Is(target error) bool {
	return slices.ContainsFunc(e.kinds, func(kind error) bool { return errors.Is(kind, target) })
}
