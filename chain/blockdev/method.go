package blockdev

import (
	"errors"
	"fmt"
	"slices"
)

// Method is a way to make a range read as zeros.
type Method uint8

// Auto is the choice among the methods of a device; it is no Method of Zero.
const Auto Method = 0

// The methods. Overwrite works everywhere; Zeroout and Unmap on block devices;
// Release on pool files, where it gives space back and erases nothing.
const (
	Overwrite Method = iota + 1 // write zeros
	Zeroout                     // zeros without data, offloaded where the device can
	Unmap                       // zeros by deallocation, where the device promises zeros
	Release                     // punch a hole into a pool file; never counts as erased
)

// String is the method's name in flags and logs.
func (m Method) String() string {
	switch m {
	case Auto:
		return "auto"
	case Overwrite:
		return "overwrite"
	case Zeroout:
		return "zeroout"
	case Unmap:
		return "unmap"
	case Release:
		return "release"
	}
	return fmt.Sprintf("method(%d)", uint8(m))
}

// Erases tells whether bytes under a successful Zero by m, once synced, are
// gone from the device.
func (m Method) Erases() bool { return m == Overwrite || m == Zeroout || m == Unmap }

// ErrNoMethod is for a text that names no Method, or no Verify.
var ErrNoMethod = errors.New("no such word")

// methods are those that have a word.
var methods = []Method{Auto, Zeroout, Unmap, Overwrite, Release}

// MethodWords are what ParseMethod takes.
func MethodWords() (words []string) {
	for _, m := range methods {
		words = append(words, m.String())
	}
	return words
}

// ParseMethod is the Method that a word names, as String prints it; auto is the zero Method.
func ParseMethod(s string) (Method, error) {
	for _, m := range methods {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("%q: want auto, zeroout, unmap, overwrite or release: %w", s, ErrNoMethod)
}

// Verify says how much of what was zeroed is read back after the sync. It proves what the device returns, and no more
// than that.
type Verify uint8

// The degrees of reading back.
const (
	// VerifyOff reads nothing back.
	VerifyOff Verify = iota
	// VerifySample reads the first and the last block of each run, and one at random in each MiB of it. If one is not
	// zero the whole run has failed.
	VerifySample
	// VerifyFull reads every block. Blocks that are not zero have failed.
	VerifyFull
)

var verifyWords = []string{"off", "sample", "full"}

// String is the word in flags and logs.
func (v Verify) String() string {
	if int(v) < len(verifyWords) {
		return verifyWords[v]
	}
	return fmt.Sprintf("verify(%d)", uint8(v))
}

// VerifyWords are what ParseVerify takes.
func VerifyWords() []string { return slices.Clone(verifyWords) }

// ParseVerify is the Verify that a word names.
func ParseVerify(s string) (Verify, error) {
	if i := slices.Index(verifyWords, s); i >= 0 {
		return Verify(i), nil
	}
	return 0, fmt.Errorf("%q: want off, sample or full: %w", s, ErrNoMethod)
}

// How is how blocks became zero.
type How struct {
	Method Method
	Verify Verify
}
