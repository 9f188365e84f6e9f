// Command gotest runs one `go test -json` command as a named suite with a time budget.
//
// It prints what a reader needs (package lines, the whole output of failed tests), adds one
// tab-separated line about the suite to the results file (suite, budget, seconds, passed, failed,
// skipped, verdict), and one line per skipped test to the skips file (suite, package, test, reason).
// Every test and every subtest counts as one. It exits with 1 unless the verdict is "ok".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// allowedSkip is what the message of a skip must contain to be forgiven where CI=true.
const allowedSkip = "guest kernel"

// config is the command line.
type config struct {
	suite   string
	budget  time.Duration
	results string // file to append to
	skips   string // file to append to
	strict  bool   // a skip is a failure
	verbose bool   // print the output of passed tests, too
	command []string
}

func main() {
	c := config{strict: os.Getenv("CI") == "true", verbose: os.Getenv("V") == "1"}
	flag.StringVar(&c.suite, "suite", "", "`name` of the suite")
	flag.DurationVar(&c.budget, "budget", 0, "wall clock that the command may take, its build included")
	flag.StringVar(&c.results, "results", "", "`file` that the suite's line is added to")
	flag.StringVar(&c.skips, "skips", "", "`file` that skipped tests are added to")
	flag.Parse()
	c.command = flag.Args()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest: error:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// run executes the command and records what came of it; ok tells whether the verdict is "ok".
func run(ctx context.Context, c config) (ok bool, err error) {
	if c.suite == "" || c.budget <= 0 || len(c.command) == 0 {
		return false, errors.New("usage: gotest -suite NAME -budget DURATION -results FILE -skips FILE COMMAND…")
	}
	budget, cancel := context.WithTimeout(ctx, c.budget)
	defer cancel()

	t := newTally(os.Stdout, c.verbose)
	cmd := exec.CommandContext(budget, c.command[0], c.command[1:]...)
	cmd.Stdout, cmd.Stderr = t, os.Stdout
	// The command has a process group of its own, so that nothing it started outlives the budget;
	// WaitDelay is for a process which left the group and still holds the pipe.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second

	start := time.Now()
	runErr := cmd.Run()
	took := time.Since(start)
	t.close()

	verdict := t.verdict(runErr, c.strict)
	switch {
	case ctx.Err() != nil:
		verdict = "interrupted"
	case budget.Err() != nil:
		verdict = "over budget"
	}
	if err := record(c, t, took, verdict); err != nil {
		return false, err
	}
	return verdict == "ok", nil
}

// verdict judges a command that ended by itself.
func (t *tally) verdict(runErr error, strict bool) string {
	switch {
	case runErr != nil || t.failed > 0:
		if t.failed == 0 {
			fmt.Fprintln(t.w, "gotest: command:", runErr)
			t.failed = 1
		}
		return "failed"
	case t.passed+t.skipped == 0:
		return "no tests"
	case strict && t.forbidden() > 0:
		return "skips"
	}
	return "ok"
}

// record appends to the results and the skips file.
func record(c config, t *tally, took time.Duration, verdict string) error {
	line := fmt.Sprintf("%s\t%d\t%.1f\t%d\t%d\t%d\t%s\n", c.suite, int(c.budget.Seconds()), took.Seconds(),
		t.passed, t.failed, t.skipped, verdict)
	if err := appendTo(c.results, line); err != nil {
		return err
	}
	var b strings.Builder
	for _, s := range t.skips {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", c.suite, s.pkg, s.test, s.reason)
	}
	return appendTo(c.skips, b.String())
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
