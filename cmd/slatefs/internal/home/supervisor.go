package home

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Supervisor is the parent of a daemon outside systemd: it keeps the daemon's files, and starts it again when it ends by a
// signal, or by a fault of its own. It ends with the daemon whose mount is gone. It touches no pool, and no mount.
type Supervisor struct {
	// Start makes the command of a life. Its ExtraFiles are closed when it has begun, those that are kept come before them. Retry
	// counts the lives in a row that ended before they served.
	Start func(retry int) *exec.Cmd
	// Ready is called when a daemon serves, with what it told beside.
	Ready func(told map[string]string)
	// Log is told what happens.
	Log func(text string, args ...any)

	socket *net.UnixConn
	name   string
	files  map[string]*os.File
	ready  bool   // this life serves
	ever   bool   // one did
	pid    int    // of the daemon that runs; 0: none
	ending bool   // it was asked to end
	giveUp bool   // that was in this life, and before it served: no other is begun
	oom    string // the oom_score_adj that daemons have; empty: they have this process's
}

// A daemon is started again at once, if the last one served and lived for wellAfter; else after restWait, then twice as long, up
// to mostWait.
const (
	wellAfter = time.Second
	restWait  = 50 * time.Millisecond
	mostWait  = 5 * time.Second
)

// Run runs daemons, one after the other, until one has ended for good: with its exit code. SIGTERM, SIGINT, SIGHUP and others go
// to the daemon; where there is none, or none that comes to serve, the first two end the supervisor, and the mount with it.
func (s *Supervisor) Run(ctx context.Context) (code int, err error) {
	s.files = map[string]*os.File{}
	s.spare()
	if err := s.listen(); err != nil {
		return 1, fmt.Errorf("supervisor: %w", err)
	}
	defer func() { _ = s.socket.Close() }() //nolint:errcheck // nothing more comes
	messages := make(chan message, 16)
	go s.receive(messages)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGQUIT)
	defer signal.Stop(signals)
	wait := time.Duration(0)
	for retry := 0; ; {
		began := time.Now()
		state, err := s.life(retry, messages, signals)
		if err == nil && s.over(state) || err != nil && !s.ever {
			return exitCode(state), err
		}
		if s.giveUp && !s.ready {
			return 1, errLost
		}
		if s.ready {
			retry = 0
		} else {
			retry++
		}
		lived := time.Since(began)
		if s.ready && lived >= wellAfter {
			wait = 0
		}
		s.Log("the daemon has ended, and is started again", "how", describe(state, err), "lived", lived.Round(time.Millisecond), "after", wait)
		if !s.rest(ctx, wait, messages, signals) {
			return 1, errLost
		}
		wait = min(max(restWait, 2*wait), mostWait)
	}
}

var errLost = errors.New("ended while no daemon ran: the mount is lost to its users")

// oomOf is where a process says how willingly the kernel ends it for want of memory; oomNever: not at all.
const (
	oomOf    = "/proc/%d/oom_score_adj"
	oomNever = "-1000"
)

// spare has the kernel end others for want of memory, where it lets this process ask for that (CAP_SYS_RESOURCE). It is small, and
// what it keeps is what a daemon that was ended needs. Daemons are as they would be without it: one that is too large for its group
// must be ended, or all in it wait.
func (s *Supervisor) spare() {
	self := fmt.Sprintf(oomOf, os.Getpid())
	if was, err := os.ReadFile(self); err == nil && os.WriteFile(self, []byte(oomNever), 0) == nil {
		s.oom = strings.TrimSpace(string(was))
	}
}

// unspare gives a daemon what this process has changed of itself, which its child has as well.
func (s *Supervisor) unspare(pid int) {
	if s.oom == "" {
		return
	}
	if err := os.WriteFile(fmt.Sprintf(oomOf, pid), []byte(s.oom), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Log("the kernel does not end the daemon for want of memory", "error", err)
	}
}

// listen makes the socket that daemons tell things by. It has no place in the file system; who tells is checked.
func (s *Supervisor) listen() (err error) {
	s.name = fmt.Sprintf("@slatefs-supervisor-%d-%d", os.Getpid(), time.Now().UnixNano())
	if s.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.name, Net: "unixgram"}); err != nil {
		return err
	}
	raw, err := s.socket.SyscallConn()
	if err != nil {
		return err
	}
	var opt error
	err = raw.Control(func(fd uintptr) { opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	return errors.Join(err, opt)
}

// message is what somebody told.
type message struct {
	pid   int
	lines map[string]string
	files []*os.File
}

func (m message) close() {
	for _, f := range m.files {
		_ = f.Close() //nolint:errcheck // it is nobody's
	}
}

// receive receives until the socket is closed.
func (s *Supervisor) receive(to chan<- message) {
	text, rest := make([]byte, 64<<10), make([]byte, 4<<10)
	for {
		n, r, _, _, err := s.socket.ReadMsgUnix(text, rest)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		m := message{lines: map[string]string{}}
		control, _ := unix.ParseSocketControlMessage(rest[:r]) //nolint:errcheck // then there is no sender, and it is dropped
		for _, c := range control {
			if cred, err := unix.ParseUnixCredentials(&c); err == nil {
				m.pid = int(cred.Pid)
			}
			fds, _ := unix.ParseUnixRights(&c) //nolint:errcheck // none
			for _, fd := range fds {
				unix.CloseOnExec(fd)
				m.files = append(m.files, os.NewFile(uintptr(fd), "file"))
			}
		}
		for line := range strings.Lines(string(text[:n])) {
			key, val, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			m.lines[key] = val
		}
		to <- m
	}
}

// heed does what a message says, if it is the daemon's.
func (s *Supervisor) heed(m message) {
	name := m.lines["FDNAME"]
	switch {
	case m.pid != s.pid || s.pid == 0:
		go m.close() // closing what a stranger sent may wait for ever
		return
	case m.lines["FDSTORE"] == "1" && len(m.files) == 1 && name != "" && !strings.Contains(name, ":"):
		if old := s.files[name]; old != nil {
			_ = old.Close() //nolint:errcheck // it was replaced
		}
		s.files[name] = m.files[0]
		return
	case m.lines["FDSTOREREMOVE"] == "1" && s.files[name] != nil:
		_ = s.files[name].Close() //nolint:errcheck // it is over
		delete(s.files, name)
	case m.lines["READY"] == "1":
		s.ready, s.ever = true, true
		s.Ready(m.lines)
		if s.ending { // its predecessor was asked
			_ = unix.Kill(s.pid, unix.SIGTERM) //nolint:errcheck // it has ended
		}
	}
	m.close() // a barrier ends by that
}

// life runs one daemon to its end.
func (s *Supervisor) life(retry int, messages <-chan message, signals <-chan os.Signal) (*os.ProcessState, error) {
	cmd := s.Start(retry)
	names := slices.Sorted(maps.Keys(s.files))
	var files []*os.File
	for _, n := range names {
		files = append(files, s.files[n])
	}
	own := cmd.ExtraFiles
	cmd.ExtraFiles = append(files, own...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "WATCHDOG_") }),
		"NOTIFY_SOCKET="+s.name, supervisorEnv+"="+strconv.Itoa(os.Getpid()),
		"LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	s.ready, s.giveUp = false, false
	err := cmd.Start()
	for _, f := range own {
		_ = f.Close() //nolint:errcheck // the daemon has it
	}
	if err != nil {
		return nil, err
	}
	s.pid = cmd.Process.Pid
	s.unspare(s.pid)
	ended, unmarked := make(chan struct{}), make(chan struct{})
	go func() {
		_ = cmd.Wait() //nolint:errcheck // its state has it
		close(ended)
		if (&Home{socket: s.name}).tell("ENDED=1") != nil {
			close(unmarked)
		}
	}()
	defer func() { s.pid = 0 }()
	for {
		select {
		case m := <-messages:
			if m.pid == os.Getpid() { // ours, behind all that the daemon told
				m.close()
				<-ended
				return cmd.ProcessState, nil
			}
			s.heed(m)
		case sig := <-signals:
			if sig == unix.SIGTERM || sig == unix.SIGINT {
				s.ending, s.giveUp = true, !s.ready
			}
			_ = cmd.Process.Signal(sig) //nolint:errcheck // it has ended
		case <-unmarked:
			return cmd.ProcessState, nil
		}
	}
}

// over tells whether there is nothing to go on with: the daemon ended as it should, or has never served.
func (s *Supervisor) over(state *os.ProcessState) bool {
	return state.Success() || !s.ever || len(s.files) == 0
}

// rest waits; false: it was asked to end.
func (s *Supervisor) rest(ctx context.Context, d time.Duration, messages <-chan message, signals <-chan os.Signal) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return true
		case m := <-messages:
			go m.close() // as above
		case sig := <-signals:
			if sig == unix.SIGTERM || sig == unix.SIGINT {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

func exitCode(state *os.ProcessState) int {
	if state == nil || state.ExitCode() < 0 {
		return 1
	}
	return state.ExitCode()
}

func describe(state *os.ProcessState, err error) string {
	if err != nil {
		return err.Error()
	}
	return state.String()
}
