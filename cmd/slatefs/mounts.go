package main

import (
	"bufio"
	"os"
	"path"
	"strconv"
	"strings"
)

// fsType is the type of slatefs mounts in the mount table.
const fsType = "fuse.slatefs"

// mountEntry is a line of /proc/self/mountinfo.
type mountEntry struct {
	dev    string // "major:minor"
	root   string // what of the file system is mounted: / but for bind mounts
	dir    string
	fstype string
	source string
}

// readMounts reads the mount table of this process; later mounts cover earlier ones.
func readMounts() (mountTable, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	var list mountTable
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMountEntry(lines.Text()); ok {
			list = append(list, m)
		}
	}
	return list, lines.Err()
}

// parseMountEntry parses a line of mountinfo:
//
//	36 35 0:45 / /mnt/pool rw,nosuid shared:1 - fuse.slatefs pool rw,user_id=0
func parseMountEntry(line string) (m mountEntry, ok bool) {
	head, tail, _ := strings.Cut(line, " - ")
	h, t := strings.Split(head, " "), strings.Split(tail, " ") // at blanks only: a name may have what Unicode calls a space
	if len(h) < 5 || len(t) < 2 {
		return m, false
	}
	return mountEntry{dev: h[2], root: unescapeMount(h[3]), dir: unescapeMount(h[4]), fstype: t[0], source: unescapeMount(t[1])}, true
}

// unescapeMount undoes \040 and the like.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountTable answers which mount a path lies on.
type mountTable []mountEntry

// of finds the mount that an absolute, clean path lies on, and the path from the root of its file system: "" is the
// root. Symlinks are not looked at.
func (t mountTable) of(abs string) (m mountEntry, rel string, ok bool) {
	for _, e := range t {
		if below(abs, e.dir) && len(e.dir) >= len(m.dir) {
			m, ok = e, true
		}
	}
	if !ok {
		return m, "", false
	}
	rel = path.Join(m.root, strings.TrimPrefix(strings.TrimPrefix(abs, m.dir), "/"))
	return m, strings.TrimPrefix(rel, "/"), true
}

// below tells whether a path is dir or lies below it.
func below(abs, dir string) bool {
	return dir == "/" || abs == dir || strings.HasPrefix(abs, dir+"/")
}
