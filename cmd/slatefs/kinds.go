package main

import (
	"errors"
	"slices"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
)

// What a pool refuses, by kind. Errors of a daemon's are of these kinds on both sides of the socket: errors.Is finds in the client
// what it would have found in the daemon.
var (
	errNotFound     = chain.ErrNotFound
	errExist        = chain.ErrExist
	errNotDir       = chain.ErrNotDir
	errIsDir        = chain.ErrIsDir
	errNotEmpty     = chain.ErrNotEmpty
	errBusy         = chain.ErrBusy
	errNoSpace      = chain.ErrNoSpace
	errHostSpace    = chain.ErrHostSpace
	errHeld         = chain.ErrHeld
	errQuota        = chain.ErrQuota
	errReadOnly     = chain.ErrReadOnly
	errPerm         = chain.ErrPerm
	errInvalid      = chain.ErrInvalid
	errNameTooLong  = chain.ErrNameTooLong
	errTooBig       = chain.ErrTooBig
	errNoAttr       = chain.ErrNoAttr
	errRange        = chain.ErrRange
	errUnsupported  = chain.ErrUnsupported
	errClosed       = chain.ErrClosed
	errGone         = chain.ErrGone
	errHasSnapshots = chain.ErrHasSnapshots
	errHasClones    = chain.ErrHasClones
	errNotPool      = chain.ErrNotPool
	errVersion      = chain.ErrVersion
	errFeature      = chain.ErrFeature
	errCorrupt      = chain.ErrCorrupt

	// errOtherVersion: the daemon does not know what it is asked, as one of another version.
	errOtherVersion = errors.New("of another version")
)

// kinds are the errors that travel, and their names on the wire. A name is never given to another error.
var kinds = []struct {
	name string
	err  error
}{
	{"not-found", errNotFound},
	{"exists", errExist},
	{"not-a-directory", errNotDir},
	{"is-a-directory", errIsDir},
	{"not-empty", errNotEmpty},
	{"busy", errBusy},
	{"no-space", errNoSpace},
	{"host-space", errHostSpace},
	{"held", errHeld},
	{"quota", errQuota},
	{"read-only", errReadOnly},
	{"not-permitted", errPerm},
	{"invalid", errInvalid},
	{"name-too-long", errNameTooLong},
	{"too-big", errTooBig},
	{"no-attribute", errNoAttr},
	{"past-end", errRange},
	{"unsupported", errUnsupported},
	{"closed", errClosed},
	{"gone", errGone},
	{"has-snapshots", errHasSnapshots},
	{"has-clones", errHasClones},
	{"not-a-pool", errNotPool},
	{"format-version", errVersion},
	{"format-feature", errFeature},
	{"corrupt", errCorrupt},
	{"other-version", errOtherVersion},
}

// wireError is an error as it travels: its text, the way out of it, and all kinds that it is of.
type wireError struct {
	Text  string   `json:"text"`
	Hint  string   `json:"hint,omitempty"`
	Kinds []string `json:"kinds,omitempty"`
}

// wireErrorOf makes an error travel.
func wireErrorOf(err error) *wireError {
	w := &wireError{Text: show.ErrorText(err), Hint: show.HintOf(err)}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			w.Kinds = append(w.Kinds, k.name)
		}
	}
	return w
}

// err is the error again. Of a kind that this program does not know, for the daemon is newer, the text is left.
func (w *wireError) err() error {
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
