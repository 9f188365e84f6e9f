package integration

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Texts show commands and what they print. They are read from the texts and carried out, as a reader would who follows them.

// consoleStep is a command of a text, and what it prints there.
type consoleStep struct {
	line   int
	cmd    string
	want   []string
	hidden bool // it is in a comment: a fault that readers have without it, or its end
}

// hiddenStep is such a comment.
var hiddenStep = regexp.MustCompile("^<!-- run: (.*) -->$")

// consoleSteps are the steps of the console blocks of a text between two lines that begin with from and to.
func consoleSteps(t *testing.T, file, from, to string) (steps []consoleStep) {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	on, inside := false, false
	for i, l := range strings.Split(string(text), "\n") {
		switch {
		case !on:
			on = strings.HasPrefix(l, from)
		case !inside && strings.HasPrefix(l, to):
			return steps
		case !inside && hiddenStep.MatchString(l):
			steps = append(steps, consoleStep{line: i + 1, cmd: hiddenStep.FindStringSubmatch(l)[1], hidden: true})
		case l == "```console":
			inside = true
		case l == "```":
			inside = false
		case inside && strings.HasPrefix(l, "# "):
			steps = append(steps, consoleStep{line: i + 1, cmd: l[2:]})
		case inside && len(steps) == 0:
			t.Fatalf("%s:%d: output of no command", file, i+1)
		case inside:
			s := &steps[len(steps)-1]
			s.want = append(s.want, l)
		}
	}
	t.Fatalf("%s: no %q after %q", file, to, from)
	return nil
}

// What differs from one time to the next: sizes, times, rates, IDs, and what a job is doing just now.
var (
	changing = regexp.MustCompile(`\b[0-9][0-9.,]*[BKMGT]?\b(/s)?`)
	whenDay  = regexp.MustCompile(`\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b`)
	jobState = regexp.MustCompile(`\b(queued|erasing|waiting|walking)\b`)
	absent   = regexp.MustCompile(`(^| )-( |$)`)
)

// shape is a line without what differs from one time to the next.
func shape(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	line = changing.ReplaceAllString(line, "0")
	line = whenDay.ReplaceAllString(line, "Day")
	line = jobState.ReplaceAllString(line, "queued")
	return absent.ReplaceAllString(absent.ReplaceAllString(line, "${1}0${2}"), "${1}0${2}")
}

// progressLine is shown of what takes longer than a moment.
var progressLine = regexp.MustCompile(`^[0-9]+ B [0-9.]+ MB .*/s$`)

// shapes are those of lines, one below the other, but for progress.
func shapes(lines []string) string {
	var out []string
	for _, l := range lines {
		if !progressLine.MatchString(l) {
			out = append(out, shape(l))
		}
	}
	return strings.Join(out, "\n")
}

// A consoleText is a part of a text that is tried.
type consoleText struct {
	name, file string
	from, to   string // lines
	first      string // before all commands
	done       int    // lines of the text that are corrected
}

// UPDATE_CONSOLE=1 puts what the commands print into the texts.
//
// TestConsole: who types the commands of README.md, docs/space.md and docs/operations.md gets what stands there, but for sizes and times.
func TestConsole(t *testing.T) {
	needsRoot(t)
	needs(t, "qemu-img", "mkfs.ext4", "e2label")
	for _, c := range []consoleText{
		{name: "five minutes", file: "README.md", from: "## Five minutes", to: "## "},
		{
			name: "space", file: "docs/space.md", from: "# ", to: "## Where it differs",
			first: "slatefs pool create --size 1G lab /srv/lab.pool && mkdir /mnt/lab && slatefs mount lab /mnt/lab",
		},
		{
			name: "operations", file: "docs/operations.md", from: "# ", to: "## Exporter down",
			first: "slatefs pool create --size 256M lab /srv/lab.pool && mkdir /mnt/lab && slatefs mount lab /mnt/lab && sleep 1",
		},
	} {
		t.Run(c.name, func(t *testing.T) { c.try(t) })
	}
}

func (c *consoleText) try(t *testing.T) {
	steps, l := consoleSteps(t, "../"+c.file, c.from, c.to), newLab(t)
	for _, d := range []string{"srv", "mnt"} {
		must(t, os.Mkdir(l.path(d), 0o755))
	}
	there := strings.NewReplacer("/srv/", l.path("srv")+"/", "/mnt/", l.path("mnt")+"/")
	back := strings.NewReplacer(l.path("srv")+"/", "/srv/", l.path("mnt")+"/", "/mnt/")
	run := func(cmd string) result {
		return l.exec("bash", "-c", "slatefs() { "+program+` "$@"; }; exec 2>&1; `+there.Replace(cmd))
	}
	if c.first != "" {
		l.ok(run(c.first))
	}
	for _, s := range steps {
		if s.hidden {
			l.ok(run(s.cmd))
			continue
		}
		var got []string
		if out := strings.TrimSuffix(run(s.cmd).stdout, "\n"); out != "" {
			got = strings.Split(back.Replace(out), "\n")
		}
		if os.Getenv("UPDATE_CONSOLE") != "" {
			c.correct(t, s, got)
			continue
		}
		if shapes(got) != shapes(s.want) {
			t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", c.file, s.line, s.cmd, strings.Join(got, "\n"), strings.Join(s.want, "\n"))
		}
	}
}

// correct puts what a command printed into the text.
func (c *consoleText) correct(t *testing.T, s consoleStep, got []string) {
	t.Helper()
	file := "../" + c.file
	text, err := os.ReadFile(file)
	must(t, err)
	lines := strings.Split(string(text), "\n")
	at := slices.Index(lines, "# "+s.cmd)
	if c.done > at {
		at = c.done + slices.Index(lines[c.done:], "# "+s.cmd)
	}
	end := at + 1 + len(s.want)
	lines = slices.Concat(lines[:at+1], got, lines[end:])
	c.done = at + 1 + len(got)
	must(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644))
}
