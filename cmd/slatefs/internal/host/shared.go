package host

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/show"
)

// Root's daemons may be opened to a group of the host. Its members can't look whether a lock is held: who can open a lock file can
// take a lock, and keep a daemon out. They read what the daemon says of itself beside its socket, which only they and root can do,
// and hear from the socket whether it is there still.

// sharedName is what a daemon says of itself to the group that may ask it, in the directory of its socket.
const sharedName = "daemon.json"

// GroupID is the number of a group of the host, by its name or its number.
func GroupID(group string) (int, error) {
	if n, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, show.Hinted(fmt.Errorf("group %s: is not in /etc/group: %w", group, os.ErrNotExist), "its number does as well")
	}
	return strconv.Atoi(g.Gid)
}

// Share says to a group what a daemon serves, and lets it through to the socket's directory, whose mode is not changed. Who is not
// of the group may pass through the directory of locks, and open nothing in it.
func (h Host) Share(l Live, gid int) error {
	b, err := show.Encode(l)
	if err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(l.Socket), sharedName)
	if err := WriteWhole(path, append(b, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o640); err != nil {
		return err
	}
	return os.Chmod(h.Run, 0o755)
}

// shared lists root's daemons that this user may ask, as a member of a group. Only root can have made what is read.
func (h Host) shared() (list []Live) {
	if os.Geteuid() == 0 || !owned(h.Shared, 0) {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(h.Shared, "*", sharedName))
	if err != nil {
		return nil // the pattern is constant: it is well-formed
	}
	for _, path := range paths {
		id, err := uuid.Parse(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it is for another group
		}
		l := Live{lock: filepath.Join(h.Shared, id.String()+lockSuffix), shared: true}
		if show.Decode(b, &l) == nil && l.UUID == id {
			list = append(list, l)
		}
	}
	return list
}
