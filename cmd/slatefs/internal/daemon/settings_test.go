package daemon

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

// What is set is there when it is read again, whatever bytes it has.
func TestSettingsAreKept(t *testing.T) {
	b := newBench(t)
	b.set("on_low_space=a\tb\\c\nd=\xe9", "erase_log_export=/x/../y")
	again, err := ReadSettings(b.host, uuid.UUID{9})
	if err != nil || again.value(control.PropOnLowSpace) != "a\tb\\c\nd=\xe9" || again.value(chain.PropLogExport) != "/y" {
		t.Errorf("read again: %q, %v", again.values, err)
	}
	if names, err := b.pool.Stray(); err != nil || len(names) != 0 {
		t.Errorf("the pool has %q, %v", names, err)
	}
}

// Settings that somebody else could have written are not followed, and not written over.
func TestUnsafeSettings(t *testing.T) {
	h := host.Host{Conf: filepath.Join(t.TempDir(), "conf")}
	id := uuid.UUID{1}
	path := h.SettingsPath(id)
	good := []control.Setting{{Name: control.PropOnLowSpace, Value: "x"}}
	for name, c := range map[string]struct {
		spoil func() error
		want  error
	}{
		"writable":         {func() error { return os.Chmod(path, 0o622) }, ErrUnsafe},
		"writable by all":  {func() error { return os.Chmod(path, 0o602) }, ErrUnsafe},
		"directory":        {func() error { return os.Chmod(h.Conf, 0o777) }, ErrUnsafe},
		"symlink":          {func() error { return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) }, unix.ELOOP},
		"fifo":             {func() error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) }, ErrUnsafe},
		"unknown name":     {func() error { return os.WriteFile(path, []byte("x=y\n"), 0o600) }, chain.ErrInvalid},
		"property of pool": {func() error { return os.WriteFile(path, []byte("low_space=1%\n"), 0o600) }, chain.ErrInvalid},
		"no path":          {func() error { return os.WriteFile(path, []byte("erase_log_export=x\n"), 0o600) }, chain.ErrInvalid},
		"no escape":        {func() error { return os.WriteFile(path, []byte("on_low_space=\\x\n"), 0o600) }, show.ErrEscape},
		"too large":        {func() error { return os.WriteFile(path, make([]byte, maxSettings+1), 0o600) }, nil},
	} {
		if err := errors.Join(os.RemoveAll(h.Conf), os.Mkdir(h.Conf, 0o755)); err != nil {
			t.Fatal(err)
		}
		s, err := ReadSettings(h, id)
		if err == nil {
			_, err = s.Change(good)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		s, err = ReadSettings(h, id)
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
		if err := errors.Join(os.RemoveAll(h.Conf), os.Mkdir(h.Conf, 0o755), os.WriteFile(path, nil, 0o600), os.Chown(path, 12345, 0)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSettings(h, id); !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "is user 12345's") {
			t.Errorf("another user's file: %v", err)
		}
	}
	if _, err := ReadSettings(host.Host{Conf: filepath.Join(t.TempDir(), "no")}, id); err != nil {
		t.Errorf("no directory: %v", err)
	}
}
