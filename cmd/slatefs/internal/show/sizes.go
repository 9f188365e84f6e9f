package show

import (
	"strings"

	"slatefs/chain/size"
)

// ParseSize reads a size in bytes, as size.Parse does; a bad one is a usage error.
func ParseSize(s string) (int64, error) {
	n, err := size.Parse(s)
	if err != nil {
		return 0, Usagef("%s", strings.TrimSuffix(err.Error(), ": "+size.ErrInvalid.Error()))
	}
	return n, nil
}

// FormatSize prints bytes as zfs does: three digits and a binary unit, 1.50G.
func FormatSize(n int64) string { return size.Format(n) }

// Size is a flag that takes a size.
type Size struct {
	Bytes int64
	Given bool // it was on the command line; else Bytes is what it was before
}

// String is the flag's default for help texts, which has none.
func (s *Size) String() string { return "" }

// Type is the flag's word in help texts.
func (s *Size) Type() string { return "SIZE" }

// Set parses the flag.
func (s *Size) Set(text string) (err error) {
	s.Bytes, err = ParseSize(text)
	s.Given = err == nil
	return err
}
