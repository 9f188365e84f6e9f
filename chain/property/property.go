// Package property says what can be set on a pool, a directory or a volume: names, places, defaults, help, and what a value
// must look like. It keeps no values. Each package owns the properties that it works by and lists them; a Table is those of
// several, and who keeps values checks them by it.
package property

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/chain/fault"
)

// ErrInvalid is what this package's errors wrap: there is no such property, or a value is none of it.
var ErrInvalid = errors.New("invalid argument")

// Scope says what a property can be set on. The pool is the root directory.
type Scope uint8

// The scopes.
const (
	OnPool Scope = 1 << iota
	OnDir
	OnVolume
)

// String names the scopes: "a pool, directory or volume".
func (s Scope) String() string {
	var out []string
	for i, n := range []string{"pool", "directory", "volume"} {
		if s&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	if k := len(out) - 1; k > 0 {
		out = append(out[:k-1], out[k-1]+" or "+out[k])
	}
	return "a " + strings.Join(out, ", ")
}

// Property is one thing that can be set.
type Property struct {
	Name     string
	On       Scope
	Inherits Scope  // where it is taken from the directory above, unless set
	Default  string // canonical
	Bytes    bool   // a value that is a number is printed as a size
	// Host: the value says what is run or opened on the host that serves the pool. It is kept on that host, never in a pool,
	// which anybody may have written: a pool takes none, and what one has all the same is passed over.
	Host bool
	// Parse checks a value as people write it and returns the canonical text that is kept, which it takes as well. on is one
	// scope. Its errors are ErrInvalid.
	Parse Parser
	Help  string // what it does, for help texts, in lines of at most 95 characters
}

// Words are the values that are words, on any of some scopes, as the parser names them when it refuses a value that is none: so
// they are written once.
func (p Property) Words(on Scope) (words []string) {
	for s := OnPool; s <= OnVolume; s <<= 1 {
		var w wanting
		if _, err := p.Parse("\x00", s); p.On&on&s == 0 || !errors.As(err, &w) {
			continue
		}
		for _, word := range w.words {
			if !slices.Contains(words, word) {
				words = append(words, word)
			}
		}
	}
	return words
}

// Parser is what checks a value.
type Parser = func(val string, on Scope) (string, error)

// Table is properties, in the order in which people are shown them. It is not changed.
type Table []Property

// Join makes one table of several. It ends the process where a name is there twice, for that is a bug of this program.
func Join(ts ...Table) Table {
	all := slices.Concat(ts...)
	for i, p := range all {
		if j := slices.IndexFunc(all, func(q Property) bool { return q.Name == p.Name }); j != i {
			fault.Misuse("property %s is listed twice", p.Name)
		}
	}
	return all
}

// Named finds a property. ErrInvalid: there is none of that name.
func (t Table) Named(name string) (Property, error) {
	i := slices.IndexFunc(t, func(d Property) bool { return d.Name == name })
	if i < 0 {
		return Property{}, fmt.Errorf("property %q is unknown: %w", name, ErrInvalid)
	}
	return t[i], nil
}
