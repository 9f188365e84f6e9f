package salvage

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

// hostileNames are names that a pool may say its files have.
var hostileNames = []string{
	"", ".", "..", "/", "//", "/etc/passwd", "../../x", "a/b", "\x00", "a\x00b", "-rf", "~", `\`, `\~2`, `\057`, "caf\xe9.raw", "\x1b[2J",
	"new\nline", strings.Repeat("x", 255), strings.Repeat("\xff", 255), strings.Repeat("é", 300), strings.Repeat("/", 4096), "CON", "lost+found", "日本",
}

func TestSafeName(t *testing.T) {
	seen := map[string]string{}
	check := func(name string) {
		s := SafeName(name)
		switch {
		case s == "" || s == "." || s == ".." || len(s) > maxName || strings.ContainsAny(s, "/\x00\n\x1b") || s[0] == '-' || s[0] == '.':
			t.Errorf("%q becomes %q", name, s)
		case show.Escape(strings.ReplaceAll(s, `\`, "")) != strings.ReplaceAll(s, `\`, ""):
			t.Errorf("%q becomes %q, which is not printable", name, s)
		case seen[s] != name && seen[s] != "":
			t.Errorf("%q and %q become %q", name, seen[s], s)
		}
		seen[s] = name
	}
	for _, name := range hostileNames {
		check(name)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		b := make([]byte, 1+rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.IntN(256))
		}
		check(string(b))
	}
	for _, plain := range []string{"vm.raw", "Über 1.raw", "vm.raw@now", "日本"} {
		if SafeName(plain) != plain {
			t.Errorf("%q becomes %q", plain, SafeName(plain))
		}
	}
}

// Whatever names are, files are made, each one new, and below the directory.
func TestCreateStaysBelow(t *testing.T) {
	root := t.TempDir()
	outside := filepath.Join(root, "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "to")
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	// a way out, as if somebody else had laid it while files are copied
	if err := os.Symlink(root, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for range 2 {
		for _, a := range hostileNames {
			for _, b := range hostileNames {
				f, as, err := d.Create([]string{a, b})
				if err != nil {
					t.Fatalf("%q/%q: %v", a, b, err)
				}
				if made[as] {
					t.Fatalf("%q/%q: %q is there", a, b, as)
				}
				made[as] = true
				if _, err := f.WriteString("x"); err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(filepath.Join(dir, as)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, path := range [][]string{{"out", "outside"}, {"out"}, {"out", "x", "y"}} {
		f, as, err := d.Create(path)
		if err == nil {
			_ = f.Close()
		}
		if err == nil && strings.HasPrefix(as, "out/") {
			t.Errorf("%q: went through a symbolic link", path)
		}
	}
	names, err := os.ReadDir(root)
	if b, _ := os.ReadFile(outside); string(b) != "mine" || err != nil || len(names) != 2 {
		t.Errorf("outside of the directory: %q, %v, %v", b, names, err)
	}
	if _, err := OpenDir(dir); err == nil {
		t.Error("a directory that is not empty is taken")
	}
}
