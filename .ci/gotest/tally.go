package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// event is one line of `go test -json` (see `go doc test2json`).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// testID names a test or a subtest.
type testID struct{ pkg, test string }

// skip is one skipped test and why.
type skip struct {
	testID
	reason string
}

// tally counts the events that are written to it, and prints what a reader needs.
type tally struct {
	w       io.Writer
	verbose bool
	partial []byte       // the line that is not yet whole
	last    atomic.Int64 // when something was written last, nanoseconds since 1970

	passed, failed, skipped int
	skips                   []skip
	open                    map[testID][]string // output of the tests that have no result yet
	broken                  map[string]bool     // packages with a failed test
}

func newTally(w io.Writer, verbose bool) *tally {
	t := &tally{w: w, verbose: verbose, open: map[testID][]string{}, broken: map[string]bool{}}
	t.last.Store(time.Now().UnixNano())
	return t
}

// lastOutput is when something was written last; any goroutine may ask.
func (t *tally) lastOutput() time.Time { return time.Unix(0, t.last.Load()) }

// Write takes the next piece of the stream; it never fails.
func (t *tally) Write(p []byte) (int, error) {
	t.last.Store(time.Now().UnixNano())
	t.partial = append(t.partial, p...)
	for {
		line, rest, found := bytes.Cut(t.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		t.line(line)
		t.partial = rest
	}
}

// close ends the stream: tests without a result have failed.
func (t *tally) close() {
	if len(t.partial) > 0 {
		t.line(t.partial)
		t.partial = nil
	}
	t.unfinished("")
}

func (t *tally) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		fmt.Fprintf(t.w, "%s\n", line)
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(t.w, e.Output)
		return
	}
	if e.Test == "" {
		t.packageEvent(e)
		return
	}
	t.testEvent(e)
}

func (t *tally) packageEvent(e event) {
	switch e.Action {
	case "output":
		if e.Output != "PASS\n" && e.Output != "FAIL\n" {
			fmt.Fprint(t.w, e.Output)
		}
	case "fail":
		t.unfinished(e.Package)
		if !t.broken[e.Package] { // it did not build, or failed outside of its tests
			t.failed++
		}
	}
}

func (t *tally) testEvent(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		t.open[id] = nil
	case "output":
		t.open[id] = append(t.open[id], e.Output)
		if t.verbose {
			fmt.Fprint(t.w, e.Output)
		}
	case "pass":
		t.passed++
		delete(t.open, id)
	case "fail":
		t.fail(id)
	case "skip":
		t.skipped++
		t.skips = append(t.skips, skip{id, reason(t.open[id])})
		delete(t.open, id)
	}
}

func (t *tally) fail(id testID) {
	t.failed++
	t.broken[id.pkg] = true
	if !t.verbose {
		fmt.Fprint(t.w, strings.Join(t.open[id], ""))
	}
	delete(t.open, id)
}

// unfinished fails the tests of a package ("" = of all) that have no result.
func (t *tally) unfinished(pkg string) {
	var ids []testID
	for id := range t.open {
		if pkg == "" || id.pkg == pkg {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b testID) int { return strings.Compare(a.pkg+" "+a.test, b.pkg+" "+b.test) })
	for _, id := range ids {
		fmt.Fprintf(t.w, "gotest: %s %s did not finish\n", id.pkg, id.test)
		t.fail(id)
	}
}

// forbidden counts the skips that are a failure where CI=true.
func (t *tally) forbidden() int {
	n := 0
	for _, s := range t.skips {
		if !strings.Contains(s.reason, allowedSkip) {
			n++
		}
	}
	return n
}

// logged is the head of what a test logs; a skip's message is logged last.
var logged = regexp.MustCompile(`^\s+[^\s:]+\.go:\d+: `)

// reason finds the message of a skip in the test's output.
func reason(output []string) string {
	var words []string
	for _, line := range strings.SplitAfter(strings.Join(output, ""), "\n") {
		switch text := strings.TrimSpace(line); {
		case text == "" || strings.HasPrefix(text, "=== ") || strings.HasPrefix(text, "--- SKIP"):
		case logged.MatchString(line):
			words = []string{text}
		default:
			words = append(words, text)
		}
	}
	if len(words) == 0 {
		return "no reason given"
	}
	return strings.ReplaceAll(strings.Join(words, " "), "\t", " ")
}
