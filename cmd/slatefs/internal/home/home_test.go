package home

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is a life of a daemon too: "life" and what it does.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "life" {
		if err := lives[os.Args[2]](Find()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var lives = map[string]func(h *Home) error{
	"keep": keepLife,
	"mute": func(h *Home) error { return firstOr(h, die, func() error { select {} }) },
	"fail": func(h *Home) error { return firstOr(h, die, func() error { return errors.New("no") }) },
	"remember": func(h *Home) error {
		return firstOr(h, func() error { return errors.Join(term(), die()) }, rememberLife(h))
	},
}

// firstOr serves and does first when nothing was kept before, else what comes then.
func firstOr(h *Home, first, then func() error) error {
	if h.Has("a") {
		return then()
	}
	if err := errors.Join(h.Keep("a", os.Stdin), h.Tell("READY=1")); err != nil {
		return err
	}
	return first()
}

func die() error { return unix.Kill(os.Getpid(), unix.SIGKILL) }

// term waits for SIGTERM.
func term() error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	<-c
	return nil
}

func rememberLife(h *Home) func() error {
	return func() error {
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGTERM)
		if err := h.Tell("READY=1"); err != nil {
			return err
		}
		<-c
		return nil
	}
}

// manyFiles are more than a daemon keeps.
const manyFiles = 40

// keepLife keeps many files, replaces one, and drops one; its successor must be given just that.
func keepLife(h *Home) error {
	name := func(i int) string { return fmt.Sprint("n", i) }
	return firstOr(h, func() error {
		for i := range manyFiles {
			r, w, err := os.Pipe()
			if err != nil {
				return err
			}
			_, err = w.WriteString(name(i) + "\n")
			if err := errors.Join(err, h.Keep(name(i%(manyFiles-1)), r)); err != nil { // the last replaces the first
				return err
			}
		}
		if err := h.Tell("FDSTOREREMOVE=1\nFDNAME=" + name(1)); err != nil {
			return err
		}
		return die()
	}, func() error {
		if h.Has(name(1)) {
			return errors.New("what was dropped is there")
		}
		for i := range manyFiles - 1 {
			want := name(i)
			switch i {
			case 0:
				want = name(manyFiles - 1)
			case 1:
				continue
			}
			b := make([]byte, 16)
			n, err := h.File(name(i)).Read(b)
			if err != nil || string(b[:n]) != want+"\n" {
				return fmt.Errorf("%s is %q, %w", name(i), b[:n], err)
			}
		}
		return h.Drop()
	})
}

// run runs a supervisor of such lives. Each is called before each life begins, with the lives in a row that never served.
func run(t *testing.T, what string, s *Supervisor, each func(life, retry int)) (code, lives int, err error) {
	t.Helper()
	s.Start = func(retry int) *exec.Cmd {
		each(lives, retry)
		lives++
		cmd := exec.Command(os.Args[0], "life", what)
		cmd.Stderr = os.Stderr
		return cmd
	}
	if s.Ready == nil {
		s.Ready = func(map[string]string) {}
	}
	s.Log = func(text string, args ...any) { t.Log(append([]any{text}, args...)...) }
	code, err = s.Run(t.Context())
	return code, lives, err
}

func nothing(int, int) {}

func signalUs(t *testing.T) {
	t.Helper()
	if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
		t.Error(err)
	}
}

func TestKept(t *testing.T) {
	if code, lives, err := run(t, "keep", &Supervisor{}, nothing); code != 0 || err != nil || lives != 2 {
		t.Errorf("exit code %d after %d lives, %v", code, lives, err)
	}
}

// TestGivenUp: SIGTERM ends a supervisor whose daemon does not come to serve, whether one is starting or none runs.
func TestGivenUp(t *testing.T) {
	if code, lives, err := run(t, "mute", &Supervisor{}, func(life, _ int) {
		if life == 1 {
			signalUs(t)
		}
	}); code != 1 || !errors.Is(err, errLost) || lives != 2 {
		t.Errorf("while one starts: exit code %d after %d lives, %v", code, lives, err)
	}
	var retries []int
	code, _, err := run(t, "fail", &Supervisor{}, func(_, retry int) {
		if retries = append(retries, retry); len(retries) == 5 {
			time.AfterFunc(100*time.Millisecond, func() { signalUs(t) })
		}
	})
	if code != 1 || !errors.Is(err, errLost) || !slices.Equal(retries[:5], []int{0, 0, 1, 2, 3}) {
		t.Errorf("while none runs: exit code %d after lives %v, %v", code, retries, err)
	}
}

// TestEndRemembered: who asked the daemon to end has asked its successor, too.
func TestEndRemembered(t *testing.T) {
	var served atomic.Int64
	s := &Supervisor{Ready: func(map[string]string) {
		if served.Add(1) == 1 {
			signalUs(t)
		}
	}}
	if code, lives, err := run(t, "remember", s, nothing); code != 0 || err != nil || lives != 2 || served.Load() != 2 {
		t.Errorf("exit code %d after %d lives, of which %d served, %v", code, lives, served.Load(), err)
	}
}

// TestBackOff: a daemon that does not come to serve is started less and less often.
func TestBackOff(t *testing.T) {
	var last time.Time
	var gaps []time.Duration
	_, _, err := run(t, "fail", &Supervisor{}, func(life, _ int) {
		now := time.Now()
		if life > 1 { // the second begins at once
			gaps = append(gaps, now.Sub(last))
		}
		if last = now; len(gaps) == 3 {
			signalUs(t)
		}
	})
	if !errors.Is(err, errLost) {
		t.Error(err)
	}
	for i, gap := range gaps {
		if least := restWait << i; gap < least {
			t.Errorf("life %d begins %v after the one before, not %v", i+2, gap, least)
		}
	}
}

// TestStrangers: nobody but the daemon is heeded, and no message is that is not as it should be. What came with one is closed.
func TestStrangers(t *testing.T) {
	s := &Supervisor{files: map[string]*os.File{}, Ready: func(map[string]string) { t.Error("a stranger is ready") }}
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
	defer s.socket.Close()
	messages := make(chan message)
	go s.receive(messages)
	h := &Home{socket: s.name, files: map[string]*os.File{}}
	const most = 253 // files in a message, by the kernel
	for _, c := range []struct {
		pid   int
		text  string
		files int
	}{
		{0, "FDSTORE=1\nFDNAME=a", 1},
		{os.Getpid() + 1, "FDSTORE=1\nFDNAME=a", 1},
		{os.Getpid() + 1, "READY=1", 0},
		{os.Getpid() + 1, "BARRIER=1", most},
		{os.Getpid(), "FDSTORE=1\nFDNAME=a", most},
		{os.Getpid(), "FDSTORE=1\nFDNAME=a", 0},
		{os.Getpid(), "FDSTORE=1\nFDNAME=a:b", 1},
		{os.Getpid(), "FDSTORE=1\nFDNAME=", 1},
		{os.Getpid(), "FDSTORE=1", 1},
		{os.Getpid(), "FDSTOREREMOVE=1\nFDNAME=x", 1},
		{os.Getpid(), "=\n\n\x00=1\nFDSTORE", 1},
		{os.Getpid(), strings.Repeat("x", 100<<10), 1},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := h.tell(c.text, slices.Repeat([]*os.File{w}, c.files)...); err != nil {
			t.Fatal(err)
		}
		m := <-messages
		if m.pid != os.Getpid() || len(m.files) != c.files {
			t.Errorf("%.30q: from %d, with %d files, want %d", c.text, m.pid, len(m.files), c.files)
		}
		s.pid = c.pid
		s.heed(m)
		if len(s.files) != 0 || s.ready || s.ever {
			t.Errorf("%.30q of process %d is heeded, from another one", c.text, c.pid)
		}
		_ = w.Close()
		if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil { // it waits for the last writer
			t.Errorf("%.30q: what came is open", c.text)
		}
		_ = r.Close()
	}
}
