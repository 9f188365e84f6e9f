package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/show"
)

// host is where a user's daemons keep what is not in a pool.
//
//	state/pools/UUID     pools known here (registry.go)
//	run/UUID.lock        held by the daemon of a pool (lock.go)
//	run/UUID.json        what it serves
//	run/UUID/control.sock
//	log/NAME.log         of daemons in the background
//	conf/UUID.conf       what the host does for a pool (settings.go)
type host struct {
	state, run, log, conf string
}

// newHost finds the directories. SLATEFS_STATE_DIR, SLATEFS_RUN_DIR and SLATEFS_CONF_DIR come first, so that tests and labs
// keep apart from the host's own pools.
func newHost(env func(string) string, uid int) (host, error) {
	h := host{state: env("SLATEFS_STATE_DIR"), run: env("SLATEFS_RUN_DIR"), conf: env("SLATEFS_CONF_DIR")}
	if h.state != "" {
		h.log, h.conf = filepath.Join(h.state, "log"), cmp.Or(h.conf, filepath.Join(h.state, "conf"))
	}
	if uid == 0 {
		h.state, h.run = cmp.Or(h.state, "/var/lib/slatefs"), cmp.Or(h.run, "/run/slatefs")
		h.log, h.conf = cmp.Or(h.log, "/var/log/slatefs"), cmp.Or(h.conf, "/etc/slatefs")
		return h, h.absolute()
	}
	if h.state == "" {
		base := env("XDG_STATE_HOME")
		if base == "" {
			home := env("HOME")
			if home == "" {
				return h, errors.New("neither XDG_STATE_HOME nor HOME is set")
			}
			base = filepath.Join(home, ".local/state")
		}
		h.state = filepath.Join(base, "slatefs")
		h.log = filepath.Join(h.state, "log")
	}
	if h.run == "" {
		h.run = userRunDir(env, uid)
	}
	if h.conf == "" {
		switch base, home := env("XDG_CONFIG_HOME"), env("HOME"); {
		case base != "":
			h.conf = filepath.Join(base, "slatefs")
		case home != "":
			h.conf = filepath.Join(home, ".config/slatefs")
		default:
			h.conf = filepath.Join(h.state, "conf")
		}
	}
	return h, h.absolute()
}

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
func (h host) absolute() error {
	for _, dir := range []string{h.state, h.run, h.conf} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("%s: must be an absolute path", dir)
		}
	}
	return nil
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
		return show.Hinted(fmt.Errorf("%s: others may write in it, mode %04o", dir, st.Mode().Perm()), "chmod go-w %s, after a look at it", dir)
	}
	return nil
}
