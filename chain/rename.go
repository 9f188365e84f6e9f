package chain

import (
	"fmt"
	"time"

	"slatefs/chain/ledger"
)

// RenameFlag is renameat2(2)'s.
type RenameFlag uint8

// The flags; 0 replaces what the new name names.
const (
	RenameNoReplace RenameFlag = 1 << iota
	RenameExchange
)

// Rename gives an inode another name, in the same or another directory. What had the new name is unlinked.
func (p *Pool) Rename(r Req, dir Ino, name string, newDir Ino, newName string, f RenameFlag) error {
	if err := checkName(newName); err != nil {
		return err
	}
	err := p.works.change(func(now time.Time) error {
		if _, err := p.names.directory(newDir); err != nil { // a file that moves below itself would be asked for its own space for ever
			return err
		}
		from, err := p.names.find(dir, name)
		if err != nil {
			return err
		}
		if from.typ == TypeDir {
			if err := p.namespace.notBelow(newDir, from.ino); err != nil {
				return err
			}
		}
		to, err := p.names.find(newDir, newName)
		if to.ino != 0 { // it changes before the others are looked up
			p.names.look(dir, newDir, from.ino)
		}
		switch {
		case err != nil && f&RenameExchange != 0:
			return err
		case err != nil:
			if err := p.names.fits(newDir, newName); err != nil {
				return err
			}
		case f&RenameNoReplace != 0:
			return fmt.Errorf("%s: %w", p.names.pathOf(to.ino), ErrExist)
		case to.ino == from.ino:
			return nil
		case f&RenameExchange != 0:
			if err := p.namespace.exchange(dir, from, newDir, to, now); err != nil {
				return err
			}
			return p.namespace.answer(r, from.ino)
		}
		if err := p.namespace.admitMove(dir, from, newDir, newName, to); err != nil {
			return err
		}
		if to.ino != 0 {
			if err := p.namespace.replace(r, from, newDir, to, now); err != nil {
				return err
			}
		}
		if err := p.namespace.move(dir, from, newDir, newName, now); err != nil {
			return err
		}
		return p.namespace.answer(r, from.ino)
	})
	if err != nil {
		return err
	}
	return p.removal.reapAll() // of what was replaced
}

// admitMove refuses a rename into a directory whose quota or whose promises have no room for what is moved. What it
// replaces makes room.
func (na *namespaces) admitMove(dir Ino, from nameEntry, newDir Ino, newName string, to nameEntry) error {
	a, up := na.space.account(from.ino), na.space.account(newDir)
	if up == nil || dir == newDir {
		return nil
	}
	if a == nil {
		return na.admitLink(from.ino, up)
	}
	t := na.space.moving("rename", a, up)
	if gone := na.space.account(to.ino); gone != nil && !gone.Dir() && gone.Up() != nil {
		t.frees = gone.Numbers().Held
		t.Before = func() {
			na.space.ledger.End(gone)
			na.space.ledger.Own(gone, -t.frees, false)
		}
	}
	if na.space.try(t).Err == nil {
		return nil
	}
	t.what = fmt.Sprintf("rename %s to %s", na.names.pathOf(from.ino), join(na.names.pathOf(newDir), newName)) // it is told
	return na.space.try(t).Err
}

// admitLink is admitMove for a symlink, which only has words.
func (na *namespaces) admitLink(ino Ino, up *ledger.Account) error {
	n, err := na.names.inode(ino)
	if err != nil {
		return err
	}
	return na.space.roomForWords(up, n.words())
}

// notBelow refuses to move a directory into itself.
func (na *namespaces) notBelow(dir, top Ino) error {
	for at := dir; at != RootIno && at != 0; {
		if at == top {
			return fmt.Errorf("%s cannot be moved below itself: %w", na.names.pathOf(top), ErrInvalid)
		}
		n, err := na.names.inode(at)
		if err != nil {
			return err
		}
		at = n.parent
	}
	return nil
}

// replace removes what stands in the way of a rename.
func (na *namespaces) replace(r Req, from nameEntry, newDir Ino, to nameEntry, now time.Time) error {
	switch {
	case to.typ == TypeDir && from.typ != TypeDir:
		return fmt.Errorf("%s: %w", na.names.pathOf(to.ino), ErrIsDir)
	case to.typ != TypeDir && from.typ == TypeDir:
		return fmt.Errorf("%s: %w", na.names.pathOf(to.ino), ErrNotDir)
	case to.typ == TypeDir:
		if err := na.emptyDir(to.ino); err != nil {
			return err
		}
	}
	return na.removal.unlink(r, newDir, to, now)
}

// move changes the two directories and the inode.
func (na *namespaces) move(dir Ino, e nameEntry, newDir Ino, newName string, now time.Time) error {
	d, err := na.names.directory(dir)
	if err != nil {
		return err
	}
	if _, err := na.names.directory(newDir); err != nil {
		return err
	}
	n, err := na.names.inode(e.ino)
	if err != nil {
		return err
	}
	if err := na.names.setName(dir, e.name, 0, 0); err != nil {
		return err
	}
	if err := na.names.updateDir(dir, d, -1, -dirCount(e.typ), now); err != nil {
		return err
	}
	n.parent, n.name, n.ctime = newDir, newName, now
	if err := na.names.putInode(e.ino, n); err != nil {
		return err
	}
	if err := na.names.setName(newDir, newName, e.ino, e.typ); err != nil {
		return err
	}
	na.names.policies++
	nd, err := na.names.directory(newDir) // it may be dir, as it is now
	if err != nil {
		return err
	}
	return na.names.updateDir(newDir, nd, 1, dirCount(e.typ), now)
}

// admitExchange is admitMove for two at once.
func (na *namespaces) admitExchange(dir Ino, a nameEntry, newDir Ino, b nameEntry) error {
	x, y, here, there := na.space.account(a.ino), na.space.account(b.ino), na.space.account(dir), na.space.account(newDir)
	m, err := na.names.inode(a.ino)
	if err != nil {
		return err
	}
	n, err := na.names.inode(b.ino)
	if err != nil {
		return err
	}
	swap := func(a *ledger.Account, n *inode, from, to *ledger.Account) {
		switch {
		case a != nil:
			na.space.ledger.Move(a, to)
		case from != nil && to != nil: // a symlink
			na.space.ledger.AddWords(from, -n.words())
			na.space.ledger.AddWords(to, n.words())
		}
	}
	return na.space.try(trial{
		what:   fmt.Sprintf("exchange %s and %s", na.names.pathOf(a.ino), na.names.pathOf(b.ino)),
		Change: ledger.Change{Do: func() { swap(x, m, here, there); swap(y, n, there, here) }},
	}).Err
}

// exchange swaps two names.
func (na *namespaces) exchange(dir Ino, a nameEntry, newDir Ino, b nameEntry, now time.Time) error {
	if b.typ == TypeDir {
		if err := na.notBelow(dir, b.ino); err != nil {
			return err
		}
	}
	if err := na.admitExchange(dir, a, newDir, b); err != nil {
		return err
	}
	for _, s := range []struct {
		from, dir Ino
		name      string
		e         nameEntry
	}{{newDir, dir, a.name, b}, {dir, newDir, b.name, a}} {
		n, err := na.names.inode(s.e.ino)
		if err != nil {
			return err
		}
		n.parent, n.name, n.ctime = s.dir, s.name, now
		if err := na.names.putInode(s.e.ino, n); err != nil {
			return err
		}
		if err := na.names.setName(s.dir, s.name, s.e.ino, s.e.typ); err != nil {
			return err
		}
	}
	change := dirCount(b.typ) - dirCount(a.typ)
	for _, s := range []struct {
		dir  Ino
		dirs int64
	}{{dir, change}, {newDir, -change}} {
		d, err := na.names.directory(s.dir)
		if err != nil {
			return err
		}
		if err := na.names.updateDir(s.dir, d, 0, s.dirs, now); err != nil {
			return err
		}
	}
	return nil
}
