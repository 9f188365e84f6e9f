package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

var errValue = errors.New("no such value")

// canon takes two names, and of one of them paths only.
func canon(name, val string) (string, error) {
	if name != "on_low_space" && name != "erase_log_export" || name == "erase_log_export" && !filepath.IsAbs(val) {
		return "", errValue
	}
	return filepath.Clean(val), nil
}

// What is set is there for who reads it next, whatever bytes it has, and all of it or nothing. Undone, it is as it was.
func TestSettings(t *testing.T) {
	h := hostIn(t)
	id := uuid.UUID{1}
	s, err := h.Settings(id, canon)
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, s *Settings, name, want string) {
		t.Helper()
		again, err := h.Settings(id, canon)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Settings{s, again} {
			if got, set := x.Get(name); got != want || set != (want != "") {
				t.Errorf("%s: %s is %q, %v, want %q", what, name, got, set, want)
			}
		}
	}
	const odd = "a\tb\\c\nd=\xe9"
	if _, err := s.Change([]Setting{{Name: "on_low_space", Value: odd}, {Name: "erase_log_export", Value: "/x/../y"}}); err != nil {
		t.Fatal(err)
	}
	is("set", s, "on_low_space", odd)
	is("set", s, "erase_log_export", "/y")
	none := Setting{Name: "on_low_space", Inherit: true}
	if _, err := s.Change([]Setting{none, {Name: "erase_log_export", Value: "y"}}); !errors.Is(err, errValue) {
		t.Errorf("a bad value: %v", err)
	}
	is("all or nothing", s, "on_low_space", odd)
	undo, err := s.Change([]Setting{none, {Name: "erase_log_export", Inherit: true}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.SettingsPath(id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file without settings is left: %v", err)
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	is("undone", s, "on_low_space", odd)
	h.MoveSettings(id, uuid.UUID{2})
	if moved, err := h.Settings(uuid.UUID{2}, canon); err != nil {
		t.Error(err)
	} else if got, _ := moved.Get("on_low_space"); got != odd {
		t.Errorf("moved: %q", got)
	}
	for range 2 {
		if err := h.DropSettings(uuid.UUID{2}); err != nil {
			t.Error(err)
		}
	}
}

// Settings that somebody else could have written are not followed, and not written over.
func TestUnsafeSettings(t *testing.T) {
	h := Host{Conf: filepath.Join(t.TempDir(), "conf")}
	id := uuid.UUID{1}
	path := h.SettingsPath(id)
	good := []Setting{{Name: "on_low_space", Value: "x"}}
	for name, c := range map[string]struct {
		spoil func() error
		want  error
	}{
		"writable":        {func() error { return os.Chmod(path, 0o622) }, ErrUnsafe},
		"writable by all": {func() error { return os.Chmod(path, 0o602) }, ErrUnsafe},
		"directory":       {func() error { return os.Chmod(h.Conf, 0o777) }, ErrUnsafe},
		"symlink":         {func() error { return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) }, unix.ELOOP},
		"fifo":            {func() error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) }, ErrUnsafe},
		"unknown name":    {func() error { return os.WriteFile(path, []byte("x=y\n"), 0o600) }, errValue},
		"no path":         {func() error { return os.WriteFile(path, []byte("erase_log_export=x\n"), 0o600) }, errValue},
		"no escape":       {func() error { return os.WriteFile(path, []byte("on_low_space=\\x\n"), 0o600) }, show.ErrEscape},
		"too large":       {func() error { return os.WriteFile(path, make([]byte, maxSettings+1), 0o600) }, nil},
	} {
		if err := errors.Join(os.RemoveAll(h.Conf), os.Mkdir(h.Conf, 0o755)); err != nil {
			t.Fatal(err)
		}
		s, err := h.Settings(id, canon)
		if err == nil {
			_, err = s.Change(good)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		s, err = h.Settings(id, canon)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || len(s.values) != 0 {
			t.Errorf("%s: %v, values %q", name, err, s.values)
		}
		if errors.Is(err, ErrUnsafe) || errors.Is(err, unix.ELOOP) {
			if _, err := s.Change(good); err == nil {
				t.Errorf("%s: written over", name)
			}
		}
	}
	if os.Geteuid() == 0 {
		err := errors.Join(os.RemoveAll(h.Conf), os.Mkdir(h.Conf, 0o755), os.WriteFile(path, nil, 0o600), os.Chown(path, 12345, 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Settings(id, canon); !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "is user 12345's") {
			t.Errorf("another user's file: %v", err)
		}
	}
	if _, err := (Host{Conf: filepath.Join(t.TempDir(), "no")}).Settings(id, canon); err != nil {
		t.Errorf("no directory: %v", err)
	}
}
