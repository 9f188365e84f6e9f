package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// changeEnv makes the test binary a process of another user that changes a file in the way that changeArg names.
const (
	changeEnv = "SLATEFS_TEST_CHANGE"
	changeArg = "SLATEFS_TEST_CHANGE_HOW"
)

// changers are the ways to change a file's bytes.
var changers = map[string]func(path string) error{
	"write":    func(path string) error { return onFile(path, 0, writeSome) },
	"append":   func(path string) error { return onFile(path, unix.O_APPEND, writeSome) },
	"dsync":    func(path string) error { return onFile(path, unix.O_DSYNC, writeSome) },
	"direct":   func(path string) error { return onFile(path, unix.O_DIRECT, writeSome) },
	"truncate": func(path string) error { return unix.Truncate(path, 100) },
	"grow":     func(path string) error { return unix.Truncate(path, 1<<20) },
	"open":     func(path string) error { return onFile(path, unix.O_TRUNC, func(int) error { return nil }) },
	"create": func(path string) error {
		return onFile(path, unix.O_TRUNC|unix.O_CREAT, func(int) error { return nil })
	},
	"fallocate": func(path string) error {
		return onFile(path, 0, func(fd int) error { return unix.Fallocate(fd, 0, 0, 1<<16) })
	},
	"copy_range": func(path string) error { return onFile(path, 0, copySome) },
}

func writeSome(fd int) error {
	_, err := unix.Write(fd, pattern(4096, 9))
	return err
}

func copySome(fd int) error {
	var from, to int64 = 0, 8192
	_, err := unix.CopyFileRange(fd, &from, fd, &to, 4096, 0)
	return err
}

func onFile(path string, flags int, do func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|flags, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

// runChange is the process.
func runChange(path, how string) error {
	if err := unix.Setgroups(nil); err != nil {
		return err
	}
	if err := unix.Setgid(65534); err != nil {
		return err
	}
	if err := unix.Setuid(65534); err != nil {
		return err
	}
	return changers[how](path)
}

// Who changes a file without the right to keep them takes its setuid and setgid bits away, through whatever request; root
// does not. A new owner takes them away in any case.
func TestSetuidBitsGoWithAChange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be two users")
	}
	onTransports(t, func(t *testing.T, v variant) {
		s, _, _ := mountPool(t, v)
		must(t, unix.Chmod(s.Dir(), 0o777))
		for _, dir := range []string{filepath.Dir(s.Dir()), filepath.Dir(filepath.Dir(s.Dir()))} {
			must(t, os.Chmod(dir, 0o755))
		}
		path := filepath.Join(s.Dir(), "v")
		mode := func() uint32 {
			var st unix.Stat_t
			must(t, unix.Stat(path, &st))
			return st.Mode & 0o7777
		}
		for how, change := range changers {
			for held, want := range map[uint32]uint32{0o6777: 0o777, 0o4766: 0o766, 0o2766: 0o2766, 0o1777: 0o1777} {
				must(t, unix.Mknod(path, unix.S_IFREG|0o600, 0))
				keep, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0) // so that its mode changes while it is open
				must(t, err)
				_, err = unix.Write(keep, pattern(12288, 1))
				must(t, err)
				must(t, unix.Chmod(path, held))
				must(t, change(path))
				if got := mode(); got != held {
					t.Errorf("%s by root: mode %o, was %o", how, got, held)
				}
				if how == "copy_range" || how == "fallocate" { // need the bytes that were there
					must(t, unix.Ftruncate(keep, 12288))
				}
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), changeEnv+"="+path, changeArg+"="+how)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %s%v", how, strings.TrimSpace(string(out)), err)
				}
				if got := mode(); got != want {
					t.Errorf("%s by another: mode %o, want %o, was %o", how, got, want, held)
				}
				must(t, unix.Chmod(path, held))
				must(t, unix.Chown(path, 12, -1))
				if got := mode(); got != want {
					t.Errorf("a new owner: mode %o, want %o, was %o", got, want, held)
				}
				must(t, unix.Close(keep))
				must(t, unix.Unlink(path))
			}
		}
	})
}
