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
	abs = filepath.Clean(abs)
	for range 40 {
		if m, rel, ok := t.Of(abs); ok && m.Ours() {
			return m, rel, true
		}
		next, ok := t.follow(abs)
		if !ok {
			break
		}
		abs = next
	}
	return Mount{}, "", false
}

// follow replaces the first symlink in a path; false: there is none.
func (t Table) follow(abs string) (string, bool) {
	for i := 1; i <= len(abs); i++ {
		if i < len(abs) && abs[i] != '/' {
			continue
		}
		at := abs[:i]
		if m, _, ok := t.Of(at); ok && m.Ours() {
			return "", false
		}
		to, err := os.Readlink(at)
		if err != nil {
			continue // no symlink, or not there
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		return filepath.Join(to, abs[i:]), true
	}
	return "", false
}
