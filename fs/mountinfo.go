package fs

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"slatefs/chain"
)

// procRoot is where procfs is mounted.
const procRoot = "/proc"

// mountID is what /proc/PID/mountinfo says of a mount.
type mountID struct {
	id     int    // in this mount namespace
	dev    string // "major:minor", the same in all namespaces
	dir    string
	source string
}

// parseMount parses a line of mountinfo:
//
//	36 35 0:45 / /mnt/pool rw,nosuid shared:1 - fuse.slatefs pool rw,user_id=0
//
// ok is false for what is not a mount of slatefs.
func parseMount(line string) (m mountID, ok bool) {
	head, tail, _ := strings.Cut(line, " - ")
	h, t := strings.Split(head, " "), strings.Split(tail, " ") // at blanks only: a name may have what Unicode calls a space
	if len(h) < 5 || len(t) < 2 || t[0] != fsType {
		return m, false
	}
	id, err := strconv.Atoi(h[0])
	return mountID{id: id, dev: h[2], dir: unescape(h[4]), source: unescape(t[1])}, err == nil
}

// unescape undoes \040 and the like.
func unescape(s string) string {
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

// mounts lists the mounts of slatefs that a process sees; pid may be "self".
func mounts(proc, pid string) (list []mountID, err error) {
	file, err := os.Open(filepath.Join(proc, pid, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			list = append(list, m)
		}
	}
	return list, lines.Err()
}

// findMount finds the mount of slatefs on a directory, the uppermost one; chain.ErrNotFound if there is none.
func findMount(proc, dir string) (found mountID, err error) {
	list, err := mounts(proc, "self")
	if err != nil {
		return found, err
	}
	for _, m := range list {
		if m.dir == dir {
			found = m
		}
	}
	if found.id == 0 {
		return found, fmt.Errorf("%s: mount: %w", dir, chain.ErrNotFound)
	}
	return found, nil
}
