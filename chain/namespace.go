package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/meta"
)

// change runs fn under both locks, with room in the journal for what it does. What fn makes is atomic: its records go
// into one batch. It is durable after the next Flush.
func (p *Pool) change(fn func(now time.Time) error) error {
	if err := p.pagesForChange(); err != nil {
		return err
	}
	return p.changeIn(credit{bytes: changeBytes, pages: changePages, frees: true}, fn)
}

// grow is change for what makes names or attributes: the tail of the journal is not for it.
func (p *Pool) grow(fn func(now time.Time) error) error {
	if err := p.pagesForChange(); err != nil {
		return err
	}
	return p.changeIn(credit{bytes: changeBytes, pages: changePages}, fn)
}

// changeBytes bounds the records of one change of the namespace or the structure; longer ones say what they need.
const changeBytes = 8 << 10

// changePages is what one change usually lets the next checkpoint need; structurePages are beside it.
const changePages = 16

// inodeBytes bounds the record of an inode's row.
const inodeBytes = 512

// changeIn is change for what needs more or less room than most, and sees itself to what it takes from the store at once.
func (p *Pool) changeIn(c credit, fn func(now time.Time) error) error {
	return p.changeAfter(c, func() {}, fn)
}

// changeAfter is changeIn for what has to look at more than one hold of the plan lock may: look does, under the structure lock
// alone, which is held until fn is done.
func (p *Pool) changeAfter(c credit, look func(), fn func(now time.Time) error) error {
	for tries := 0; ; tries++ {
		r, err := p.getRoom(context.Background(), c)
		if err != nil {
			return err
		}
		short, err := p.changeWith(r, tries < 3, look, fn)
		if err != nil || !short {
			return err
		}
		if err := p.pagesForRows(); err != nil {
			return err
		}
	}
}

// changeWith makes a change in a room, which is given back. short: it has done nothing, since others have taken pages that
// the next checkpoint needs; unless it may not be picky.
func (p *Pool) changeWith(r *room, picky bool, look func(), fn func(now time.Time) error) (short bool, err error) {
	p.structure.Lock()
	defer p.structure.Unlock()
	look()
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.within(r)()
	if err := p.writable(); err != nil {
		return false, err
	}
	if picky && p.pagesShort() {
		return true, nil
	}
	return false, fn(p.opt.Now())
}

// Lookup finds a name in a directory.
func (p *Pool) Lookup(dir Ino, name string) (Attr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(name) > MaxName {
		return Attr{}, fmt.Errorf("name of %d bytes, at most %d: %w", len(name), MaxName, ErrNameTooLong)
	}
	e, err := p.find(dir, name)
	if err != nil {
		return Attr{}, err
	}
	n, err := p.inode(e.ino)
	if err != nil {
		return Attr{}, err
	}
	return p.attr(e.ino, n), nil
}

// GetAttr is stat(2).
func (p *Pool) GetAttr(ino Ino) (Attr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.inode(ino)
	if err != nil {
		return Attr{}, err
	}
	return p.attr(ino, n), nil
}

// Path is the path of an inode from the mount's root, for messages.
func (p *Pool) Path(ino Ino) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pathOf(ino)
}

// Parent is the directory that holds ino.
func (p *Pool) Parent(ino Ino) (Ino, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ino == RootIno {
		return RootIno, nil
	}
	n, err := p.inode(ino)
	if err != nil {
		return 0, err
	}
	return n.parent, nil
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
	err := p.change(func(now time.Time) error {
		n, err := p.inode(ino)
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
		if v := p.vols[ino]; v != nil && (s.Size != nil || s.Mtime != nil) {
			v.mtime = time.Time{}
		}
		if s.Atime != nil {
			n.atime, n.atimeSet = *s.Atime, true
		}
		if s.Immutable != nil {
			n.immutable = *s.Immutable
		}
		if err := p.putInode(ino, n); err != nil {
			return err
		}
		out = p.attr(ino, n)
		return nil
	})
	return out, err
}

// admitName tells why a name cannot be made in a directory, for an inode that takes words. The plan lock is held.
func (p *Pool) admitName(dir Ino, name string, words int64) (*inode, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	d, err := p.directory(dir)
	if err != nil {
		return nil, err
	}
	if _, err := p.find(dir, name); err == nil {
		return nil, fmt.Errorf("%s: %w", join(p.pathOf(dir), name), ErrExist)
	} else if !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	if err := p.roomForName(dir, name, words); err != nil {
		return nil, err
	}
	return d, p.fits(dir, name)
}

// make adds an inode under a name. The plan lock is held.
func (p *Pool) make(r Req, dir Ino, name string, n *inode, now time.Time) (Ino, error) {
	d, err := p.admitName(dir, name, n.words())
	if err != nil {
		return 0, err
	}
	p.nextIno++
	ino := p.nextIno
	n.uid, n.gid, n.parent, n.name = r.UID, r.GID, dir, name
	n.mtime, n.ctime, n.btime = now, now, now
	if d.mode&0o2000 != 0 { // set-group-id directories hand their group on
		n.gid = d.gid
	}
	if err := p.putInode(ino, n); err != nil {
		return 0, err
	}
	if err := p.setName(dir, name, ino, n.typ); err != nil {
		return 0, err
	}
	return ino, p.updateDir(dir, d, 1, dirCount(n.typ), now)
}

func dirCount(t FileType) int64 {
	if t == TypeDir {
		return 1
	}
	return 0
}

func (p *Pool) updateDir(dir Ino, d *inode, entries, dirs int64, now time.Time) error {
	d.entries += uint64(entries)
	d.dirs += uint64(dirs)
	d.mtime, d.ctime = now, now
	return p.putInode(dir, d)
}

func (p *Pool) directory(dir Ino) (*inode, error) {
	d, err := p.inode(dir)
	if err == nil {
		err = p.notGoing(dir)
	}
	if err != nil {
		return nil, err
	}
	if d.typ != TypeDir {
		return nil, fmt.Errorf("%s: %w", p.pathOf(dir), ErrNotDir)
	}
	return d, nil
}

// Mkdir makes a directory.
func (p *Pool) Mkdir(r Req, dir Ino, name string, mode uint32) (Attr, error) {
	return p.makeAttr(r, dir, name, &inode{typ: TypeDir, mode: mode & 0o7777}, nil)
}

// Create makes an empty volume. Its refreservation is what the directory says.
func (p *Pool) Create(r Req, dir Ino, name string, mode uint32) (Attr, error) {
	return p.makeAttr(r, dir, name, &inode{typ: TypeFile, mode: mode & 0o7777}, func(ino Ino, now time.Time) error {
		if err := p.do(&recHead{vol: ino, when: now}); err != nil {
			return err
		}
		return p.takeDefault(dir, ino)
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
	return p.makeAttr(r, dir, name, n, func(ino Ino, _ time.Time) error {
		return p.putLong(catalog.Key(catalog.Link, uint64(ino)), []byte(target))
	})
}

func (p *Pool) putLong(k meta.Key, v []byte) error {
	for _, r := range catalog.Parts(k, v) {
		if err := p.do(&recPut{key: r.Key, val: r.Val}); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pool) makeAttr(r Req, dir Ino, name string, n *inode, more func(Ino, time.Time) error) (Attr, error) {
	var out Attr
	err := p.grow(func(now time.Time) error {
		ino, err := p.make(r, dir, name, n, now)
		if err == nil && more != nil {
			err = more(ino, now)
		}
		if err == nil {
			out = p.attr(ino, n)
			err = p.answer(r, ino)
		}
		return err
	})
	return out, err
}

// answer remembers what a FUSE request did, so that it is not done again if it is sent again.
func (p *Pool) answer(r Req, ino Ino) error {
	if r.Unique == 0 {
		return nil
	}
	return p.do(&recAnswer{unique: r.Unique, ino: ino})
}

// Readlink is the target of a symlink. Errors: ErrInvalid, ErrGone.
func (p *Pool) Readlink(ino Ino) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok, err := p.cat.Long(catalog.Key(catalog.Link, uint64(ino)))
	if err == nil && !ok {
		if _, err = p.inode(ino); err == nil {
			err = ErrInvalid
		}
	}
	if err != nil {
		return "", fmt.Errorf("symlink %d: %w", ino, wrapCorrupt(err))
	}
	return string(v), nil
}
