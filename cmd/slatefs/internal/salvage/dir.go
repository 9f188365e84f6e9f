package salvage

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// Dir is a directory of the host that files of a pool are copied to. Names come from a device that anybody may have written:
// they are made safe first (SafeName), and the kernel resolves them beneath the directory only, through no symbolic link.
type Dir struct{ f *os.File }

// OpenDir makes the directory, or takes one that is empty.
func OpenDir(path string) (*Dir, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		err = show.Hinted(fmt.Errorf("%s is not empty", path), "give a directory that is not there yet")
	} else if !errors.Is(err, unix.ENOTDIR) {
		err = nil
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Dir{f}, nil
}

// sync makes all that was written to the file system of the directory durable.
func (d *Dir) sync() error { return unix.Syncfs(int(d.f.Fd())) }

// Close closes the directory.
func (d *Dir) Close() error { return d.f.Close() }

// beneath is how a name is resolved.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// Create makes a new file with a path below the directory, of which each name is made safe, and the directories on the way. Where
// that name is taken it gets another one, with \~2 and so on behind it, which no name of a pool becomes by itself. It returns the
// path as it is below the directory.
func (d *Dir) Create(path []string) (f *os.File, as string, err error) {
	at, done := int(d.f.Fd()), func() {}
	defer func() { done() }()
	safe := make([]string, len(path))
	for i, name := range path {
		safe[i] = SafeName(name)
	}
	for i, name := range safe[:len(safe)-1] {
		if safe[i], err = enter(&at, &done, name); err != nil {
			return nil, "", fmt.Errorf("%s: %w", strings.Join(safe[:i+1], "/"), err)
		}
	}
	last := safe[len(safe)-1]
	for n := 1; ; n++ {
		safe[len(safe)-1] = numbered(last, n)
		as = strings.Join(safe, "/")
		fd, err := unix.Openat2(at, numbered(last, n), &unix.OpenHow{
			Flags: unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC, Mode: 0o600, Resolve: beneath,
		})
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), as), as, nil
		case !errors.Is(err, unix.EEXIST) || n == tries:
			return nil, "", fmt.Errorf("%s: %w", as, err)
		}
	}
}

// tries bounds the names that one file may get: more are of a pool that was made to have them.
const tries = 1000

// enter makes a directory in the one at, unless it is there, and goes into it. A file of that name keeps it.
func enter(at *int, done *func(), name string) (as string, err error) {
	for n := 1; ; n++ {
		as = numbered(name, n)
		if err := unix.Mkdirat(*at, as, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return "", err
		}
		fd, err := unix.Openat2(*at, as, &unix.OpenHow{
			Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath,
		})
		if errors.Is(err, unix.ENOTDIR) && n < tries {
			continue
		}
		if err != nil {
			return "", err
		}
		(*done)()
		*at, *done = fd, func() { _ = unix.Close(fd) } //nolint:errcheck // a directory that was only gone through
		return as, nil
	}
}

func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf(`%s\~%d`, name, n)
}

// maxName is how long a name is at most: what numbered puts behind it has room in the 255 bytes that Linux allows.
const maxName = 240

// SafeName is a name of a pool as a name for the host: escaped as names are shown (show.Escape), a slash too, and names that
// begin with a dot or a dash, or are empty. Of one that is too long the beginning, \~ and a hash of all. No two names become one, but by
// that hash; and none leaves a directory, ends a line or looks like an option.
func SafeName(name string) string {
	s := strings.ReplaceAll(show.Escape(name), "/", `\057`)
	switch {
	case s == "":
		return `\~`
	case s[0] == '.' || s[0] == '-':
		s = fmt.Sprintf(`\%03o`, s[0]) + s[1:]
	}
	if len(s) <= maxName {
		return s
	}
	cut := strings.ToValidUTF8(s[:maxName-24], "") // no half of a letter
	return fmt.Sprintf(`%s\~%016x`, cut, xxhash.Sum64String(name))
}
