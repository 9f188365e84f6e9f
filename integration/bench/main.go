// Command bench measures slatefs beside its peers: the file itself, a bare go-fuse file system, and qemu-storage-daemon's FUSE
// export of a qcow2 chain. All rows and all peers take turns in each round, on files of one directory, so that what disturbs
// one disturbs all; what counts is the ratio of the medians. `make bench` is this.
//
// A row is a job of fio, or an operation whose caller waits, or a point of a curve, which tells what a cost depends on. rows.go,
// ops.go and curves.go have them, targets.go what they have to
// reach; a target that is missed makes the exit code 1, and so does a row that fails: it is named in the table, with all that
// was measured. Where nothing can be measured it is 2.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// settings are what a run is asked for.
type settings struct {
	slatefs string // the program
	dir     string // where everything lies that the run makes
	rounds  int
	quick   bool
	rows    *regexp.Regexp
	peers   []string
	json    string // file of the results; empty: none
	svg     string // file of the plot; empty: none
	before  string // results of a run before, to compare with; empty, or not there: none
}

// Why what was measured is not good.
var (
	errMissed  = errors.New("targets were missed")
	errFailed  = errors.New("runs of rows failed")
	errStopped = errors.New("interrupted")
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == bareCommand {
		exit(serveBare(os.Args[2], os.Args[3]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	err := run(ctx)
	stop()
	exit(err)
}

func exit(err error) {
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, errMissed), errors.Is(err, errFailed), errors.Is(err, errStopped):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
}

func parseSettings() (settings, error) {
	var s settings
	var rows, peers string
	flag.StringVar(&s.slatefs, "slatefs", "bin/slatefs", "the `program` that is measured")
	flag.StringVar(&s.dir, "dir", "", "`directory` below which the files lie; $TMPDIR by default. Its file system is what is measured against")
	flag.IntVar(&s.rounds, "rounds", 5, "how often each row is run")
	flag.BoolVar(&s.quick, "quick", false, "one round of short runs on small files: for a look, not for a claim")
	flag.StringVar(&rows, "rows", ".", "run the rows whose names match the `regexp`")
	flag.StringVar(&peers, "peers", strings.Join([]string{native, bare, qsd, slate}, ","),
		"`names`, with commas, of "+strings.Join(peerNames(), ", "))
	flag.StringVar(&s.json, "json", "", "write the results to `file`")
	flag.StringVar(&s.svg, "svg", "", "draw the ratios into `file`")
	flag.StringVar(&s.before, "before", "", "compare with the results in `file`, if it is there")
	flag.Parse()
	if flag.NArg() > 0 {
		return s, fmt.Errorf("what is %q? -h tells the options", flag.Arg(0))
	}
	if s.rounds < 1 {
		return s, fmt.Errorf("-rounds %d: at least one", s.rounds)
	}
	if s.quick {
		s.rounds = 1
	}
	s.peers = strings.Split(peers, ",")
	var err error
	s.rows, err = regexp.Compile(rows)
	return s, err
}

func run(ctx context.Context) error {
	s, err := parseSettings()
	if err != nil {
		return err
	}
	g, err := newGround(ctx, s)
	if err != nil {
		return err
	}
	res := g.measure(ctx)
	left := g.close() // before anything is printed: who reads may have gone
	res.judge()
	return errors.Join(s.publish(res), left, res.verdict())
}

// publish prints and writes what was measured.
func (s settings) publish(res *results) error {
	before, err := readResults(s.before)
	if err != nil {
		say("%v", err) // all else is shown
	}
	if s.svg != "" {
		if err := os.WriteFile(s.svg, res.plot(), 0o644); err != nil {
			return err
		}
	}
	if err := res.write(s.json); err != nil {
		return err
	}
	_, err = os.Stdout.Write(res.text(before))
	return err
}

// verdict is nil if all was measured and every target reached.
func (res *results) verdict() error {
	var errs []error
	if n := res.failed(); n > 0 {
		errs = append(errs, fmt.Errorf("%d %w", n, errFailed))
	}
	if n := res.missed(); n > 0 {
		errs = append(errs, fmt.Errorf("%d of %d %w", n, len(res.Targets), errMissed))
	}
	if res.Stopped {
		errs = append(errs, errStopped)
	}
	return errors.Join(errs...)
}
