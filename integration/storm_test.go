package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// storm makes, moves, exchanges and removes names in a directory of its own, some of them of files that are open, and knows what
// is there.
type storm struct {
	dir   string
	rng   *rand.Rand
	there map[string]named
	gone  map[int]string // by descriptor: files that are open and have no name any more, and the names that they were made by
	n     int
	done  int
}

// named is what has a name: its kind, f, d or l, and the name that it was made by, which a file and a symlink tell of themselves.
type named struct {
	kind byte
	born string
}

// stormNames and stormOpen are how many names a storm has, and unlinked files, at most.
const (
	stormNames = 20
	stormOpen  = 4
)

func (s *storm) pick() string {
	names := make([]string, 0, len(s.there))
	for name := range s.there {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return names[s.rng.IntN(len(names))]
}

func (s *storm) at(name string) string { return filepath.Join(s.dir, name) }

// step does one thing, which must not fail.
func (s *storm) step() error {
	s.done++
	name := s.pick()
	if k := s.rng.IntN(10); name == "" || k < 4 && len(s.there) < stormNames {
		return s.make(k % 3)
	} else if k < 6 {
		return s.remove(name)
	}
	other := s.pick()
	switch {
	case name == other:
		s.n++
		other = fmt.Sprint("n", s.n)
		if err := unix.Renameat2(unix.AT_FDCWD, s.at(name), unix.AT_FDCWD, s.at(other), unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("rename %s %s: %w", name, other, err)
		}
		s.there[other] = s.there[name]
		delete(s.there, name)
	case s.there[name].kind == s.there[other].kind:
		if err := unix.Rename(s.at(name), s.at(other)); err != nil {
			return fmt.Errorf("rename %s over %s: %w", name, other, err)
		}
		s.there[other] = s.there[name]
		delete(s.there, name)
	default:
		if err := unix.Renameat2(unix.AT_FDCWD, s.at(name), unix.AT_FDCWD, s.at(other), unix.RENAME_EXCHANGE); err != nil {
			return fmt.Errorf("exchange %s %s: %w", name, other, err)
		}
		s.there[name], s.there[other] = s.there[other], s.there[name]
	}
	return nil
}

func (s *storm) make(kind int) (err error) {
	s.n++
	name := fmt.Sprint("n", s.n)
	made := named{"fdl"[kind], name}
	switch made.kind {
	case 'f':
		var fd int
		if fd, err = unix.Open(s.at(name), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
			_, err = unix.Pwrite(fd, []byte(name), 0)
			err = errors.Join(err, unix.Fsetxattr(fd, "user.n", []byte(name), unix.XATTR_CREATE), unix.Close(fd))
		}
	case 'd':
		err = unix.Mkdir(s.at(name), 0o700)
	default:
		err = unix.Symlink(name, s.at(name))
	}
	if err != nil {
		return fmt.Errorf("make %s, %c: %w", name, made.kind, err)
	}
	s.there[name] = made
	return nil
}

func (s *storm) remove(name string) (err error) {
	switch is := s.there[name]; {
	case is.kind == 'd':
		err = unix.Rmdir(s.at(name))
	case is.kind == 'f' && s.rng.IntN(2) == 0:
		err = s.removeOpen(name, is.born)
	default:
		err = unix.Unlink(s.at(name))
	}
	if err != nil {
		return fmt.Errorf("remove %s, %c: %w", name, s.there[name].kind, err)
	}
	delete(s.there, name)
	return nil
}

// removeOpen takes the name of a file that is open, and closes another one of these if there are many.
func (s *storm) removeOpen(name, born string) error {
	fd, err := unix.Open(s.at(name), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if s.gone[fd] = born; len(s.gone) > stormOpen {
		for other := range s.gone {
			err = s.close(other)
			break
		}
	}
	return errors.Join(err, unix.Unlink(s.at(name)))
}

// close closes a file that has no name, and holds what it held.
func (s *storm) close(fd int) error {
	err := holdsText(fd, s.gone[fd])
	if err != nil {
		err = fmt.Errorf("the unlinked file %s: %w", s.gone[fd], err)
	}
	delete(s.gone, fd)
	return errors.Join(err, unix.Close(fd))
}

func holdsText(fd int, want string) error {
	got := make([]byte, 100)
	n, err := unix.Pread(fd, got, 0)
	if err == nil && string(got[:n]) != want {
		err = fmt.Errorf("holds %q, want %q", got[:n], want)
	}
	return err
}

// verify compares what is there with what must be, and closes what is open.
func (s *storm) verify(t *testing.T) {
	entries, err := os.ReadDir(s.dir)
	must(t, err)
	kinds := map[os.FileMode]byte{0: 'f', os.ModeDir: 'd', os.ModeSymlink: 'l'}
	for _, e := range entries {
		want, born := s.there[e.Name()], ""
		switch path := s.at(e.Name()); kinds[e.Type()] {
		case 'f':
			fd := open(t, path, unix.O_RDONLY)
			if err := holdsText(fd, want.born); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			closeFD(t, fd)
			text := make([]byte, 100)
			n, err := unix.Getxattr(path, "user.n", text)
			must(t, err)
			born = string(text[:n])
		case 'l':
			born, err = os.Readlink(path)
			must(t, err)
		default:
			born = want.born
		}
		if is := (named{kinds[e.Type()], born}); is != want {
			t.Errorf("%s is %v, want %v", s.at(e.Name()), is, want)
		}
	}
	if len(entries) != len(s.there) {
		t.Errorf("%s: %d names, want %d", s.dir, len(entries), len(s.there))
	}
	for fd := range s.gone {
		if err := s.close(fd); err != nil {
			t.Error(err)
		}
	}
}

// stormUser is eight storms, with a rest between their steps: others work beside them.
func stormUser(t *testing.T, p *pool) (end func()) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the storms: %d", seed)
	var storms []*storm
	var stop atomic.Bool
	var running sync.WaitGroup
	for i := range 8 {
		s := &storm{dir: p.at(fmt.Sprint("d", i)), rng: rand.New(rand.NewPCG(seed, uint64(i))), there: map[string]named{}, gone: map[int]string{}}
		must(t, os.Mkdir(s.dir, 0o755))
		storms = append(storms, s)
		running.Go(func() {
			for !stop.Load() {
				if err := s.step(); err != nil {
					t.Errorf("%s: %v", s.dir, err)
					return
				}
				time.Sleep(time.Duration(s.rng.IntN(2000)) * time.Microsecond)
			}
		})
	}
	return func() {
		stop.Store(true)
		running.Wait()
		done := 0
		for _, s := range storms {
			s.verify(t)
			done += s.done
		}
		t.Logf("%d changes of names", done)
	}
}
