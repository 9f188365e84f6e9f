package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

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
	if names, err := l.pool.Stray(); err != nil || len(names) != 0 {
		t.Errorf("the pool has %q, %v", names, err)
	}
	l.ok("create --size 1M /lab/v")
	l.refused(show.ExitFailed, "is a property of a pool", "set on_low_space=x /lab/v")

	// All or none.
	l.refused(show.ExitFailed, "at most", "set on_low_space="+strings.Repeat("x", 4097)+" low_space=7% lab")
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
