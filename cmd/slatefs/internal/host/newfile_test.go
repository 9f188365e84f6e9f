package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A new file is not there under its name before it is whole, takes the place of no other, and leaves nothing.
func TestNewFile(t *testing.T) {
	dir := t.TempDir()
	names := func() (names []string) {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	create := func(path string) *NewFile {
		t.Helper()
		f, err := CreateNew(path)
		if err == nil {
			_, err = f.WriteString("whole")
		}
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	path := filepath.Join(dir, strings.Repeat("x", 255))
	f := create(path)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there before it is whole: %v", err)
	}
	if err := errors.Join(f.Keep(), f.Drop()); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() != 5 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := CreateNew(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("it would be replaced: %v", err)
	}
	if err := create(filepath.Join(dir, "dropped")).Drop(); err != nil {
		t.Error(err)
	}
	late := filepath.Join(dir, "late")
	f = create(late)
	if err := os.WriteFile(late, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Keep(); !errors.Is(err, os.ErrExist) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(late); err != nil || string(b) != "somebody's" {
		t.Errorf("%q, %v", b, err)
	}
	if got := names(); len(got) != 2 {
		t.Errorf("there are %q", got)
	}
	if _, err := CreateNew(filepath.Join(dir, "none", "x")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none/x: no such file") {
		t.Errorf("%v", err)
	}
}
