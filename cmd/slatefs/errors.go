package main

import (
	"errors"
	"fmt"
	"io"
)

// Exit codes: an ABI.
const (
	exitDone   = 0
	exitFailed = 1 // refused or failed
	exitUsage  = 2 // the command line is wrong; nothing was tried
)

// usageError is a command line that can't be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// hintError is an error with the way out of it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// hinted adds a hint to an error; nil stays nil, and a hint that is there already wins.
func hinted(err error, format string, args ...any) error {
	var h *hintError
	if err == nil || errors.As(err, &h) {
		return err
	}
	return &hintError{err, fmt.Sprintf(format, args...)}
}

// hintOf is the hint of an error, or empty.
func hintOf(err error) string {
	var h *hintError
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// errQuiet is a failure that the command has told in its own output.
var errQuiet = errors.New("failed")

// report prints an error and its hint, and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if !errors.Is(err, errQuiet) {
		text := printable("slatefs: error: %v\n", err)
		if hint := hintOf(err); hint != "" {
			text += printable("hint: %s\n", hint)
		}
		_, _ = io.WriteString(w, text) //nolint:errcheck // there is nobody left to tell
	}
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}
