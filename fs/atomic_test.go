package fs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// replaceEnv makes the test binary a process that replaces a name of a directory again and again, in the way that
// replaceArg names, and uses it by path meanwhile. It prints what failed. It is a process of its own so that the
// server has this one's scheduler for itself.
const (
	replaceEnv = "SLATEFS_TEST_REPLACE"
	replaceArg = "SLATEFS_TEST_REPLACE_HOW"
)

// A name that is replaced is there at every moment: whoever uses it by path meets the old file or the new one, never
// none, whatever the kernel had looked up before.
func TestReplacedNameIsAlwaysThere(t *testing.T) {
	for how := range replacements("") {
		t.Run(how, func(t *testing.T) {
			onTransports(t, func(t *testing.T, v variant) {
				if v.loop && !v.file {
					return // the loop without a ring answers these requests as with one
				}
				s, _, _ := mountPool(t, v)
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), replaceEnv+"="+s.Dir(), replaceArg+"="+how)
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Errorf("%s%v", out, err)
				}
			})
		})
	}
}

// replacement is a way to replace a name, and how the name is used meanwhile.
type replacement struct {
	replace func(step int) error // 0 makes it
	path    string
	uses    map[string]func(path string) error
}

func replacements(dir string) map[string]replacement {
	f, next := filepath.Join(dir, "f"), filepath.Join(dir, "next")
	over := func(fresh func(path string) error) func(int) error {
		return func(step int) error {
			if step == 0 {
				return fresh(f)
			}
			if err := fresh(next); err != nil {
				return err
			}
			return unix.Rename(next, f)
		}
	}
	file := func(path string) error {
		if err := unix.Mknod(path, unix.S_IFREG|0o644, 0); err != nil {
			return err
		}
		return unix.Setxattr(path, "user.a", []byte("1"), 0)
	}
	exchange := func(step int) error {
		if step > 0 {
			return unix.Renameat2(unix.AT_FDCWD, f, unix.AT_FDCWD, next, unix.RENAME_EXCHANGE)
		}
		if err := file(f); err != nil {
			return err
		}
		return file(next)
	}
	unlinked := func(step int) error {
		if step > 0 {
			if err := unix.Unlink(f); err != nil {
				return err
			}
		}
		fd, err := unix.Open(f, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
	stat := func(path string) error { return unix.Stat(path, new(unix.Stat_t)) }
	get := func(path string) error {
		_, err := unix.Getxattr(path, "user.a", make([]byte, 8))
		return err
	}
	uses := map[string]func(string) error{
		"open": opens(unix.O_RDWR), "open and truncate": opens(unix.O_WRONLY | unix.O_TRUNC),
		"open or create": opens(unix.O_RDWR | unix.O_CREAT), "stat": stat, "getxattr": get,
		"chmod":    func(path string) error { return unix.Chmod(path, 0o640) },
		"truncate": func(path string) error { return unix.Truncate(path, 4096) },
		"utimes":   func(path string) error { return unix.UtimesNano(path, make([]unix.Timespec, 2)) },
		"setxattr": func(path string) error { return unix.Setxattr(path, "user.b", []byte("2"), 0) },
		"access":   func(path string) error { return unix.Access(path, unix.R_OK) },
	}
	return map[string]replacement{
		"file":     {over(file), f, uses},
		"exchange": {exchange, f, uses},
		"unlink": {unlinked, f, map[string]func(string) error{
			"open or create": opens(unix.O_RDWR | unix.O_CREAT),
			"stat": func(path string) error {
				if err := stat(path); err != unix.ENOENT { //nolint:errorlint // an errno
					return err
				}
				return nil
			},
		}},
		"symlink": {over(func(path string) error { return unix.Symlink("target", path) }), f, map[string]func(string) error{
			"readlink": func(path string) error { _, err := unix.Readlink(path, make([]byte, 8)); return err },
			"lstat":    func(path string) error { return unix.Lstat(path, new(unix.Stat_t)) },
		}},
		"directory": {over(func(path string) error { return unix.Mkdir(path, 0o755) }), f, map[string]func(string) error{
			"stat": stat, "open": opens(unix.O_RDONLY | unix.O_DIRECTORY),
			"chmod": func(path string) error { return unix.Chmod(path, 0o755) },
		}},
	}
}

// opens is the use of a name by open(2).
func opens(flags int) func(string) error {
	return func(path string) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

// runReplace is the process: each use in a loop beside the replacing, and a line for each that failed.
func runReplace(dir, how string) error {
	const times = 200
	r := replacements(dir)[how]
	if err := r.replace(0); err != nil {
		return err
	}
	var done atomic.Bool
	var users sync.WaitGroup
	for what, use := range r.uses {
		users.Go(func() {
			failed, n := map[error]int{}, 0
			for ; !done.Load(); n++ {
				if err := use(r.path); err != nil {
					failed[err]++
				}
			}
			if len(failed) > 0 {
				fmt.Printf("%s: %v of %d\n", what, failed, n)
			}
		})
	}
	var err error
	for step := 1; step <= times && err == nil; step++ {
		err = r.replace(step)
	}
	done.Store(true)
	users.Wait()
	return err
}
