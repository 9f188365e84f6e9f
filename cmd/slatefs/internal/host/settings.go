package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// Some properties of a pool say what is run or opened on the host that serves it, by root if root mounts it. They are the
// host's: kept in a file of its own, by the pool's UUID, as lines of NAME=VALUE, the value escaped. A pool is a file that
// anybody may have written; what it says of such things means nothing.

// Settings are those of one pool on this host. All methods may be called concurrently.
type Settings struct {
	path  string
	canon Canon

	mu     sync.Mutex
	values map[string]string // canonical
}

// Canon makes a value of a host's property canonical; an error for what is no such property, or no value of it.
type Canon func(name, value string) (string, error)

// Setting is what is to be set, or, with Inherit, not set any more.
type Setting struct {
	Name, Value string
	Inherit     bool
}

// ErrUnsafe is for a file that others than its owner could have written.
var ErrUnsafe = errors.New("anybody could have written it")

// Settings reads what this host says of a pool; nothing if there is no file. On an error there are no settings, and none can
// be set, until what the error says is put right.
func (h Host) Settings(id uuid.UUID, canon Canon) (*Settings, error) {
	s := &Settings{path: h.SettingsPath(id), canon: canon, values: map[string]string{}}
	b, err := readOwn(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	for n, line := range strings.Split(string(b), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name, text, _ := strings.Cut(line, "=")
		val, err := show.Unescape(text)
		if err == nil {
			val, err = canon(name, val)
		}
		if err != nil {
			clear(s.values)
			return s, fmt.Errorf("%s: line %d: %w", s.path, n+1, err)
		}
		s.values[name] = val
	}
	return s, nil
}

// maxSettings bounds a file of them, in bytes.
const maxSettings = 64 << 10

// readOwn reads a small file that nobody else can have written: neither it, nor its directory.
func readOwn(path string) ([]byte, error) {
	if err := ownAlone(filepath.Dir(path), os.Stat); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	if err := ownAlone(path, func(string) (os.FileInfo, error) { return f.Stat() }); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSettings+1))
	if len(b) > maxSettings {
		err = fmt.Errorf("%s: has more than %d bytes", path, maxSettings)
	}
	return b, err
}

// ownAlone refuses what is not a directory or file of this user or root, and what others may write.
func ownAlone(path string, stat func(string) (os.FileInfo, error)) error {
	st, err := stat(path)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	owner := -1
	if ok {
		owner = int(sys.Uid)
	}
	switch {
	case !st.IsDir() && !st.Mode().IsRegular():
		return fmt.Errorf("%s: is no file: %w", path, ErrUnsafe)
	case owner != 0 && owner != os.Geteuid():
		return show.Hinted(fmt.Errorf("%s: is user %d's: %w", path, owner, ErrUnsafe),
			"chown %d %s, after a look at it", os.Geteuid(), path)
	case st.Mode().Perm()&0o022 != 0:
		return show.Hinted(fmt.Errorf("%s: has mode %04o: %w", path, st.Mode().Perm(), ErrUnsafe),
			"chmod go-w %s, after a look at it", path)
	}
	return nil
}

// Get is the canonical value of a property, and whether it is set.
func (s *Settings) Get(name string) (val string, set bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	val, set = s.values[name]
	return val, set
}

// Change sets properties of the host, all or none, durably. undo takes that back.
func (s *Settings) Change(list []Setting) (undo func() error, err error) {
	undo = func() error { return nil }
	if len(list) == 0 {
		return undo, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, fresh := s.values, maps.Clone(s.values)
	for _, l := range list {
		if l.Inherit {
			delete(fresh, l.Name)
		} else if fresh[l.Name], err = s.canon(l.Name, l.Value); err != nil {
			return undo, err
		}
	}
	if err := s.write(fresh); err != nil {
		return undo, err
	}
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.write(old)
	}, nil
}

// write makes values those that hold. The file is replaced as a whole; without a value there is none. s.mu is held.
func (s *Settings) write(values map[string]string) error {
	if _, err := readOwn(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // whoever wrote it, it is not for us to replace
	}
	if len(values) == 0 {
		if err := RemoveIfThere(s.path); err != nil {
			return err
		}
		s.values = values
		return nil
	}
	var b bytes.Buffer
	b.WriteString("# What this host does for the pool of this UUID. slatefs set and inherit write it anew.\n")
	for _, name := range slices.Sorted(maps.Keys(values)) {
		b.WriteString(name + "=" + show.Escape(values[name]) + "\n")
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return err
	}
	if err := ownAlone(filepath.Dir(s.path), os.Stat); err != nil {
		return err
	}
	if err := WriteWhole(s.path, b.Bytes(), 0o600); err != nil {
		return err
	}
	s.values = values
	return nil
}

// DropSettings ends what the host does for a pool.
func (h Host) DropSettings(id uuid.UUID) error { return RemoveIfThere(h.SettingsPath(id)) }

// MoveSettings gives what the host does for a pool to the pool's new UUID, durably. What stays with the old one is warned of.
func (h Host) MoveSettings(old, now uuid.UUID) {
	err := os.Rename(h.SettingsPath(old), h.SettingsPath(now))
	if err == nil {
		err = SyncDir(h.Conf)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.Warn("the pool has a new UUID, and what this host did for it stays with the old one: %v", err)
	}
}
