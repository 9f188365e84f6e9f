package host

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
)

// A file is replaced as a whole, or stays as it was, and nothing is left beside it.
func TestWriteWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "", "three"} {
		if err := WriteWhole(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text || st.Mode().Perm() != 0o600 {
			t.Errorf("%q, mode %v, %v", b, st.Mode(), err)
		}
	}
	full := filepath.Join(dir, "dir")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteWhole(full, nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if l, err := os.ReadDir(dir); err != nil || len(l) != 2 {
		t.Errorf("there are %v, %v", l, err)
	}
}

// A host keeps its id.
func TestMachineID(t *testing.T) {
	h := hostIn(t)
	a, err := h.MachineID()
	if err != nil || a == uuid.Nil {
		t.Fatalf("%v, %v", a, err)
	}
	if b, err := h.MachineID(); err != nil || b != a {
		t.Errorf("%v, then %v, %v", a, b, err)
	}
}

func TestLogPath(t *testing.T) {
	h := Host{Log: "/log", Run: "/run"}
	known := []Known{{Name: "lab", Device: "/srv/x.pool"}}
	if a, b := h.LogPath("/srv/x.pool", known), h.LogPath("/srv/y.pool", known); a != "/log/lab.log" || b != "/log/y.pool.log" {
		t.Errorf("logs are %s and %s", a, b)
	}
}
