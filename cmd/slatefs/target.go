package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/lvm"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// finder finds pools and objects by what was typed.
type finder struct {
	host   host.Host
	mounts mounts.Table
	live   []host.Live
	cwd    string
	lvs    func() ([]host.LVPool, error)    // pools on logical volumes; asked for once, when needed
	byName func(string) (host.Known, error) // of the known ones
	there  func(host.Known) bool            // whether it may be where it was
}

func (a *app) finder() (*finder, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	mounts, err := a.mounts()
	lvs := sync.OnceValues(func() ([]host.LVPool, error) { return host.LVPools(context.Background()) })
	there := func(k host.Known) bool { return a.stillThere(context.Background(), k) }
	return &finder{a.host, mounts, a.host.Daemons(), cwd, lvs, a.named, there}, err
}

// locate finds the slatefs mount that a path lies on. Symlinks on the way to the mount are followed, below it nothing
// is touched.
func (f *finder) locate(arg string) (m mounts.Mount, rel string, ok bool) {
	abs := arg
	if !filepath.IsAbs(abs) {
		abs = filepath.Join(f.cwd, abs)
	}
	abs = filepath.Clean(abs)
	for range 40 {
		if m, rel, ok := f.mounts.Of(abs); ok && m.Ours() {
			return m, rel, true
		}
		next, ok := f.follow(abs)
		if !ok {
			break
		}
		abs = next
	}
	return m, "", false
}

// follow replaces the first symlink in a path; false: there is none.
func (f *finder) follow(abs string) (string, bool) {
	for i := 1; i <= len(abs); i++ {
		if i < len(abs) && abs[i] != '/' {
			continue
		}
		at := abs[:i]
		if m, _, ok := f.mounts.Of(at); ok && m.Ours() {
			return "", false
		}
		to, err := os.Readlink(at)
		if err != nil {
			continue // no symlink, or not there
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(at), to)
		}
		return filepath.Join(to, abs[i:]), true
	}
	return "", false
}

// daemon finds the daemon of a mount.
func (f *finder) daemon(m mounts.Mount) (host.Live, error) {
	for _, l := range f.live {
		if l.MountDev == m.Dev {
			return l, nil
		}
	}
	return host.Live{}, show.Hinted(fmt.Errorf("%s: the daemon of this mount is dead, or another user's", m.Dir),
		"slatefs mount %s %s mounts it again", m.Source, m.Dir)
}

// object finds what FILE, FILE@NAME, DIR or DIR@NAME means.
func (f *finder) object(arg string) (host.Live, control.Object, error) {
	whole, rel, ok := f.locate(arg)
	// The mountpoint itself with a name: MOUNTPOINT@NAME lies on the mount above.
	dir, snap, _ := cutLast(arg, '@')
	top, root, isTop := f.locate(dir)
	isTop = isTop && snap != "" && root == strings.TrimPrefix(top.Root, "/")
	switch {
	case ok && isTop && whole.Dev != top.Dev:
		return host.Live{}, control.Object{}, fmt.Errorf("%s: lies on %s, and is the snapshots %s of %s: give the path of a volume", arg, whole.Dir, snap, dir)
	case ok:
		l, err := f.daemon(whole)
		return l, control.Object{Arg: arg, Path: rel}, err
	case isTop:
		l, err := f.daemon(top)
		return l, control.Object{Arg: arg, Path: root, Snap: snap}, err
	}
	return host.Live{}, control.Object{}, show.Hinted(fmt.Errorf("%s: is not on a slatefs mount", arg), "slatefs pool list shows the mounted pools")
}

// objects finds several that must lie in one pool.
func (f *finder) objects(args []string) (l host.Live, objs []control.Object, err error) {
	for i, arg := range args {
		one, o, err := f.object(arg)
		if err != nil {
			return l, nil, err
		}
		if i > 0 && one.UUID != l.UUID {
			return l, nil, show.Usagef("%s and %s lie in two pools, %s and %s", args[0], arg, l.Name, one.Name)
		}
		l, objs = one, append(objs, o)
	}
	return l, objs, nil
}

// poolRef is a pool that was typed: with a daemon, or only known, or only a device.
type poolRef struct {
	live   *host.Live // nil: not mounted
	device string
	id     uuid.UUID // zero: not known
	name   string
}

// unmounted finds a pool that a command is to have for itself: one that is mounted is refused, with the way out.
func (a *app) unmounted(arg string) (*finder, poolRef, error) {
	f, err := a.finder()
	if err != nil {
		return nil, poolRef{}, err
	}
	ref, err := f.pool(arg)
	if err == nil && ref.live != nil {
		err = show.Hinted(host.InUse(*ref.live), "slatefs umount %s", ref.live.Dir)
	}
	return f, ref, err
}

// pool finds a POOL: by name, mountpoint, a path below it, or device.
func (f *finder) pool(arg string) (poolRef, error) {
	if host.IsPath(arg) {
		if m, _, ok := f.locate(arg); ok {
			l, err := f.daemon(m)
			return liveRef(l), err
		}
		return f.device(arg)
	}
	if strings.Contains(arg, "/") {
		lv, ok := host.LVArgument(arg)
		if !ok {
			return poolRef{}, show.Hinted(show.Usagef("%s: is neither a name, nor a path, nor VG/LV", arg), "a path starts with / or ./")
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
	return poolRef{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the mountpoint", len(same), arg, same[0].Dir, same[1].Dir)
}

// onlyOne refuses the name of a mounted pool that another pool, which is known here and not mounted, has as well.
func (f *finder) onlyOne(l host.Live) error {
	k, err := f.byName(l.Name)
	switch {
	case errors.Is(err, errUnknownPool), err == nil && (k.UUID == l.UUID || !f.there(k)):
		return nil
	case err != nil:
		return show.Hinted(err, "%s is the mountpoint of one", l.Dir)
	}
	return fmt.Errorf("2 pools are named %s, one mounted on %s, one on %s: give the mountpoint or the device", l.Name, l.Dir, k.Device)
}

// liveNamed are the mounted pools of a name.
func (f *finder) liveNamed(name string) []host.Live {
	return slices.DeleteFunc(slices.Clone(f.live), func(l host.Live) bool { return l.Name != name })
}

// volume finds a pool by VG/LV. Where LVM has no such volume, and there is a file of that name, the file was meant.
func (f *finder) volume(arg string, lv lvm.Name) (poolRef, error) {
	ref, err := f.device(lv.Path())
	if err != nil || ref.id != uuid.Nil {
		return ref, err
	}
	_, device := os.Stat(lv.Path())
	_, file := os.Stat(arg)
	if device != nil && file == nil {
		return ref, show.Hinted(fmt.Errorf("%s: is taken for VG/LV, and there is no such logical volume", arg), "a path starts with / or ./, as ./%s", arg)
	}
	return ref, nil
}

func liveRef(l host.Live) poolRef {
	return poolRef{live: &l, device: l.Device, id: l.UUID, name: l.Name}
}

// device finds a pool by its device.
func (f *finder) device(path string) (poolRef, error) {
	id, err := host.DeviceIdentity(path)
	if errors.Is(err, os.ErrNotExist) {
		return f.inactive(path, err)
	}
	if err != nil {
		return poolRef{}, err
	}
	for _, l := range f.live {
		if l.Identity == id {
			return liveRef(l), nil
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return poolRef{}, err
	}
	if i, err := peek(abs); err == nil { // whatever was known to lie there
		return poolRef{device: abs, id: i.UUID, name: i.Name}, nil
	}
	return poolRef{device: abs, name: path}, nil
}

// mounted is the daemon of a pool, or an error if it is not mounted.
func (r poolRef) mounted() (host.Live, error) {
	if r.live == nil {
		return host.Live{}, show.Hinted(fmt.Errorf("pool %s is not mounted", r.name), "slatefs mount %s DIR", r.name)
	}
	return *r.live, nil
}

// mountedPool is finder.mountedPool for who looks for one pool only.
func (a *app) mountedPool(arg string) (host.Live, error) {
	f, err := a.finder()
	if err != nil {
		return host.Live{}, err
	}
	return f.mountedPool(arg)
}

// mountedPool finds the daemon of a PATH or POOL: what lies on a mount is a path, however it is written, and so is a
// directory.
func (f *finder) mountedPool(arg string) (host.Live, error) {
	if m, _, ok := f.locate(arg); ok {
		return f.daemon(m)
	}
	if st, err := os.Stat(arg); err == nil && st.IsDir() && strings.Contains(arg, "/") {
		return host.Live{}, f.notOurs(arg)
	}
	ref, err := f.pool(arg)
	if err != nil {
		return host.Live{}, err
	}
	return ref.mounted()
}

// openOffline opens a pool that is not mounted, for reading. close ends both.
func (a *app) openOffline(ctx context.Context, ref poolRef) (p *chain.Pool, close func() error, err error) {
	dev, release, err := a.reach(ctx, ref, blockdev.Options{ReadOnly: true}, false)
	if err != nil {
		return nil, nil, err
	}
	p, err = chain.Open(dev, chain.Options{Now: a.now, ReadOnly: true})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", ref.device, err), release())
	}
	return p, func() error { return errors.Join(p.Close(), release()) }, nil
}

// identify reads name and UUID of the pool on an open device. It changes nothing.
func (a *app) identify(dev *blockdev.File) (name string, id uuid.UUID, err error) {
	i, err := chain.Identify(dev)
	if err != nil {
		return "", id, fmt.Errorf("%s: %w", dev.Path(), err)
	}
	return i.Name, i.UUID, nil
}
