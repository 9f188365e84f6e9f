package daemon

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// buffer is a log of several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// hooked is a hook that runs a script of a test.
type hooked struct {
	*hook
	t   *testing.T
	dir string
	log buffer
}

func newHooked(t *testing.T, script string) *hooked {
	t.Helper()
	h := &hooked{t: t, dir: t.TempDir()}
	own, err := ReadSettings(host.Host{Conf: filepath.Join(t.TempDir(), "conf")}, uuid.UUID{9})
	if err != nil {
		t.Fatal(err)
	}
	h.hook = newHook("lab", own, nil, slog.New(slog.NewTextHandler(&h.log, nil)))
	path := filepath.Join(h.dir, "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncd "+h.dir+"\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.set(path)
	return h
}

func (h *hooked) set(command string) {
	h.t.Helper()
	if _, err := h.own.Change([]host.Setting{{Name: control.PropOnEvent, Value: command}}); err != nil {
		h.t.Fatal(err)
	}
}

// got is what the script wrote to a file.
func (h *hooked) got(name string) string {
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	return string(b)
}

// The program is told of each event, in order, one at a time, by JSON alone: nothing of the pool is in its arguments or its environment.
func TestHook(t *testing.T) {
	t.Setenv("SECRET", "x")
	h := newHooked(t, `if ! mkdir running; then echo twice >>bad; fi; cat >>told; echo "$#:$1:$2" >>args; env >env; rmdir running`)
	h.set(hostWord(h.own, control.PropOnEvent) + "  --to   $(touch${IFS}evil)")
	finish := h.start()
	odd := "a\n$(touch evil)`touch evil`\xff;'\"\x1b[2J"
	for i := range 3 {
		h.put(control.Event{ID: uint64(7 + i), Kind: "erased", Pool: "lab", Path: odd, Text: odd, Count: 1})
	}
	finish()
	lines := strings.Split(strings.TrimSpace(h.got("told")), "\n")
	if len(lines) != 3 || h.got("bad") != "" {
		t.Fatalf("%q, %s", lines, h.log.String())
	}
	for i, line := range lines {
		want := `{"id":` + strconv.Itoa(7+i) + `,"time":"0001-01-01T00:00:00Z","count":1,"kind":"erased","pool":"lab",`
		if !strings.HasPrefix(line, want) || !strings.Contains(line, `"path_bytes":"`) || strings.Contains(line, "\x1b") {
			t.Errorf("%s", line)
		}
	}
	if got := h.got("args"); got != strings.Repeat("2:--to:$(touch${IFS}evil)\n", 3) {
		t.Errorf("arguments %q", got)
	}
	env := h.got("env")
	if strings.Contains(env, "SECRET") || strings.Contains(env, "evil") || !strings.Contains(env, "PATH=/usr/local/sbin:") {
		t.Errorf("environment %q", env)
	}
	if h.got("evil") != "" || h.log.String() != "" {
		t.Errorf("%s", h.log.String())
	}
}

// A program that hangs is killed with all it started; one that dies, is missing, or floods its output is said to; the next event
// has its turn all the same, and what did not fit is counted.
func TestHookFails(t *testing.T) {
	h := newHooked(t, `read e; case $e in
*hang*) sleep 1000 & echo $! >pid; sleep 1000;;
*die*) echo why >&2; kill -9 $$;;
*flood*) yes | head -c 10000000; exit 3;;
*leave*) sleep 1000 & echo $! >left;;
*) echo ok >>told;;
esac`)
	h.limit = time.Second
	finish := h.start()
	put := func(kinds ...string) {
		for _, k := range kinds {
			h.put(control.Event{Kind: k, Count: 1})
		}
	}
	logged := func(want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !strings.Contains(h.log.String(), want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the log has no %q: %s", want, h.log.String())
			}
		}
	}
	put("die", "fine", "flood", "leave", "hang")
	logged("why")
	logged("exit status 3")
	for range 3 * hookQueue { // while it hangs
		put("fine")
	}
	logged("did not end within 1s, and was killed")
	if pid, err := strconv.Atoi(strings.TrimSpace(h.got("pid"))); err != nil || unix.Kill(pid, 0) == nil && !zombie(pid) {
		t.Errorf("process %d, %v, that it started is there still", pid, err)
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(h.got("left"))); err != nil || unix.Kill(pid, unix.SIGKILL) != nil {
		t.Errorf("what it left behind on purpose, process %d, is gone: %v", pid, err)
	}
	logged("too many waited")
	h.set("/no/such/program")
	put("fine")
	finish()
	if s := h.log.String(); strings.Count(s, "on_event failed") < 4 || strings.Contains(s, strings.Repeat("y\\n", 1000)) {
		t.Error(s)
	}
	if n := strings.Count(h.got("told"), "ok"); n < 1 || n > 3*hookQueue {
		t.Errorf("%d events were told", n)
	}
	put("late") // after its end: nothing, and no panic
}

// zombie: a process has ended, and its parent has not looked.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(b, []byte(") Z "))
}

// The end of the daemon waits for a hook that hangs, but not for long; where none is set nothing is run.
func TestHookAtTheEnd(t *testing.T) {
	h := newHooked(t, `cat >told; sleep 3`)
	h.end = time.Second
	finish := h.start()
	h.put(control.Event{Kind: "unmounted", Count: 1})
	finish()
	if !strings.Contains(h.got("told"), "unmounted") || !strings.Contains(h.log.String(), "does not wait for it") {
		t.Error(h.got("told"), h.log.String())
	}
	h = newHooked(t, `echo >told`)
	h.set("none")
	finish = h.start()
	h.put(control.Event{Kind: "unmounted", Count: 1})
	finish()
	if h.got("told") != "" {
		t.Error("it ran")
	}
	h = newHooked(t, `echo >told`)
	h.avoid = func(string) error { return control.ErrInvalid }
	finish = h.start()
	h.put(control.Event{Kind: "unmounted", Count: 1})
	finish()
	if h.got("told") != "" || !strings.Contains(h.log.String(), "on_event failed") {
		t.Error(h.log.String())
	}
}
