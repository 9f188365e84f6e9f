// Package mutants holds the critical lines of slatefs, each with a change that breaks an invariant of it and a test that
// finds that. Its one test makes the changes, one at a time, and fails where nobody notices: a test that has lost its
// teeth. The lines are in the file `list`, whose head says how it is written.
package mutants

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// mutant is one change of one file.
type mutant struct {
	name      string   // one word
	invariant string   // what the line is for
	file      string   // from the top of the tree
	old, new  []string // lines; indentation does not count
	pkg       string   // whose tests find it, as ./chain
	run       string   // a pattern, as of go test -run
	args      []string // more arguments of the test binary
}

// parse reads a list.
func parse(r io.Reader) (list []mutant, err error) {
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		line := strings.TrimRight(in.Text(), " \t")
		word, rest, _ := strings.Cut(line, " ")
		if line == "" || word == "#" {
			continue
		}
		if word == "mutant" {
			name, invariant, _ := strings.Cut(rest, ": ")
			list = append(list, mutant{name: name, invariant: invariant})
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("line %d: %q before the first mutant", n, word)
		}
		m := &list[len(list)-1]
		switch word {
		case "file":
			m.file = rest
		case "-":
			m.old = append(m.old, strings.TrimSpace(rest))
		case "+":
			m.new = append(m.new, rest)
		case "test":
			f := strings.Fields(rest)
			if len(f) < 2 {
				return nil, fmt.Errorf("line %d: want a package and a pattern", n)
			}
			m.pkg, m.run, m.args = f[0], f[1], f[2:]
		default:
			return nil, fmt.Errorf("line %d: %q is no word of a list", n, word)
		}
	}
	names := map[string]bool{}
	for _, m := range list {
		if m.invariant == "" || m.file == "" || len(m.old) == 0 || m.pkg == "" {
			return nil, fmt.Errorf("mutant %s: not whole: %+v", m.name, m)
		}
		if names[m.name] {
			return nil, fmt.Errorf("mutant %s: there are two", m.name)
		}
		names[m.name] = true
	}
	return list, in.Err()
}

// apply makes the change in the text of the file. The old lines must be there exactly once.
func (m mutant) apply(text string) (string, error) {
	lines := strings.Split(text, "\n")
	at := -1
	for i := range lines {
		if !m.at(lines[i:]) {
			continue
		}
		if at >= 0 {
			return "", fmt.Errorf("%s: lines %d and %d: which one is it? The list must say more lines", m.file, at+1, i+1)
		}
		at = i
	}
	if at < 0 {
		return "", fmt.Errorf("%s has no lines\n\t%s\nWhat do they say now? The list must follow", m.file, strings.Join(m.old, "\n\t"))
	}
	rest := lines[at+len(m.old):]
	return strings.Join(append(append(lines[:at:at], m.new...), rest...), "\n"), nil
}

// at tells whether lines begin with the old ones.
func (m mutant) at(lines []string) bool {
	if len(lines) < len(m.old) {
		return false
	}
	for i, old := range m.old {
		if strings.TrimSpace(lines[i]) != old {
			return false
		}
	}
	return true
}
