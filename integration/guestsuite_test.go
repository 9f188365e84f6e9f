package integration

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

// docsTable makes the tests of tables write theirs into the documentation.
var (
	docsTable = flag.Bool("docs", false, "write the tables of TestExperiment and TestFirstWrites into docs/lvm.md")
	tables    = []string{"TestExperiment", "TestFirstWrites"}
)

var insideRun = flag.String("inside", "", "only these of the tests that run in a guest")

// insideEnv are variables that tests in a guest read: how long TestStalled's device answers nothing; how much TestReclaim dirties.
var insideEnv = []string{"SLATEFS_STALL", "SLATEFS_SCALE"}

// insideLimit bounds a guest's run: an emulated machine on a busy one is slow.
const insideLimit = time.Hour

// The tests of the package inside, by the guest that runs them; what is in none of these has a guest of its own.
var insideGroups = map[string]string{
	"life":    "Life|FullGroup|Experiment",
	"trouble": "DeadPart|Stalled|PowerCut|LogWrites|Offload|FirstWrites",
	"reclaim": "Reclaim",
}

// roomFor is what a guest has that runs tests, in MiB of memory and bytes of its first disk: TestReclaim wants little of the one and more
// of the other.
func roomFor(which string) (memory int, disk int64) {
	if run, named := strings.CutPrefix(which, "-test.run "); named && strings.Contains(run, "Reclaim") {
		return 512, 4 << 30
	}
	return guestMemory, 512 << 20
}

// These need their host to take part, and have guests of their own.
const (
	insideHosted = "TestOutlive$"
	insideFsync  = "TestFsynced$"
	insideDisks  = "TestDisks$"
)

// TestGuest runs the tests of the package inside, many in one guest, and shows each as a subtest.
func TestGuest(t *testing.T) {
	if *insideRun != "" {
		runInside(t, "-test.run '"+*insideRun+"'")
		return
	}
	guest := func(name, which string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a guest keeps little more than one processor busy
			runInside(t, which)
		})
	}
	named := []string{insideHosted, insideFsync, insideDisks}
	for name, tests := range insideGroups {
		named = append(named, tests)
		guest(name, "-test.run '"+tests+"'")
	}
	guest("rest", "-test.skip '"+strings.Join(named, "|")+"'")
}

// runInside runs tests in a guest with two empty disks.
func runInside(t *testing.T, which string) {
	l := newLab(t)
	command := "/inside.test -test.v -test.timeout 50m " + which
	for _, name := range insideEnv {
		if val := os.Getenv(name); val != "" {
			command = name + "='" + val + "' " + command
		}
	}
	memory, size := roomFor(which)
	g := l.newGuestOf(memory, insideLimit, command, l.image("a", size), l.image("b", 512<<20))
	code := g.wait()
	// A test's part of the output begins with its "=== RUN" line and has its "--- PASS" line.
	parts := map[string]string{}
	var order []string
	for line := range strings.Lines(g.text.String()) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "=== RUN   ")
		if ok && !strings.Contains(name, "/") {
			order = append(order, name)
		}
		if len(order) > 0 {
			parts[order[len(order)-1]] += line
		}
	}
	for _, name := range order {
		t.Run(name, func(t *testing.T) {
			out := parts[name]
			t.Log(out)
			switch {
			case strings.Contains(out, "\n--- SKIP: "+name):
				t.Error("a guest has all that its tests need")
			case !strings.Contains(out, "\n--- PASS: "+name):
				t.Fail()
			}
		})
	}
	if code != 0 || len(order) == 0 {
		t.Errorf("exit %d\n%s", code, g.log())
	}
	for _, name := range tables {
		if table := parts[name]; *docsTable && table != "" && !t.Failed() {
			must(t, writeTable("../docs/lvm.md", name, table))
		}
	}
}

// writeTable replaces the table between two marks in a document by the lines of a test's output that say "table: ".
func writeTable(path, test, out string) error {
	begin, end := "<!-- by "+test+" -->\n", "<!-- end -->"
	var table strings.Builder
	for line := range strings.Lines(out) {
		if _, row, ok := strings.Cut(line, "table: "); ok {
			table.WriteString(row)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return errors.New(path + ": has no marks for the table of " + test)
	}
	return os.WriteFile(path, []byte(head+begin+table.String()+end+tail), 0o644)
}

// image makes an empty disk for a guest.
func (l *lab) image(name string, size int64) disk {
	l.t.Helper()
	path := l.path(name + ".img")
	must(l.t, os.WriteFile(path, nil, 0o600))
	must(l.t, os.Truncate(path, size))
	return disk{path: path}
}
