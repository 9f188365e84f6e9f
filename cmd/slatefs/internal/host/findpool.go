package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain/lvm"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// PoolRef is a pool that was typed: with a daemon, or only known, or only a device.
type PoolRef struct {
	Live   *Live // nil: not mounted
	Device string
	UUID   uuid.UUID // zero: not known
	Name   string
}

// Pool finds a POOL: by name, mountpoint, a path below it, or device. A device that no known pool lies on is one without a UUID;
// a name that is none's is ErrUnknown.
func (f *Finder) Pool(arg string) (PoolRef, error) {
	if IsPath(arg) {
		if m, _, ok := f.locate(arg); ok {
			l, err := f.daemon(m)
			return liveRef(l), err
		}
		return f.device(arg)
	}
	if strings.Contains(arg, "/") {
		lv, ok := LVArgument(arg)
		if !ok {
			return PoolRef{}, show.Hinted(show.Usagef("%s: is neither a name, nor a path, nor VG/LV", arg), "a path starts with / or ./")
		}
		return f.volume(arg, lv)
	}
	same := f.liveNamed(arg)
	switch len(same) {
	case 0:
		return f.named(arg)
	case 1:
		return liveRef(same[0]), f.onlyOne(same[0])
	}
	return PoolRef{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the mountpoint",
		len(same), arg, same[0].Dir, same[1].Dir)
}

// onlyOne refuses the name of a mounted pool that another pool, which is known here and not mounted, has as well.
func (f *Finder) onlyOne(l Live) error {
	k, err := f.byName(l.Name)
	switch {
	case errors.Is(err, ErrUnknown), err == nil && (k.UUID == l.UUID || !f.there(k)):
		return nil
	case err != nil:
		return show.Hinted(err, "%s is the mountpoint of one", l.Dir)
	}
	return fmt.Errorf("2 pools are named %s, one mounted on %s, one on %s: give the mountpoint or the device",
		l.Name, l.Dir, k.Device)
}

// liveNamed are the mounted pools of a name.
func (f *Finder) liveNamed(name string) []Live {
	return slices.DeleteFunc(slices.Clone(f.Live), func(l Live) bool { return l.Name != name })
}

// volume finds a pool by VG/LV. Where LVM has no such volume, and there is a file of that name, the file was meant.
func (f *Finder) volume(arg string, lv lvm.Name) (PoolRef, error) {
	ref, err := f.device(lv.Path())
	if err != nil || ref.UUID != uuid.Nil {
		return ref, err
	}
	_, device := os.Stat(lv.Path())
	_, file := os.Stat(arg)
	if device != nil && file == nil {
		return ref, show.Hinted(fmt.Errorf("%s: is taken for VG/LV, and there is no such logical volume", arg),
			"a path starts with / or ./, as ./%s", arg)
	}
	return ref, nil
}

func liveRef(l Live) PoolRef {
	return PoolRef{Live: &l, Device: l.Device, UUID: l.UUID, Name: l.Name}
}

// device finds a pool by its device.
func (f *Finder) device(path string) (PoolRef, error) {
	id, err := DeviceIdentity(path)
	if errors.Is(err, os.ErrNotExist) {
		return f.inactive(path, err)
	}
	if err != nil {
		return PoolRef{}, err
	}
	for _, l := range f.Live {
		if l.Identity == id {
			return liveRef(l), nil
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return PoolRef{}, err
	}
	if i, err := Peek(abs); err == nil { // whatever was known to lie there
		return PoolRef{Device: abs, UUID: i.UUID, Name: i.Name}, nil
	}
	return PoolRef{Device: abs, Name: path}, nil
}

// mounted is the daemon of a pool, or an error if it is not mounted.
func (r PoolRef) mounted() (Live, error) {
	if r.Live == nil {
		return Live{}, show.Hinted(fmt.Errorf("pool %s is not mounted", r.Name), "slatefs mount %s DIR", r.Name)
	}
	return *r.Live, nil
}

// MountedPool finds the daemon of a PATH or POOL: what lies on a mount is a path, however it is written, and so is a
// directory.
func (f *Finder) MountedPool(arg string) (Live, error) {
	if m, _, ok := f.locate(arg); ok {
		return f.daemon(m)
	}
	if st, err := os.Stat(arg); err == nil && st.IsDir() && strings.Contains(arg, "/") {
		return Live{}, f.notOurs(arg)
	}
	ref, err := f.Pool(arg)
	if err != nil {
		return Live{}, err
	}
	return ref.mounted()
}

// Mountpoint finds the mount of slatefs that a path is the mountpoint of; false: it lies on none. A path below one is refused:
// what ends is the whole pool, and a slip of the pen must not end it.
func (f *Finder) Mountpoint(arg string) (m mounts.Mount, ok bool, err error) {
	m, rel, ok := f.locate(arg)
	if ok && rel != strings.TrimPrefix(m.Root, "/") {
		err = show.Hinted(fmt.Errorf("%s: is no mountpoint, it lies in the pool that is mounted on %s", arg, m.Dir),
			"slatefs umount %s unmounts that pool", m.Dir)
	}
	return m, ok, err
}

// Ending finds the daemon that is to end, by what Mountpoint found: by its mountpoint, or else by the name or the device of
// its pool.
func (f *Finder) Ending(arg string, m mounts.Mount, ok bool) (Live, error) {
	if ok {
		l, err := f.daemon(m)
		if err == nil && l.Dir != m.Dir {
			err = show.Hinted(fmt.Errorf("%s: is a bind mount of the pool that is mounted on %s", arg, l.Dir),
				"umount %s takes it away, slatefs umount %s the pool", arg, l.Dir)
		}
		return l, err
	}
	if st, err := os.Stat(arg); err == nil && st.IsDir() {
		if len(f.liveNamed(arg)) == 0 {
			return Live{}, f.notOurs(arg)
		}
	}
	ref, err := f.Pool(arg)
	if err != nil {
		return Live{}, err
	}
	return ref.mounted()
}

// notOurs says what a directory is that no pool is mounted on.
func (f *Finder) notOurs(arg string) error {
	abs := arg
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(f.cwd, abs)
	}
	err := fmt.Errorf("%s: is not where a pool is mounted", arg)
	if m, _, ok := f.mounts.Of(filepath.Clean(abs)); ok {
		what := "a directory of the " + m.Type + " on " + m.Dir
		if m.Dir == filepath.Clean(abs) {
			what = "the mountpoint of a " + m.Type
		}
		err = fmt.Errorf("%s: is not where a pool is mounted, it is %s", arg, what)
	}
	return show.Hinted(err, "slatefs pool list shows the mounted pools")
}
