// Package host is what this host knows of pools without opening one: where state lies, which pools were made or mounted here,
// which daemons run, who may have which pool, and which logical volumes have one. It asks no daemon anything, and takes
// nothing for true that it has not looked at. What holds here:
//
//   - A pool's name means its UUID: what lies on a device is compared before anything is done to it (reach.go).
//   - What was typed is matched against the table of mounts: no file below a mount is touched (find.go).
//   - One daemon per pool: a lock named by the pool's UUID is held as long as the daemon lives. What the daemon says of itself
//     counts only while the lock is held (lock.go).
//   - Directories for locks and sockets are made for one user, and refused where another one could have made what is in them.
//   - A file of the host is replaced as a whole, durably (hostfile.go). Nobody is kept from a pool by a bad one of another pool.
//   - What the host does for a pool, as to run a command, is said by a file that nobody else can have written (settings.go).
//   - The registry helps to find pools, and is no proof of anything (registry.go); nor are the tags of a logical volume (lvs.go).
//
// Other processes change all of it at any time: an answer was true when it was given. Values may be used by any number of
// goroutines. Errors that users may do something about have hints (internal/show).
package host

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// Host is where a user's daemons keep what is not in a pool, and who is told of what is found there.
//
//	state/pools/UUID     pools known here (registry.go)
//	run/UUID.lock        held by the daemon of a pool (lock.go)
//	run/UUID.json        what it serves
//	run/UUID/control.sock
//	run/UUID/daemon.json  the same for a group that may ask the daemon (shared.go)
//	log/NAME.log         of daemons in the background
//	state/anchors/UUID.jsonl, state/ended/UUID.json
//	                     what their erase logs came to (anchors.go)
//	conf/UUID.conf       what the host does for a pool (internal/daemon)
//	conf/keys/UUID.key   what signs for a pool, and UUID.pub (keys.go)
type Host struct {
	State, Run, Log, Conf string
	Shared                string // where root's daemons are that a group may ask; empty: this is root
	Credentials           string // where a service manager has put them; empty: nowhere

	// What is told to who runs a command: a warning of what keeps nothing from being done, and a note of what was done beside
	// what was asked for. nil: it is told to nobody.
	OnWarning func(format string, args ...any)
	OnNote    func(format string, args ...any) error
	Child     bool // the process that started this one has warned of the registry
}

// Warn tells of what keeps nothing from being done.
func (h Host) Warn(format string, args ...any) {
	if h.OnWarning != nil {
		h.OnWarning(format, args...)
	}
}

// Note tells what was done beside what was asked for.
func (h Host) Note(format string, args ...any) error {
	if h.OnNote == nil {
		return nil
	}
	return h.OnNote(format, args...)
}

// New finds the directories of user uid, and makes none: env is os.Getenv.
// SLATEFS_STATE_DIR, SLATEFS_RUN_DIR and SLATEFS_CONF_DIR come first, so that tests and labs
// keep apart from the host's own pools.
func New(env func(string) string, uid int) (Host, error) {
	h := Host{State: env("SLATEFS_STATE_DIR"), Run: env("SLATEFS_RUN_DIR"), Conf: env("SLATEFS_CONF_DIR"), Credentials: env("CREDENTIALS_DIRECTORY")}
	if h.State != "" {
		h.Log, h.Conf = filepath.Join(h.State, "log"), cmp.Or(h.Conf, filepath.Join(h.State, "conf"))
	}
	if uid == 0 {
		h.State, h.Run = cmp.Or(h.State, "/var/lib/slatefs"), cmp.Or(h.Run, rootRun)
		h.Log, h.Conf = cmp.Or(h.Log, "/var/log/slatefs"), cmp.Or(h.Conf, "/etc/slatefs")
		return h, h.absolute()
	}
	h.Shared = cmp.Or(h.Run, rootRun)
	if h.State == "" {
		base := env("XDG_STATE_HOME")
		if base == "" {
			home := env("HOME")
			if home == "" {
				return h, errors.New("neither XDG_STATE_HOME nor HOME is set")
			}
			base = filepath.Join(home, ".local/state")
		}
		h.State = filepath.Join(base, "slatefs")
		h.Log = filepath.Join(h.State, "log")
	}
	if h.Run == "" {
		h.Run = userRunDir(env, uid)
	}
	if h.Conf == "" {
		switch base, home := env("XDG_CONFIG_HOME"), env("HOME"); {
		case base != "":
			h.Conf = filepath.Join(base, "slatefs")
		case home != "":
			h.Conf = filepath.Join(home, ".config/slatefs")
		default:
			h.Conf = filepath.Join(h.State, "conf")
		}
	}
	return h, h.absolute()
}

// rootRun is where the locks and sockets of root's daemons are.
const rootRun = "/run/slatefs"

// userRunDir is slatefs below XDG_RUNTIME_DIR; where a login has set none, below the directory that it usually is, or
// one of our own in /tmp.
func userRunDir(env func(string) string, uid int) string {
	id := strconv.Itoa(uid)
	usual := filepath.Join("/run/user", id)
	switch dir := env("XDG_RUNTIME_DIR"); {
	case dir != "":
		return filepath.Join(dir, "slatefs")
	case owned(usual, uid):
		return filepath.Join(usual, "slatefs")
	}
	return filepath.Join(os.TempDir(), "slatefs-"+id)
}

// absolute refuses directories that would move with the working directory: the daemon has another one.
func (h Host) absolute() error {
	for _, dir := range []string{h.State, h.Run, h.Conf} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%s: must be an absolute path", dir)
		}
	}
	return nil
}

// SocketPath is where the control socket of a pool lies.
func (h Host) SocketPath(id uuid.UUID) string {
	return filepath.Join(h.Run, id.String(), "control.sock")
}

// SocketDir makes the directory of a pool's control socket, which only this user may enter until Share, and returns the socket's path.
func (h Host) SocketDir(id uuid.UUID) (socket string, err error) {
	socket = h.SocketPath(id)
	dir := filepath.Dir(socket)
	if err := privateDir(dir); err != nil {
		return socket, err
	}
	// The daemon before this one, which died, may have let a group in.
	return socket, errors.Join(os.Chmod(dir, 0o700), RemoveIfThere(filepath.Join(dir, sharedName)))
}

// Places are the directories that a daemon has files in, now or later, whether they are there or not.
func (h Host) Places() []string {
	return []string{
		h.Run, h.PoolDir(), filepath.Join(h.State, "anchors"), filepath.Join(h.State, "ended"), h.Conf, filepath.Join(h.Conf, "keys"),
	}
}

// SettingsPath is where the settings of a pool lie.
func (h Host) SettingsPath(id uuid.UUID) string { return filepath.Join(h.Conf, id.String()+".conf") }

// LogPath is the log file of a daemon in the background, by the name that the pool on device has among those known.
func (h Host) LogPath(device string, pools []Known) string {
	name := filepath.Base(device)
	for _, k := range pools {
		if k.Device == device {
			name = k.Name
		}
	}
	return filepath.Join(h.Log, fmt.Sprintf("%s.log", name))
}

// owned tells whether dir is a directory of that user.
func owned(dir string, uid int) bool {
	var st unix.Stat_t
	return unix.Lstat(dir, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == uid
}

// privateDir makes a directory that only this user may enter. One that is there stays as it is, and is refused where somebody
// else made it, or may make names in it.
func privateDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	st, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !owned(dir, os.Geteuid()):
		return fmt.Errorf("%s: is not a directory of user %d", dir, os.Geteuid())
	case st.Mode().Perm()&0o022 != 0:
		return show.Hinted(fmt.Errorf("%s: others may write in it, mode %04o", dir, st.Mode().Perm()),
			"chmod go-w %s, after a look at it", dir)
	}
	return nil
}
