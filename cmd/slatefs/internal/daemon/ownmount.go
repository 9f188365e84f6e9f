package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// What a daemon opens must not lie in its own mount: it would wait for itself, with what it holds at that moment. A file comes
// there by the mountpoint, which covers what was there, by a bind mount, or by a symlink. The table of mounts tells, before
// anything is touched.

// NotOwn refuses a path that leads into this daemon's mount, as control.ErrInvalid. It touches nothing below a mount of slatefs.
func (d *Daemon) NotOwn(path string) error { return notIn(d.live.MountDev, path) }

// notIn refuses a path that leads into the mount of a device, or through it, "major:minor"; empty: there is none yet.
func notIn(dev, path string) error {
	if dev == "" || !filepath.IsAbs(path) {
		return nil
	}
	table, err := mounts.Own()
	if err != nil {
		return err
	}
	if m, ok := table.Through(path, dev); ok {
		err := fmt.Errorf("%s: lies in the pool's own mount on %s, and the daemon would wait for itself: %w", path, m.Dir, control.ErrInvalid)
		return show.Hinted(err, "take a path that the mount does not cover")
	}
	return nil
}

// refuseOwn refuses what the daemon opens where that leads into its own mount: before it opens anything, when the mount may be
// there from the last daemon, and when it has mounted.
func (d *Daemon) refuseOwn(c Config) error {
	dev := d.live.MountDev
	if dev == "" {
		table, err := mounts.Own()
		if err != nil {
			return err
		}
		m, _ := table.On(c.Dir)
		dev = m.Dev
	}
	paths := append(d.host.Places(), c.Pool.Device)
	if c.Log != "" && c.Log != os.DevNull {
		paths = append(paths, c.Log)
	}
	for _, path := range paths {
		if err := notIn(dev, path); err != nil {
			return err
		}
	}
	return nil
}

// avoid refuses a path of the host's settings that leads into the mount; of a service without one none does.
func (s *Service) avoid(path string) error {
	if s.notOwn == nil {
		return nil
	}
	return s.notOwn(path)
}

// hostPaths are the properties of the host that name a file for the daemon to open.
var hostPaths = []string{chain.PropLogExport, control.PropEraseKey}

// avoidAll refuses settings that name such a path.
func (s *Service) avoidAll(list []control.Setting) error {
	for _, one := range list {
		if one.Inherit || !slices.Contains(hostPaths, one.Name) {
			continue
		}
		if err := s.avoid(one.Value); err != nil {
			return fmt.Errorf("%s: %w", one.Name, err)
		}
	}
	return nil
}
