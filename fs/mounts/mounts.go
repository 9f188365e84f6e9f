// Package mounts reads the kernel's table of mounts, and says which mount a path lies on. The daemon finds its own mount in it,
// those who have files of it open, and commands the pool that a path means: none of them may touch a file below the mount to
// find that out, for it may be dead, or wait for who asks.
//
// Paths are strings of bytes. A table is what was true when it was read, does not change, and is safe for concurrent use.
package mounts

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Proc is where procfs is mounted, and Self this process in it.
const (
	Proc = "/proc"
	Self = "self"
)

// Type is the type of a mount of slatefs, as mount(8) shows it.
const Type = "fuse.slatefs"

// Mount is a mount as a process sees it.
type Mount struct {
	ID     int    // in the process's mount namespace
	Dev    string // "major:minor" of the file system, the same in all namespaces
	Root   string // what of the file system is mounted: / but for bind mounts
	Dir    string // absolute
	Type   string
	Source string // of slatefs: the pool's name
}

// Ours tells whether it is a mount of slatefs.
func (m Mount) Ours() bool { return m.Type == Type }

// Table is all that a process sees; later mounts cover earlier ones.
type Table []Mount

// Read reads the table of a process: proc is where procfs is mounted, pid may be Self.
func Read(proc, pid string) (Table, error) {
	b, err := os.ReadFile(filepath.Join(proc, pid, "mountinfo"))
	if err != nil {
		return nil, err
	}
	return parse(b)
}

// Own reads the table of this process.
func Own() (Table, error) { return Read(Proc, Self) }

// parse passes over lines that are longer than the library reads: those are overlays of hundreds of layers, and none of ours.
func parse(b []byte) (t Table, err error) {
	var short []byte
	for line := range bytes.Lines(b) {
		if len(line) < bufio.MaxScanTokenSize {
			short = append(short, line...)
		}
	}
	list, err := mountinfo.GetMountsFromReader(bytes.NewReader(short), nil)
	for _, m := range list {
		t = append(t, Mount{m.ID, fmt.Sprintf("%d:%d", m.Major, m.Minor), m.Root, m.Mountpoint, m.FSType, m.Source})
	}
	return t, err
}

// On finds the mount of slatefs on a directory, the uppermost one.
func (t Table) On(dir string) (Mount, bool) {
	for _, m := range slices.Backward(t) {
		if m.Dir == dir && m.Ours() {
			return m, true
		}
	}
	return Mount{}, false
}

// Of finds the mount that an absolute, clean path lies on, and the path from the root of its file system: "" is the
// root. Symlinks are not looked at.
func (t Table) Of(abs string) (m Mount, rel string, ok bool) {
	for _, e := range t {
		if Below(abs, e.Dir) && len(e.Dir) >= len(m.Dir) {
			m, ok = e, true
		}
	}
	if !ok {
		return m, "", false
	}
	rel = path.Join(m.Root, strings.TrimPrefix(strings.TrimPrefix(abs, m.Dir), "/"))
	return m, strings.TrimPrefix(rel, "/"), true
}

// Below tells whether a clean path is dir or lies below it.
func Below(abs, dir string) bool {
	return dir == "/" || abs == dir || strings.HasPrefix(abs, dir+"/")
}

// Leads finds the mount of slatefs that an absolute path leads to, and the path from the root of its file system. Symlinks on the
// way to the mount are followed; below a mount of slatefs nothing is touched. False: it leads to none.
func (t Table) Leads(abs string) (m Mount, rel string, ok bool) {
	m, rel, ok = t.Of(t.walk(abs, func(Mount) {}))
	if !ok || !m.Ours() {
		return Mount{}, "", false
	}
	return m, rel, true
}

// Through finds the mount of slatefs of a device, "major:minor", that an absolute path leads to, or comes through: who opens it asks
// that mount. It touches nothing below a mount of slatefs.
func (t Table) Through(abs, dev string) (found Mount, ok bool) {
	t.walk(abs, func(m Mount) {
		if m.Dev == dev {
			found, ok = m, true
		}
	})
	return found, ok
}

// mostLinks is how many symlinks the kernel follows in one path.
const mostLinks = 40

// walk goes along a path name by name, as the kernel does: what a ".." leads to depends on the symlinks before it. It returns where
// that ends, as a clean path without symlinks, and calls fn for each mount of slatefs on the way. What lies below one is taken for
// what it is called.
func (t Table) walk(abs string, fn func(m Mount)) string {
	at, rest := "/", strings.Split(abs, "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == "" || name == "." {
			continue
		}
		at = filepath.Join(at, name) // at is clean, so ".." is what is above it
		if m, _, ok := t.Of(at); ok && m.Ours() {
			fn(m)
			continue
		}
		if name == ".." || links == mostLinks {
			continue
		}
		to, err := os.Readlink(at)
		if err != nil {
			continue // no symlink, or not there
		}
		links++
		if at = filepath.Dir(at); filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return at
}
