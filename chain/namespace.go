package chain

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
)

// namespaces changes what has a name: it makes, moves and exchanges files and directories, sets attributes and properties.
type namespaces struct {
	*core
	commits *commitLog
	names   *nameTable
	space   *admission
	works   *works
	volumes *openVolumes
	removal *remover
}

// Lookup finds a name in a directory.
func (p *Pool) Lookup(dir Ino, name string) (Attr, error) {
	return lookUp(p.commits, func() (Attr, error) { return p.volumes.lookup(dir, name) })
}

// GetAttr is stat(2).
func (p *Pool) GetAttr(ino Ino) (Attr, error) {
	return lookUp(p.commits, func() (Attr, error) { return p.volumes.getAttr(ino) })
}

// Parent is the directory that holds ino.
func (p *Pool) Parent(ino Ino) (Ino, error) {
	return lookUp(p.commits, func() (Ino, error) {
		if ino == RootIno {
			return RootIno, nil
		}
		n, err := p.names.inode(ino)
		if err != nil {
			return 0, err
		}
		return n.parent, nil
	})
}

// Resolve finds what a slash-separated path from the root names; "" is the root. It follows no symlink.
func (p *Pool) Resolve(path string) (Attr, error) {
	ino := RootIno
	for _, name := range strings.Split(path, "/") {
		if name == "" || name == "." {
			continue
		}
		a, err := p.Lookup(ino, name)
		if err != nil {
			return Attr{}, err
		}
		ino = a.Ino
	}
	return p.GetAttr(ino)
}

// SetAttr changes what is not nil. Size is Volume.Truncate, for files only.
type SetAttr struct {
	Mode, UID, GID *uint32
	Size           *int64
	Atime, Mtime   *time.Time
	Immutable      *bool
}

// SetAttr changes attributes and returns what they are then.
func (p *Pool) SetAttr(_ Req, ino Ino, s SetAttr) (Attr, error) {
	if s.Size != nil {
		v, err := p.Volume(ino)
		if err != nil {
			return Attr{}, err
		}
		if err := v.Truncate(*s.Size); err != nil {
			return Attr{}, err
		}
	}
	var out Attr
	err := p.works.change(func(now time.Time) error {
		n, err := p.names.inode(ino)
		if err != nil {
			return err
		}
		for _, f := range []struct{ from, to *uint32 }{{s.Mode, &n.mode}, {s.UID, &n.uid}, {s.GID, &n.gid}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		n.mode &= 0o7777
		n.ctime = now
		if s.Size != nil {
			n.mtime = now
		}
		if s.Mtime != nil {
			n.mtime = *s.Mtime
		}
		if v := p.plans.vols[ino]; v != nil && (s.Size != nil || s.Mtime != nil) {
			v.mtime = time.Time{}
		}
		if s.Atime != nil {
			n.atime, n.atimeSet = *s.Atime, true
		}
		if s.Immutable != nil {
			n.immutable = *s.Immutable
		}
		if err := p.names.putInode(ino, n); err != nil {
			return err
		}
		out = p.volumes.attr(ino, n)
		return nil
	})
	return out, err
}

// admitName tells why a name cannot be made in a directory, for an inode that takes words, or what is to be waited for. Else it
// returns the directory. The plan lock is held.
func (na *namespaces) admitName(dir Ino, name string, words int64) (*inode, Need, error) {
	na.mu.assertHeld()
	if err := checkName(name); err != nil {
		return nil, Need{}, err
	}
	d, err := na.names.directory(dir)
	if err != nil {
		return nil, Need{}, err
	}
	if _, err := na.names.find(dir, name); err == nil {
		return nil, Need{}, fmt.Errorf("%s: %w", join(na.names.pathOf(dir), name), ErrExist)
	} else if !errors.Is(err, ErrNotFound) {
		return nil, Need{}, err
	}
	need, err := na.space.roomForName(dir, name, words)
	if err == nil {
		err = na.names.fits(dir, name)
	}
	return d, need, err
}

// make adds an inode under a name that was admitted, to the directory d. The plan lock is held.
func (na *namespaces) make(r Req, dir Ino, d *inode, name string, n *inode, now time.Time) (Ino, error) {
	na.mu.assertHeld()
	na.names.nextIno++
	ino := na.names.nextIno
	n.uid, n.gid, n.parent, n.name = r.UID, r.GID, dir, name
	n.mtime, n.ctime, n.btime = now, now, now
	if d.mode&0o2000 != 0 { // set-group-id directories hand their group on
		n.gid = d.gid
	}
	if err := na.names.putInode(ino, n); err != nil {
		return 0, err
	}
	if err := na.names.setName(dir, name, ino, n.typ); err != nil {
		return 0, err
	}
	return ino, na.names.updateDir(dir, d, 1, dirCount(n.typ), now)
}

// Mkdir makes a directory.
func (p *Pool) Mkdir(r Req, dir Ino, name string, mode uint32) (Attr, error) {
	return p.namespace.makeAttr(r, dir, name, &inode{typ: TypeDir, mode: mode & 0o7777}, nil)
}

// Create makes an empty volume. Its refreservation is what the directory says.
func (p *Pool) Create(r Req, dir Ino, name string, mode uint32) (Attr, error) {
	return p.namespace.makeAttr(r, dir, name, &inode{typ: TypeFile, mode: mode & 0o7777}, func(ino Ino, now time.Time) error {
		if err := p.commits.do(&recHead{vol: ino, when: now}); err != nil {
			return err
		}
		return p.namespace.takeDefault(dir, ino)
	})
}

// MaxLink bounds the bytes of a symlink's target.
const MaxLink = 4095

// Symlink makes a symlink to target.
func (p *Pool) Symlink(r Req, dir Ino, name, target string) (Attr, error) {
	if target == "" || len(target) > MaxLink {
		return Attr{}, fmt.Errorf("symlink to %d bytes, at most %d: %w", len(target), MaxLink, ErrNameTooLong)
	}
	n := &inode{typ: TypeSymlink, mode: 0o777, link: int64(len(target))}
	return p.namespace.makeAttr(r, dir, name, n, func(ino Ino, _ time.Time) error {
		return p.namespace.putLong(catalog.Key(catalog.Link, uint64(ino)), []byte(target))
	})
}

func (na *namespaces) putLong(k meta.Key, v []byte) error {
	for _, r := range catalog.Parts(k, v) {
		if err := na.commits.do(&recPut{key: r.Key, val: r.Val}); err != nil {
			return err
		}
	}
	return nil
}

func (na *namespaces) makeAttr(r Req, dir Ino, name string, n *inode, more func(Ino, time.Time) error) (Attr, error) {
	var out Attr
	err := na.works.grow(func(now time.Time) (Need, error) {
		if n.typ == TypeFile {
			_, _ = na.prop(dir, propRefreservation) //nolint:errcheck // takeDefault needs it, when the change has begun
		}
		d, need, err := na.admitName(dir, name, n.words())
		if err != nil || !need.None() {
			return need, err
		}
		ino, err := na.make(r, dir, d, name, n, now)
		if err == nil && more != nil {
			err = more(ino, now)
		}
		if err == nil {
			out = na.volumes.attr(ino, n)
			err = na.answer(r, ino)
		}
		return Need{}, err
	})
	return out, err
}

// answer remembers what a FUSE request did, so that it is not done again if it is sent again.
func (na *namespaces) answer(r Req, ino Ino) error {
	if r.Unique == 0 {
		return nil
	}
	return na.commits.do(&recAnswer{unique: r.Unique, ino: ino})
}

// Readlink is the target of a symlink. Errors: ErrInvalid, ErrGone.
func (p *Pool) Readlink(ino Ino) (string, error) {
	return lookUp(p.commits, func() (string, error) {
		v, ok, err := p.names.cat.Long(catalog.Key(catalog.Link, uint64(ino)))
		if err == nil && !ok {
			if _, err = p.names.inode(ino); err == nil {
				err = ErrInvalid
			}
		}
		if err != nil {
			return "", fmt.Errorf("symlink %d: %w", ino, wrapCorrupt(err))
		}
		return string(v), nil
	})
}

func (na *namespaces) emptyDir(ino Ino) error {
	d, err := na.names.directory(ino)
	if err != nil {
		return err
	}
	if d.entries > 0 {
		return fmt.Errorf("%s: %w", na.names.pathOf(ino), ErrNotEmpty)
	}
	return nil
}
