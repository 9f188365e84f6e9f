package main

import (
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	maxMethods = 120 // of Pool
	maxUp      = 5   // references upwards that are meant
)

// TestHouse: every file of package chain is in a room, references run down but for those that are named, and Pool has verbs and
// records, not everything.
func TestHouse(t *testing.T) {
	h, err := open("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(h.up) > maxUp {
		t.Errorf("%d references upwards are allowed by .ci/house/rooms, of at most %d", len(h.up), maxUp)
	}
	unused := map[string]bool{}
	for u := range h.up {
		unused[u] = true
	}
	for _, u := range h.upward() {
		if h.up[u] == "" {
			t.Errorf("a reference runs up, and is not named in .ci/house/rooms: %s", u)
		}
		delete(unused, u)
	}
	for u := range unused {
		t.Errorf(".ci/house/rooms names a reference upwards that is gone: %s", u)
	}
	if n, _ := h.own("Pool"); n > maxMethods {
		t.Errorf("Pool has %d methods of its own, of at most %d", n, maxMethods)
	}
	for f := range h.of {
		if _, err := os.Stat(filepath.Join("../../chain", f)); err != nil {
			t.Errorf(".ci/house/rooms: %v", err)
		}
	}
}

// TestNoticesArrowUp: a reference upwards in a package that is made for it is found, one downwards is not.
func TestNoticesArrowUp(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":       "module house\n\ngo 1.26\n",
		"chain/low.go": "package chain\n\nfunc low() { high() }\n\nfunc lowest() {}\n",
		"chain/top.go": "package chain\n\nfunc high() { lowest() }\n",
		"rooms":        "room cellar low.go\nroom attic top.go\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := readPlan(filepath.Join(dir, "rooms"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := load(dir, "./chain")
	if err != nil {
		t.Fatal(err)
	}
	h, err := survey(s, p)
	if err != nil {
		t.Fatal(err)
	}
	if up := h.upward(); len(up) != 1 || up[0] != "low high" {
		t.Errorf("upward: %q, want low high", up)
	}
}

// TestDocNames: what docs/architecture.md names is there: files of the tree, functions and types of the packages.
func TestDocNames(t *testing.T) {
	doc, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, path := range []string{"./chain", "./fs", "./erase"} {
		s, err := load("../..", path)
		if err != nil {
			t.Fatal(err)
		}
		for id, o := range s.info.Defs {
			if f, ok := o.(*types.Func); ok && receiver(f) != nil {
				known[receiver(f).Obj().Name()+"."+id.Name] = true
			}
			known[id.Name] = true
		}
	}
	quoted := regexp.MustCompile("`([^`\n]+)`")
	name := regexp.MustCompile(`^[A-Za-z]+(\.[A-Za-z]+)?$`)
	for _, m := range quoted.FindAllStringSubmatch(string(doc), -1) {
		switch q := m[1]; {
		case strings.Contains(q, "*") || strings.ContainsAny(q, " -"):
		case strings.HasSuffix(q, ".go") || strings.HasPrefix(q, "."):
			if _, err := os.Stat(filepath.Join("../..", q)); err != nil {
				if _, err := os.Stat(filepath.Join("../../chain", q)); err != nil {
					t.Errorf("docs/architecture.md names %s: %v", q, err)
				}
			}
		case name.MatchString(q) && q != "list":
			if !known[q] {
				t.Errorf("docs/architecture.md names %s, which is not there", q)
			}
		}
	}
	tests := testsOfTree(t)
	for _, name := range testName.FindAllString(string(doc), -1) {
		if !tests[name] {
			t.Errorf("docs/architecture.md names %s, which is not there", name)
		}
	}
}
