// Command gotest runs one `go test -json` command as a named suite.
//
// The suite has a budget, which is reported beside what it took and ends nothing. What ends a command is no progress
// for a long time (.ci/progress): it gets SIGQUIT, so that the tests print what their goroutines wait for.
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

	"slatefs/.ci/progress"
)

// allowedSkip is what the message of a skip must contain to be forgiven where CI=true.
const allowedSkip = "guest kernel"

// config is the command line.
type config struct {
	suite   string
	budget  time.Duration // what it should take, to be reported
	stall   time.Duration // without progress for so long it hangs
	grace   time.Duration // to print its goroutines then
	results string        // file to append to
	skips   string        // file to append to
	strict  bool          // a skip is a failure
	verbose bool          // print the output of passed tests, too
	command []string
}

func main() {
	c := config{grace: time.Minute, strict: os.Getenv("CI") == "true", verbose: os.Getenv("V") == "1"}
	flag.StringVar(&c.suite, "suite", "", "`name` of the suite")
	flag.DurationVar(&c.budget, "budget", 0, "wall clock that the command should take, its build included; reported only")
	flag.DurationVar(&c.stall, "stall", 10*time.Minute, "a command that makes no progress for so long hangs")
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
	if c.suite == "" || c.budget <= 0 || c.stall <= 0 || len(c.command) == 0 {
		return false, errors.New("usage: gotest -suite NAME -budget DURATION [-stall DURATION] -results FILE -skips FILE COMMAND…")
	}
	t := newTally(os.Stdout, c.verbose)
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Stdout, cmd.Stderr = t, os.Stdout
	// The command has a process group of its own, so that nothing it started outlives it when it is ended;
	// WaitDelay is for a process which left the group and still holds the pipe.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second

	start := time.Now()
	runErr := cmd.Start()
	hung := false
	if runErr == nil {
		hung, runErr = c.await(cmd, t)
	}
	took := time.Since(start)
	t.close()

	verdict := t.verdict(runErr, c.strict)
	switch {
	case ctx.Err() != nil:
		verdict = "interrupted"
	case hung:
		verdict = "hang"
	}
	if err := record(c, t, took, verdict); err != nil {
		return false, err
	}
	return verdict == "ok", nil
}

// await waits for a started command. One that hangs gets SIGQUIT, upon which Go programs print their goroutines and
// end, and SIGKILL if that does not end it.
func (c config) await(cmd *exec.Cmd, t *tally) (hung bool, err error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w := progress.New(c.stall, time.Now())
	look := time.NewTicker(w.Every())
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			return false, err
		case now := <-look.C:
			if !w.Hangs(now, t.lastOutput(), progress.CPU(cmd.Process.Pid)) {
				continue
			}
		}
		break
	}
	fmt.Fprintf(os.Stdout, "gotest: no progress, and no output for %s: SIGQUIT\n", time.Since(t.lastOutput()).Round(time.Second))
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGQUIT) //nolint:errcheck // it has ended
	defer cmd.Cancel()                                  //nolint:errcheck // what did not listen may still be there
	select {
	case err := <-ended:
		return true, err
	case <-time.After(c.grace):
	}
	_ = cmd.Cancel() //nolint:errcheck // it has ended
	return true, <-ended
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
