package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// Finder finds pools and places in them by what was typed. It knows what was mounted when it was made, touches no file below a
// mount, and is for one goroutine.
type Finder struct {
	host   Host
	mounts mounts.Table
	Live   []Live // of this user
	cwd    string
	LVs    func() ([]LVPool, error)    // pools on logical volumes; asked for once, when needed
	byName func(string) (Known, error) // of the known ones
	there  func(Known) bool            // whether it may be where it was
}

// Place is a volume, snapshot or directory in a pool, as the daemon is told of it.
type Place struct {
	Arg  string // as typed, for messages
	Path string // from the root of the pool; may be FILE@NAME still
	Snap string // of MOUNTPOINT@NAME, which can only be split here
}

// NewFinder looks what is mounted now, as table has it, and which daemons run.
func NewFinder(h Host, table mounts.Table) (*Finder, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	lvs := sync.OnceValues(func() ([]LVPool, error) { return LVPools(context.Background()) })
	byName := func(name string) (Known, error) { return h.Named(name) }
	there := func(k Known) bool { return h.StillThere(context.Background(), k) }
	return &Finder{h, table, h.Daemons(), cwd, lvs, byName, there}, nil
}

// locate finds the slatefs mount that a path lies on, as mounts.Table.Leads.
func (f *Finder) locate(arg string) (m mounts.Mount, rel string, ok bool) {
	if !filepath.IsAbs(arg) {
		arg = filepath.Join(f.cwd, arg)
	}
	return f.mounts.Leads(arg)
}

// daemon finds the daemon of a mount.
func (f *Finder) daemon(m mounts.Mount) (Live, error) {
	for _, l := range f.Live {
		if l.MountDev == m.Dev {
			return l, nil
		}
	}
	return Live{}, show.Hinted(fmt.Errorf("%s: the daemon of this mount is dead, or another user's", m.Dir),
		"slatefs mount %s %s mounts it again", m.Source, m.Dir)
}

// Place finds what FILE, FILE@NAME, DIR or DIR@NAME means, and the daemon that has it. Whether it is there the daemon knows.
func (f *Finder) Place(arg string) (Live, Place, error) {
	whole, rel, ok := f.locate(arg)
	// The mountpoint itself with a name: MOUNTPOINT@NAME lies on the mount above.
	dir, snap := arg, ""
	if i := strings.LastIndexByte(arg, '@'); i >= 0 {
		dir, snap = arg[:i], arg[i+1:]
	}
	top, root, isTop := f.locate(dir)
	isTop = isTop && snap != "" && !strings.Contains(snap, "/") && root == strings.TrimPrefix(top.Root, "/")
	switch {
	case ok && isTop && whole.Dev != top.Dev:
		return Live{}, Place{}, fmt.Errorf("%s: lies on %s, and is the snapshots %s of %s: give the path of a volume",
			arg, whole.Dir, snap, dir)
	case ok:
		l, err := f.daemon(whole)
		return l, Place{Arg: arg, Path: rel}, err
	case isTop:
		l, err := f.daemon(top)
		return l, Place{Arg: arg, Path: root, Snap: snap}, err
	}
	return Live{}, Place{}, show.Hinted(fmt.Errorf("%s: is not on a slatefs mount", arg),
		"slatefs pool list shows the mounted pools")
}

// Listed is Place for a PATH; the name or the device of a mounted pool is its root.
func (f *Finder) Listed(arg string) (Live, Place, error) {
	l, o, err := f.Place(arg)
	if err == nil || strings.Contains(arg, "/") && !strings.HasPrefix(arg, "/dev/") {
		return l, o, err
	}
	ref, refErr := f.Pool(arg)
	if refErr != nil && !strings.Contains(arg, "/") && !errors.Is(refErr, ErrUnknown) {
		err = refErr // a name that is several pools'
	}
	if refErr != nil {
		return l, o, err
	}
	l, err = ref.mounted()
	return l, Place{Arg: arg}, err
}
