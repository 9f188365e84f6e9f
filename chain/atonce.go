package chain

import (
	"fmt"
	"strings"
)

// AtOnce is a pool to who may not wait, such as a loop that serves all volumes: its methods are those of the pool, and what must
// be read from the device for them is ErrNotNow instead. They may be called from any goroutine.
type AtOnce struct{ vs *openVolumes }

// AtOnce returns what of the pool can be told at once.
func (p *Pool) AtOnce() AtOnce { return AtOnce{p.volumes} }

// lookNow is lookUp for who may not wait.
func lookNow[T any](cl *commitLog, fn func() (T, error)) (T, error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.beginCold(nil)
	defer cl.leaveCold()
	out, err := fn()
	if cl.endCold() != nil {
		var none T
		return none, ErrNotNow
	}
	return out, err
}

// Lookup is Pool.Lookup.
func (q AtOnce) Lookup(dir Ino, name string) (Attr, error) {
	return lookNow(q.vs.commits, func() (Attr, error) { return q.vs.lookup(dir, name) })
}

// GetAttr is Pool.GetAttr.
func (q AtOnce) GetAttr(ino Ino) (Attr, error) {
	return lookNow(q.vs.commits, func() (Attr, error) { return q.vs.getAttr(ino) })
}

// SnapDirAttr is Pool.SnapDirAttr.
func (q AtOnce) SnapDirAttr(dir Ino) (Attr, error) {
	return lookNow(q.vs.commits, func() (Attr, error) { return q.vs.snapDirAttr(dir) })
}

// SnapLookup is Pool.SnapLookup.
func (q AtOnce) SnapLookup(dir Ino, name string) (a Attr, id LayerID, err error) {
	a, err = lookNow(q.vs.commits, func() (a Attr, err error) {
		a, id, err = q.vs.snapLookup(dir, name)
		return a, err
	})
	return a, id, err
}

// SnapAttr is Pool.SnapAttr.
func (q AtOnce) SnapAttr(id LayerID) (Attr, error) {
	return lookNow(q.vs.commits, func() (Attr, error) { return q.vs.snapAttr(id) })
}

// Volume is Pool.Volume.
func (q AtOnce) Volume(ino Ino) (*Volume, error) {
	return lookNow(q.vs.commits, func() (*Volume, error) { return q.vs.volume(ino) })
}

// Snap is Pool.Snap, which reads nothing.
func (q AtOnce) Snap(id LayerID) (*Snap, error) { return q.vs.snap(id) }

// What both look up, with the plan lock held.

func (vs *openVolumes) lookup(dir Ino, name string) (Attr, error) {
	if len(name) > MaxName {
		return Attr{}, fmt.Errorf("name of %d bytes, at most %d: %w", len(name), MaxName, ErrNameTooLong)
	}
	e, err := vs.names.find(dir, name)
	if err != nil {
		return Attr{}, err
	}
	return vs.getAttr(e.ino)
}

func (vs *openVolumes) getAttr(ino Ino) (Attr, error) {
	n, err := vs.names.inode(ino)
	if err != nil {
		return Attr{}, err
	}
	return vs.attr(ino, n), nil
}

func (vs *openVolumes) snapDirAttr(dir Ino) (Attr, error) {
	n, err := vs.names.directory(dir)
	if err != nil {
		return Attr{}, err
	}
	some := false
	vs.tree.snaps.volumesIn(dir, 0, func(*snapVol) bool { some = true; return false })
	if !some {
		return Attr{}, fmt.Errorf("%s: %w", join(vs.names.pathOf(dir), SnapDir), ErrNotFound)
	}
	return vs.attr(dir, n), nil
}

func (vs *openVolumes) snapLookup(dir Ino, name string) (Attr, LayerID, error) {
	i := strings.LastIndexByte(name, '@')
	if i < 0 {
		return Attr{}, 0, fmt.Errorf("%s in %s: %w", name, SnapDir, ErrNotFound)
	}
	e, err := vs.names.find(dir, name[:i])
	if err != nil {
		return Attr{}, 0, err
	}
	l, err := vs.tree.snapshot(e.ino, name[i+1:])
	if err != nil {
		return Attr{}, 0, err
	}
	a, err := vs.snapAttr(l.id)
	return a, l.id, err
}

func (vs *openVolumes) snapAttr(id LayerID) (Attr, error) {
	l := vs.tree.layers[id]
	if l == nil || l.head || l.dead || !l.named && !l.kept {
		return Attr{}, fmt.Errorf("snapshot %v: %w", id, ErrGone)
	}
	a := Attr{Ino: l.vol, Type: TypeFile, Mode: 0o400, Nlink: 1, Name: l.name}
	a.Mtime, a.Ctime, a.Btime, a.Atime = l.created, l.created, l.created, l.created
	if n, err := vs.names.inode(l.vol); err == nil {
		a.UID, a.GID, a.Mode, a.Parent = n.uid, n.gid, n.mode&0o444, n.parent
	}
	a.Size, a.Blocks = l.size, l.refer*BlockSize/512
	return a, nil
}
