package show

import (
	"errors"
	"fmt"
	"io"
)

// Exit codes: an ABI.
const (
	ExitDone   = 0 // what was asked for is done
	ExitFailed = 1 // refused or failed
	ExitUsage  = 2 // the command line is wrong; nothing was tried
)

// UsageError is a command line that can't be meant.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef is a UsageError of a text, as fmt.Errorf makes it.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Errorf(format, args...)} }

// hintError is an error with the way out of it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// Hinted adds a hint to an error: the way out of it, as one line without a full stop. nil stays nil, and a hint that is there
// already wins.
func Hinted(err error, format string, args ...any) error {
	var h *hintError
	if err == nil || errors.As(err, &h) {
		return err
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// HintOf is the hint of an error, or empty.
func HintOf(err error) string {
	var h *hintError
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// ErrQuiet is a failure that the command has told in its own output.
var ErrQuiet = errors.New("failed")

// Report prints an error and its hint, each as one escaped line, and returns the exit code. nil prints nothing and is ExitDone;
// an ErrQuiet prints nothing and is ExitFailed. That w can't be written to changes nothing.
func Report(w io.Writer, err error) int {
	if err == nil {
		return ExitDone
	}
	if !errors.Is(err, ErrQuiet) {
		text := Printable("slatefs: error: %v\n", err)
		if hint := HintOf(err); hint != "" {
			text += Printable("hint: %s\n", hint)
		}
		_, _ = io.WriteString(w, text) //nolint:errcheck // there is nobody left to tell
	}
	var u *UsageError
	if errors.As(err, &u) {
		return ExitUsage
	}
	return ExitFailed
}
