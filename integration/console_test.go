package integration

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Texts show commands and what they print. They are read from the texts and carried out, as a reader would who follows them.

// consoleStep is a command of a text, and what it prints there.
type consoleStep struct {
	line int
	cmd  string
	want []string
}

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
}

// TestConsole: who types the commands of README.md and docs/space.md gets what stands there, but for sizes and times.
func TestConsole(t *testing.T) {
	needsRoot(t)
	needs(t, "qemu-img", "mkfs.ext4", "e2label")
	for _, c := range []consoleText{
		{"five minutes", "README.md", "## Five minutes", "## ", ""},
		{
			"space", "docs/space.md", "# ", "## Where it differs",
			"slatefs pool create --size 1G lab /srv/lab.pool && mkdir /mnt/lab && slatefs mount lab /mnt/lab",
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
		var got []string
		if out := strings.TrimSuffix(run(s.cmd).stdout, "\n"); out != "" {
			got = strings.Split(back.Replace(out), "\n")
		}
		if shapes(got) != shapes(s.want) {
			t.Errorf("%s:%d: %s\nprints\n%s\nand not\n%s", c.file, s.line, s.cmd, strings.Join(got, "\n"), strings.Join(s.want, "\n"))
		}
	}
}
