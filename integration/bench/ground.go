package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

const (
	kiB = 1 << 10
	miB = 1 << 20
)

// ground is where a run takes place: a directory with the files of all peers, and the peers.
type ground struct {
	settings
	here  string        // all that the run makes
	size  int64         // bytes of the file of each peer
	long  time.Duration // of one job of fio
	peers map[string]peer
	order []string // their names
	undo  []func() error

	others map[string]*slatePeer // pools that curves have for themselves
	large  *slatePeer            // the pool of the rows on 10 TiB; nil: not yet
}

// newGround makes the files and starts the peers. After an error nothing is left.
func newGround(ctx context.Context, s settings) (g *ground, err error) {
	g = &ground{settings: s, size: 1 << 30, long: 2 * time.Second, peers: map[string]peer{}, others: map[string]*slatePeer{}}
	if s.quick {
		g.size, g.long = 64*miB, 200*time.Millisecond
	}
	if g.slatefs, err = filepath.Abs(s.slatefs); err != nil {
		return nil, err
	}
	if g.here, err = os.MkdirTemp(s.dir, "bench."); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if err := os.Setenv("SLATEFS_STATE_DIR", filepath.Join(g.here, "state")); err != nil {
		return g, err
	}
	if err := os.Setenv("SLATEFS_RUN_DIR", filepath.Join(g.here, "run")); err != nil {
		return g, err
	}
	for _, name := range s.peers {
		k, ok := kinds[name]
		if !ok {
			return g, fmt.Errorf("there is no peer %q: %s", name, strings.Join(peerNames(), ", "))
		}
		say("%s: its files", name)
		p, err := k(ctx, g, name)
		if err != nil {
			return g, fmt.Errorf("%s: %w", name, err)
		}
		g.peers[name] = p
		g.order = append(g.order, name)
	}
	return g, nil
}

// close ends the peers and removes all files, the last first.
func (g *ground) close() error {
	var errs []error
	for i := len(g.undo) - 1; i >= 0; i-- {
		errs = append(errs, g.undo[i]())
	}
	g.undo = nil
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err == nil && bytes.Contains(mounts, []byte(" "+g.here+"/")) {
		return errors.Join(append(errs, fmt.Errorf("something is still mounted below %s", g.here))...)
	}
	return errors.Join(append(errs, err, os.RemoveAll(g.here))...)
}

// later has fn called by close, before what was there already.
func (g *ground) later(fn func() error) { g.undo = append(g.undo, fn) }

// path is a path in the run's directory.
func (g *ground) path(name string) string { return filepath.Join(g.here, name) }

// fill makes a file of random bytes, none of them a hole, and has them on the device.
func fill(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var seed [32]byte
	src := rand.NewChaCha8(seed)
	b := make([]byte, miB)
	for off := int64(0); off < size; off += miB {
		if _, err := src.Read(b); err != nil {
			return err
		}
		if _, err := f.WriteAt(b[:min(miB, size-off)], off); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// scatter writes so many bytes, as blocks of 4 KiB at random places of the first size bytes of a file.
func scatter(path string, size, bytes int64, seed uint64) error {
	return parallel(path, func(fd, i int) error {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		b := blockdev.Aligned(4 * kiB)
		for range bytes / (4 * kiB) / workers {
			off := rng.Int64N(size/(4*kiB)) * 4 * kiB
			binary.NativeEndian.PutUint64(b, rng.Uint64())
			if _, err := unix.Pwrite(fd, b, off); err != nil {
				return &os.PathError{Op: "write", Path: path, Err: err}
			}
		}
		return nil
	})
}

// workers are the goroutines of parallel.
const workers = 8

// parallel opens a file for direct I/O, and calls fn on workers goroutines, which it numbers.
func parallel(path string, fn func(fd, i int) error) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	var work sync.WaitGroup
	var errs [workers]error
	for i := range workers {
		work.Go(func() { errs[i] = fn(fd, i) })
	}
	work.Wait()
	return errors.Join(append(errs[:], unix.Close(fd))...)
}

// command runs a program to its end and returns what it printed.
func command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// server is a process that serves a mount.
type server struct{ cmd *exec.Cmd }

// serve starts a program and waits until ready is true.
func serve(ready func() bool, name string, args ...string) (*server, error) {
	cmd := exec.Command(name, args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for limit := time.After(20 * time.Second); !ready(); {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ended: %w: %s", filepath.Base(name), err, errOut.String())
		case <-limit:
			return nil, errors.Join(fmt.Errorf("%s does not serve", filepath.Base(name)), cmd.Process.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return &server{cmd}, nil
}

// end asks the process to end, and waits until it is gone.
func (s *server) end() error {
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	for range 2000 {
		if unix.Kill(s.cmd.Process.Pid, 0) != nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("%s did not end", s.cmd.Path), s.cmd.Process.Kill())
}

// say tells on stderr what goes on.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1f s  "+format+"\n", append([]any{time.Since(begun).Seconds()}, args...)...)
}

// begun is when the program was started.
var begun = time.Now()
