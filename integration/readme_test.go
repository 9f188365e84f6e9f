package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// session is what a section of README.md shows of a terminal: command lines, and what they print.
type session struct {
	t        *testing.T
	commands []string
	outputs  []string
}

// readmeSession reads the blocks of a section.
func readmeSession(t *testing.T, section string) *session {
	t.Helper()
	_, text, found := strings.Cut(string(read(t, "../README.md")), "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	s := &session{t: t}
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "# "); ok {
				s.commands, s.outputs = append(s.commands, strings.TrimSpace(command)), append(s.outputs, "")
			} else {
				s.outputs[len(s.outputs)-1] += line
			}
		}
	}
	if !found || len(s.commands) < 20 {
		t.Fatalf("README.md has %d commands in %q", len(s.commands), section)
	}
	return s
}

// mark stands before the output of each command, with its exit code.
const mark = "== exit "

// script runs the commands word for word.
func (s *session) script() string {
	script := `export LC_ALL=C TZ=UTC
qemu-img() {
  local at=/host/usr/lib/$(uname -m)-linux-gnu
  "$at"/ld-linux*.so.? --library-path "$at:$at/ceph:/host/usr/lib" /host/usr/bin/qemu-img "$@"
}
`
	for _, command := range s.commands {
		script += fmt.Sprintf("out=$({ %s ; } 2>&1); echo \"%s$?\"; echo \"$out\"\n", command, mark)
	}
	return script
}

// What differs from one session to the next: numbers with their units, days and months, and how the eraser is getting on.
var (
	volatile = regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b|[0-9][0-9.:]*[KMG]?|-|\s+`)
	underway = regexp.MustCompile(`erase status|erase wait|--wait`)
)

// plainOutput is an output without these, and without lines of progress, which are shown of what took long.
func plainOutput(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if !progressLine.MatchString(strings.TrimSpace(line)) {
			b.WriteString(line)
		}
	}
	return volatile.ReplaceAllString(b.String(), "")
}

// compare compares what was printed with what README.md shows.
func (s *session) compare(out string) {
	s.t.Helper()
	parts := strings.Split(out, mark)[1:]
	if len(parts) != len(s.commands) {
		s.t.Fatalf("%d commands, %d outputs:\n%s", len(s.commands), len(parts), out)
	}
	for i, command := range s.commands {
		code, text, _ := strings.Cut(parts[i], "\n")
		fails := strings.Contains(s.outputs[i], "slatefs: error: ")
		differs := !underway.MatchString(command) && plainOutput(text) != plainOutput(s.outputs[i])
		if fails != (code != "0") || differs {
			s.t.Errorf("# %s\nexits with %s, and prints\n%sREADME.md has\n%s", command, code, text, s.outputs[i])
		}
	}
}
