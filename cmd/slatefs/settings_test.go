package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// What the host does for a pool is in a file of the host, and shown as such.
func TestHostSettings(t *testing.T) {
	l := newLab(t)
	path := l.app.host.SettingsPath(uuid.UUID{9})
	if out := l.ok("get -H -o value,source on_low_space,erase_log_export lab"); out != "-\tdefault\nnone\tdefault\n" {
		t.Errorf("get prints %q", out)
	}
	l.ok("set on_low_space=a\tb\\c\nd=\xe9 erase_log_export=/x/../y low_space=5% lab")
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(string(b), "\nerase_log_export=/y\non_low_space=a\\011b\\\\c\\012d=\\351\n") {
		t.Errorf("the file has %q, %v", b, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	want := "a\\011b\\\\c\\012d=\\351\thost\n/y\thost\n"
	if out := l.ok("get -H -o value,source on_low_space,erase_log_export lab"); out != want {
		t.Errorf("get prints %q", out)
	}
	again, err := readSettings(l.app.host, uuid.UUID{9})
	if err != nil || again.value(chain.PropOnLowSpace) != "a\tb\\c\nd=\xe9" {
		t.Errorf("read again: %q, %v", again.values, err)
	}
	if names, err := l.pool.Stray(); err != nil || len(names) != 0 {
		t.Errorf("the pool has %q, %v", names, err)
	}
	l.ok("create --size 1M /lab/v")
	l.refused(show.ExitFailed, "is a property of a pool", "set on_low_space=x /lab/v")

	// All or none.
	l.refused(show.ExitFailed, "at most", "set on_low_space="+strings.Repeat("x", maxSetting+1)+" low_space=7% lab")
	l.refused(show.ExitFailed, "overwrite", "set on_low_space=other erase_method=release low_space=7% erase_method=unmap lab")
	if out := l.ok("get -H -o value on_low_space,low_space lab"); out != "5%\na\\011b\\\\c\\012d=\\351\n" {
		t.Errorf("get prints %q", out)
	}
	l.ok("inherit on_low_space lab")
	l.ok("inherit erase_log_export lab")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is left: %v", err)
	}
}

// Settings that somebody else could have written are not followed, and not written over.
func TestUnsafeSettings(t *testing.T) {
	h := testHost(t)
	id := uuid.UUID{1}
	path := h.SettingsPath(id)
	good := []control.Setting{{Name: chain.PropOnLowSpace, Value: "x"}}
	for name, c := range map[string]struct {
		spoil func() error
		want  error
	}{
		"writable":         {func() error { return os.Chmod(path, 0o622) }, errUnsafe},
		"writable by all":  {func() error { return os.Chmod(path, 0o602) }, errUnsafe},
		"directory":        {func() error { return os.Chmod(h.Conf, 0o777) }, errUnsafe},
		"symlink":          {func() error { return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) }, unix.ELOOP},
		"fifo":             {func() error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) }, errUnsafe},
		"unknown name":     {func() error { return os.WriteFile(path, []byte("x=y\n"), 0o600) }, chain.ErrInvalid},
		"property of pool": {func() error { return os.WriteFile(path, []byte("low_space=1%\n"), 0o600) }, chain.ErrInvalid},
		"no path":          {func() error { return os.WriteFile(path, []byte("erase_log_export=x\n"), 0o600) }, chain.ErrInvalid},
		"no escape":        {func() error { return os.WriteFile(path, []byte("on_low_space=\\x\n"), 0o600) }, show.ErrEscape},
		"too large":        {func() error { return os.WriteFile(path, make([]byte, maxSettings+1), 0o600) }, nil},
	} {
		if err := errors.Join(os.RemoveAll(h.Conf), os.Mkdir(h.Conf, 0o755)); err != nil {
			t.Fatal(err)
		}
		s, err := readSettings(h, id)
		if err == nil {
			_, err = s.change(good)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		s, err = readSettings(h, id)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || len(s.values) != 0 {
			t.Errorf("%s: %v, values %q", name, err, s.values)
		}
		if errors.Is(err, errUnsafe) || errors.Is(err, unix.ELOOP) {
			if _, err := s.change(good); err == nil {
				t.Errorf("%s: written over", name)
			}
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.RemoveAll(h.Conf), os.Mkdir(h.Conf, 0o755), os.WriteFile(path, nil, 0o600), os.Chown(path, 12345, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := readSettings(h, id); !errors.Is(err, errUnsafe) || !strings.Contains(err.Error(), "is user 12345's") {
			t.Errorf("another user's file: %v", err)
		}
	}
	if _, err := readSettings(host.Host{Conf: filepath.Join(t.TempDir(), "no")}, id); err != nil {
		t.Errorf("no directory: %v", err)
	}
}
