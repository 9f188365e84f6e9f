package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/fs/mounts"
)

// leftover is a mount, loop device or process that a test made.
type leftover struct {
	what   string
	remove func()
}

// String names it.
func (l leftover) String() string { return l.what }

// leftBelow finds what has to do with files below dir, and does not go away by itself: a daemon gives the
// pool back before its process ends.
func leftBelow(dir string) (list []leftover, err error) {
	for range 1200 { // a minute
		if list, err = mountsBelow(dir); err != nil {
			return nil, err
		}
		if list = append(append(list, loopsBelow(dir)...), daemonsBelow(dir)...); len(list) == 0 {
			return nil, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return list, nil
}

// mountsBelow finds mounts on dir and below, the innermost first.
func mountsBelow(dir string) (list []leftover, err error) {
	table, err := mounts.Own()
	if err != nil {
		return nil, err
	}
	for _, m := range slices.Backward(table) {
		if !within(m.Dir, dir) {
			continue
		}
		_, minor, _ := strings.Cut(m.Dev, ":")
		list = append(list, leftover{"mount " + m.Dir, func() {
			if m.Ours() {
				// One that is gone already has no connection.
				_ = os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0)
			}
			if unix.Unmount(m.Dir, unix.MNT_DETACH) != nil {
				_ = exec.Command("fusermount3", "-uz", m.Dir).Run()
			}
		}})
	}
	return list, nil
}

// loopsBelow finds loop devices over files below dir.
func loopsBelow(dir string) (list []leftover) {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil // the pattern is constant
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !within(strings.TrimSpace(string(b)), dir) {
			continue
		}
		dev := "/dev/" + strings.Split(f, "/")[3]
		list = append(list, leftover{fmt.Sprintf("loop device %s over %s", dev, strings.TrimSpace(string(b))), func() {
			_ = exec.Command("losetup", "-d", dev).Run()
		}})
	}
	return list
}

// daemonsBelow finds processes of the binary under test, or of a copy below dir, that serve something there.
func daemonsBelow(dir string) (list []leftover) {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil // the pattern is constant
	}
	for _, proc := range procs {
		exe, err := os.Readlink(proc + "/exe")
		exe = strings.TrimSuffix(exe, " (deleted)")
		if err != nil || exe != program && !within(exe, dir) {
			continue
		}
		args, err := os.ReadFile(proc + "/cmdline")
		pid, atoiErr := strconv.Atoi(filepath.Base(proc))
		if err != nil || atoiErr != nil || !strings.Contains(string(args), dir) {
			continue
		}
		list = append(list, leftover{fmt.Sprintf("process %d: %s", pid, strings.ReplaceAll(string(args), "\x00", " ")), func() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}})
	}
	return list
}

// within tells whether a path is dir or lies below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
