package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

func TestHostDirectories(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == key {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	for _, c := range []struct {
		env  func(string) string
		uid  int
		want host
	}{
		{env(), 0, host{"/var/lib/slatefs", "/run/slatefs", "/var/log/slatefs", "/etc/slatefs"}},
		{env("SLATEFS_STATE_DIR", "/s", "SLATEFS_RUN_DIR", "/r"), 0, host{"/s", "/r", "/s/log", "/s/conf"}},
		{env("SLATEFS_STATE_DIR", "/s", "SLATEFS_CONF_DIR", "/c"), 0, host{"/s", "/run/slatefs", "/s/log", "/c"}},
		{env("HOME", "/h", "XDG_RUNTIME_DIR", "/x"), 12345, host{"/h/.local/state/slatefs", "/x/slatefs", "/h/.local/state/slatefs/log", "/h/.config/slatefs"}},
		{env("XDG_STATE_HOME", "/h"), 12345, host{"/h/slatefs", filepath.Join(os.TempDir(), "slatefs-12345"), "/h/slatefs/log", "/h/slatefs/conf"}},
		{env("HOME", "/h", "XDG_CONFIG_HOME", "/c", "SLATEFS_RUN_DIR", "/r"), 12345, host{"/h/.local/state/slatefs", "/r", "/h/.local/state/slatefs/log", "/c/slatefs"}},
	} {
		if got, err := newHost(c.env, c.uid); err != nil || got != c.want {
			t.Errorf("host is %+v, %v, want %+v", got, err, c.want)
		}
	}
	if _, err := newHost(env(), 12345); err == nil {
		t.Error("a user without a home has a place for state")
	}
	if _, err := newHost(env("SLATEFS_RUN_DIR", "run"), 0); err == nil {
		t.Error("a relative directory is taken")
	}
}

func TestPrivateDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a/b")
	for range 2 {
		if err := privateDir(dir); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(dir)
		if err != nil || st.Mode().Perm() != 0o700 {
			t.Fatalf("mode %v, %v", st.Mode(), err)
		}
	}
	// What is there keeps its mode. One that others may write in is not taken.
	for _, c := range []struct {
		mode os.FileMode
		ok   bool
	}{{0o755, true}, {0o750, true}, {0o777, false}, {0o770, false}, {0o700, true}} {
		if err := os.Chmod(dir, c.mode); err != nil {
			t.Fatal(err)
		}
		err := privateDir(dir)
		st, statErr := os.Stat(dir)
		if (err == nil) != c.ok || statErr != nil || st.Mode().Perm() != c.mode {
			t.Errorf("a directory of mode %v: %v, and its mode is %v", c.mode, err, st.Mode().Perm())
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := privateDir(link); err == nil {
		t.Error("a symlink is taken for our directory")
	}
}

func testHost(t *testing.T) host {
	t.Helper()
	run, err := os.MkdirTemp("", "s") // short: names of sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	return host{state: t.TempDir(), run: filepath.Join(run, "r"), log: t.TempDir(), conf: filepath.Join(t.TempDir(), "conf")}
}

func TestPoolLock(t *testing.T) {
	h := testHost(t)
	id, err := uuid.NewRandom()
	if err != nil {
		t.Fatal(err)
	}
	first, err := h.lockPool(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.lockPool(id); !errors.Is(err, errPoolInUse) {
		t.Errorf("second lock: %v", err)
	}
	if err := first.publish(live{UUID: id, Name: "lab", Dir: "/lab", PID: 7, Device: "/dev/x"}); err != nil {
		t.Fatal(err)
	}
	_, err = h.lockPool(id)
	if !errors.Is(err, errPoolInUse) || !strings.Contains(err.Error(), "pool lab is mounted on /lab by process 7") {
		t.Errorf("second lock: %v", err)
	}
	if l := h.daemons(); len(l) != 1 || l[0].Name != "lab" || !held(l[0].lock) {
		t.Errorf("daemons: %+v", l)
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	if l := h.daemons(); len(l) != 0 || held(h.lockPath(id)) {
		t.Errorf("daemons after release: %+v", l)
	}
	again, err := h.lockPool(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.release(); err != nil {
		t.Fatal(err)
	}
}

func TestRegistry(t *testing.T) {
	h := testHost(t)
	app := &app{stderr: io.Discard, host: h}
	if l, unread := h.pools(); len(unread)+len(l) != 0 {
		t.Fatalf("empty registry: %v, %v", l, unread)
	}
	a, b := known{UUID: uuid.UUID{1}, Name: "b", Device: "/x"}, known{UUID: uuid.UUID{2}, Name: "a", Device: "/y"}
	for _, k := range []known{a, b, {UUID: uuid.UUID{1}, Name: "b", Device: "/z"}} {
		if err := h.register(k); err != nil {
			t.Fatal(err)
		}
	}
	if l, unread := h.pools(); unread != nil || len(l) != 2 || l[0].Name != "a" || l[1].Device != "/z" {
		t.Errorf("pools: %+v, %v", l, unread)
	}
	if k, err := app.named("a"); err != nil || k != b {
		t.Errorf("a is %+v, %v", k, err)
	}
	if _, err := app.named("c"); !errors.Is(err, errUnknownPool) {
		t.Errorf("c: %v", err)
	}
	if err := h.register(known{UUID: uuid.UUID{3}, Name: "a", Device: "/w"}); err != nil {
		t.Fatal(err)
	}
	if _, err := app.named("a"); err == nil || !strings.Contains(err.Error(), "2 pools") {
		t.Errorf("a twice: %v", err)
	}
	for range 2 {
		if err := h.forget(uuid.UUID{3}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := app.named("a"); err != nil {
		t.Error(err)
	}
}

func TestUUID(t *testing.T) {
	u, err := uuid.NewRandom()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := uuid.Parse(u.String()); err != nil || got != u || len(u.String()) != 36 || u.String()[14] != '4' {
		t.Errorf("%v comes back as %v, %v", u, got, err)
	}
	for _, s := range []string{"", "x", "1234", u.String() + "00"} {
		if _, err := uuid.Parse(s); err == nil {
			t.Errorf("%q is a UUID", s)
		}
	}
}

// One bad entry of the registry keeps nobody from another pool. It is named, once.
func TestRegistryPassesOverWhatItCannotRead(t *testing.T) {
	h := testHost(t)
	if err := h.register(known{UUID: uuid.UUID{1}, Name: "lab", Device: "/x"}); err != nil {
		t.Fatal(err)
	}
	at := func(id uuid.UUID) string { return filepath.Join(h.poolDir(), id.String()) }
	for id, text := range map[uuid.UUID]string{{2}: "", {3}: "\x00\x00\x00", {4}: "{}", {5}: `{"uuid":"`} {
		if err := os.WriteFile(at(id), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at(uuid.UUID{6}), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(at(uuid.UUID{7}), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	a := &app{stderr: &said, host: h}
	for range 2 {
		if k, err := a.named("lab"); err != nil || k.Device != "/x" {
			t.Fatalf("lab is %+v, %v", k, err)
		}
	}
	for id := byte(2); id <= 7; id++ {
		if n := strings.Count(said.String(), at(uuid.UUID{id})); n != 1 {
			t.Errorf("%v is named %d times:\n%s", uuid.UUID{id}, n, said.String())
		}
	}
}

// What a daemon says of itself is there whole at any moment, also while it is said anew.
func TestWhatADaemonSaysIsNeverHalf(t *testing.T) {
	h := testHost(t)
	lock, err := h.lockPool(uuid.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	l := live{UUID: uuid.UUID{1}, Name: "lab", Device: strings.Repeat("x", 5000)}
	if err := lock.publish(l); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for range 200 {
			if err := lock.publish(l); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for n := 0; ; n++ {
		select {
		case err := <-done:
			if err := errors.Join(err, lock.release()); err != nil || n == 0 {
				t.Errorf("%d looks, %v", n, err)
			}
			return
		default:
		}
		if got, ok := readLive(h.lockPath(uuid.UUID{1})); !ok || got.Device != l.Device {
			t.Fatalf("look %d: %+v, %v", n, got, ok)
		}
	}
}

// A lock that is held anew says nothing of the daemon that was killed.
func TestLockForgetsWhoWasKilled(t *testing.T) {
	h := testHost(t)
	lock, err := h.lockPool(uuid.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.publish(live{UUID: uuid.UUID{1}, Name: "lab"}); err != nil {
		t.Fatal(err)
	}
	if err := lock.f.Close(); err != nil { // as a kill does
		t.Fatal(err)
	}
	if lock, err = h.lockPool(uuid.UUID{1}); err != nil {
		t.Fatal(err)
	}
	if l, ok := readLive(h.lockPath(uuid.UUID{1})); ok {
		t.Errorf("the new holder is %+v", l)
	}
	if err := lock.release(); err != nil {
		t.Error(err)
	}
}
