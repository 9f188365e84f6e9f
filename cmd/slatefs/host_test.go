package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		{env(), 0, host{"/var/lib/slatefs", "/run/slatefs", "/var/log/slatefs"}},
		{env("SLATEFS_STATE_DIR", "/s", "SLATEFS_RUN_DIR", "/r"), 0, host{"/s", "/r", "/s/log"}},
		{env("HOME", "/h", "XDG_RUNTIME_DIR", "/x"), 12345, host{"/h/.local/state/slatefs", "/x/slatefs", "/h/.local/state/slatefs/log"}},
		{env("XDG_STATE_HOME", "/h"), 12345, host{"/h/slatefs", filepath.Join(os.TempDir(), "slatefs-12345"), "/h/slatefs/log"}},
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
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
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
	return host{state: t.TempDir(), run: filepath.Join(run, "r"), log: t.TempDir()}
}

func TestPoolLock(t *testing.T) {
	h := testHost(t)
	id, err := newUUID()
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
	if l, err := h.pools(); err != nil || len(l) != 0 {
		t.Fatalf("empty registry: %v, %v", l, err)
	}
	a, b := known{UUID: uuid{1}, Name: "b", Device: "/x"}, known{UUID: uuid{2}, Name: "a", Device: "/y"}
	for _, k := range []known{a, b, {UUID: uuid{1}, Name: "b", Device: "/z"}} {
		if err := h.register(k); err != nil {
			t.Fatal(err)
		}
	}
	if l, err := h.pools(); err != nil || len(l) != 2 || l[0].Name != "a" || l[1].Device != "/z" {
		t.Errorf("pools: %+v, %v", l, err)
	}
	if k, err := h.named("a"); err != nil || k != b {
		t.Errorf("a is %+v, %v", k, err)
	}
	if _, err := h.named("c"); !errors.Is(err, errUnknownPool) {
		t.Errorf("c: %v", err)
	}
	if err := h.register(known{UUID: uuid{3}, Name: "a", Device: "/w"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.named("a"); err == nil || !strings.Contains(err.Error(), "2 pools") {
		t.Errorf("a twice: %v", err)
	}
	for range 2 {
		if err := h.forget(uuid{3}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.named("a"); err != nil {
		t.Error(err)
	}
}

func TestUUID(t *testing.T) {
	u, err := newUUID()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseUUID(u.String()); err != nil || got != u || len(u.String()) != 36 || u.String()[14] != '4' {
		t.Errorf("%v comes back as %v, %v", u, got, err)
	}
	for _, s := range []string{"", "x", "1234", u.String() + "00"} {
		if _, err := parseUUID(s); err == nil {
			t.Errorf("%q is a UUID", s)
		}
	}
}
