package main

import (
	"strings"
	"time"

	"slatefs/chain"
)

// parseSize reads a size in bytes, as chain.ParseSize does; a bad one is a usage error.
func parseSize(s string) (int64, error) {
	n, err := chain.ParseSize(s)
	if err != nil {
		return 0, usagef("%s", strings.TrimSuffix(err.Error(), ": "+chain.ErrInvalid.Error()))
	}
	return n, nil
}

// formatSize prints bytes as zfs does.
func formatSize(n int64) string { return chain.FormatSize(n) }

// size is a flag that takes a size.
type size struct {
	bytes int64
	set   bool
}

// String is the flag's default for help texts, which has none.
func (s *size) String() string { return "" }

// Type is the flag's word in help texts.
func (s *size) Type() string { return "SIZE" }

// Set parses the flag.
func (s *size) Set(text string) (err error) {
	s.bytes, err = parseSize(text)
	s.set = err == nil
	return err
}

// formatTime prints a time as zfs prints creation.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("Mon Jan _2 15:04 2006")
}
