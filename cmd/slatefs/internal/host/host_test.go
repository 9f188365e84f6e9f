package host

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
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
		want Host
	}{
		{env(), 0, Host{State: "/var/lib/slatefs", Run: "/run/slatefs", Log: "/var/log/slatefs", Conf: "/etc/slatefs"}},
		{env("SLATEFS_STATE_DIR", "/s", "SLATEFS_RUN_DIR", "/r"), 0, Host{State: "/s", Run: "/r", Log: "/s/log", Conf: "/s/conf"}},
		{
			env("SLATEFS_STATE_DIR", "/s", "SLATEFS_CONF_DIR", "/c"), 0,
			Host{State: "/s", Run: "/run/slatefs", Log: "/s/log", Conf: "/c"},
		},
		{env("HOME", "/h", "XDG_RUNTIME_DIR", "/x"), 12345, Host{
			State: "/h/.local/state/slatefs", Run: "/x/slatefs", Shared: "/run/slatefs",
			Log: "/h/.local/state/slatefs/log", Conf: "/h/.config/slatefs",
		}},
		{env("XDG_STATE_HOME", "/h"), 12345, Host{
			State: "/h/slatefs", Run: filepath.Join(os.TempDir(), "slatefs-12345"), Shared: "/run/slatefs",
			Log: "/h/slatefs/log", Conf: "/h/slatefs/conf",
		}},
		{
			env("HOME", "/h", "XDG_CONFIG_HOME", "/c", "SLATEFS_RUN_DIR", "/r"), 12345,
			Host{State: "/h/.local/state/slatefs", Run: "/r", Shared: "/r", Log: "/h/.local/state/slatefs/log", Conf: "/c/slatefs"},
		},
	} {
		if got, err := New(c.env, c.uid); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("host is %+v, %v, want %+v", got, err, c.want)
		}
	}
	if _, err := New(env(), 12345); err == nil {
		t.Error("a user without a home has a place for state")
	}
	if _, err := New(env("SLATEFS_RUN_DIR", "run"), 0); err == nil {
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

func TestPoolLock(t *testing.T) {
	h := hostIn(t)
	id, err := uuid.NewRandom()
	if err != nil {
		t.Fatal(err)
	}
	first, err := h.LockPool(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.LockPool(id); !errors.Is(err, ErrInUse) {
		t.Errorf("second lock: %v", err)
	}
	if err := first.Publish(Live{UUID: id, Name: "lab", Dir: "/lab", PID: 7, Device: "/dev/x"}); err != nil {
		t.Fatal(err)
	}
	_, err = h.LockPool(id)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "pool lab is mounted on /lab by process 7") {
		t.Errorf("second lock: %v", err)
	}
	if l := h.Daemons(); len(l) != 1 || l[0].Name != "lab" || !l[0].Running() {
		t.Errorf("daemons: %+v", l)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if l := h.Daemons(); len(l) != 0 || h.Held(id) {
		t.Errorf("daemons after release: %+v", l)
	}
	again, err := h.LockPool(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

// What a daemon says of itself is there whole at any moment, also while it is said anew.
func TestWhatADaemonSaysIsNeverHalf(t *testing.T) {
	h := hostIn(t)
	lock, err := h.LockPool(uuid.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	l := Live{UUID: uuid.UUID{1}, Name: "lab", Device: strings.Repeat("x", 5000)}
	if err := lock.Publish(l); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for range 200 {
			if err := lock.Publish(l); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for n := 0; ; n++ {
		select {
		case err := <-done:
			if err := errors.Join(err, lock.Release()); err != nil || n == 0 {
				t.Errorf("%d looks, %v", n, err)
			}
			return
		default:
		}
		if got, ok := h.Live(uuid.UUID{1}); !ok || got.Device != l.Device {
			t.Fatalf("look %d: %+v, %v", n, got, ok)
		}
	}
}

// A lock that is held anew says nothing of the daemon that was killed.
func TestLockForgetsWhoWasKilled(t *testing.T) {
	h := hostIn(t)
	lock, err := h.LockPool(uuid.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Publish(Live{UUID: uuid.UUID{1}, Name: "lab"}); err != nil {
		t.Fatal(err)
	}
	if err := lock.f.Close(); err != nil { // as a kill does
		t.Fatal(err)
	}
	if lock, err = h.LockPool(uuid.UUID{1}); err != nil {
		t.Fatal(err)
	}
	if l, ok := h.Live(uuid.UUID{1}); ok {
		t.Errorf("the new holder is %+v", l)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// hostIn is a host with directories of its own.
func hostIn(t *testing.T) Host {
	t.Helper()
	run, err := os.MkdirTemp("", "s") // short: names of sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	return Host{State: t.TempDir(), Run: filepath.Join(run, "r"), Log: t.TempDir(), Conf: filepath.Join(t.TempDir(), "conf")}
}
