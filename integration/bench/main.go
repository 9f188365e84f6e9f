// Command bench measures slatefs beside its peers: the file itself, a bare go-fuse file system, and qemu-storage-daemon's FUSE
// export of a qcow2 chain. All rows and all peers take turns in each round, on files of one directory, so that what disturbs
// one disturbs all; what counts is the ratio of the medians. `make bench` is this.
//
// A row is a job of fio, or an operation whose caller waits. rows.go and ops.go have them, with the targets that they have to
// reach; a target that is missed makes the exit code 1. An error makes it 2.
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

// errMissed: all was measured, and some target was not reached.
var errMissed = errors.New("targets were missed")

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
	case errors.Is(err, errMissed):
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
	res, err := g.measure(ctx)
	if err := errors.Join(err, g.close()); err != nil { // before anything is printed: who reads may have gone
		return err
	}
	res.judge()
	before, err := readResults(s.before)
	if err != nil {
		return err
	}
	if s.svg != "" {
		if err := os.WriteFile(s.svg, res.plot(), 0o644); err != nil {
			return err
		}
	}
	if err := res.write(s.json); err != nil {
		return err
	}
	if _, err := os.Stdout.Write(res.text(before)); err != nil {
		return err
	}
	if n := res.missed(); n > 0 {
		return fmt.Errorf("%d of %d %w", n, len(res.Targets), errMissed)
	}
	return nil
}
