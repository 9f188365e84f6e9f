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
	err := p.change(func(now time.Time) error {
		from, err := p.find(dir, name)
		if err != nil {
			return err
		}
		if from.typ == TypeDir {
			if err := p.notBelow(newDir, from.ino); err != nil {
				return err
			}
		}
		to, err := p.find(newDir, newName)
		switch {
		case err != nil && f&RenameExchange != 0:
			return err
		case err != nil:
			if err := p.fits(newDir, newName); err != nil {
				return err
			}
		case f&RenameNoReplace != 0:
			return fmt.Errorf("%s: %w", p.pathOf(to.ino), ErrExist)
		case to.ino == from.ino:
			return nil
		case f&RenameExchange != 0:
			return p.exchange(dir, from, newDir, to, now)
		}
		if err := p.admitMove(dir, from, newDir, newName, to); err != nil {
			return err
		}
		if to.ino != 0 {
			if err := p.replace(r, from, newDir, to, now); err != nil {
				return err
			}
		}
		if err := p.move(dir, from, newDir, newName, now); err != nil {
			return err
		}
		return p.answer(r, from.ino)
	})
	if err != nil {
		return err
	}
	return p.reapAll() // of what was replaced
}

// admitMove refuses a rename into a directory whose quota or whose promises have no room for what is moved. What it
// replaces makes room.
func (p *Pool) admitMove(dir Ino, from nameEntry, newDir Ino, newName string, to nameEntry) error {
	a, up := p.account(from.ino), p.account(newDir)
	if up == nil || dir == newDir {
		return nil // move refuses what is no directory
	}
	if a == nil {
		return p.admitLink(from.ino, up)
	}
	what := fmt.Sprintf("rename %s to %s", p.pathOf(from.ino), join(p.pathOf(newDir), newName))
	t := p.moving(what, a, up)
	if gone := p.account(to.ino); gone != nil && !gone.Dir() && gone.Up() != nil {
		t.frees = gone.Numbers().Held
		t.Before = func() {
			p.ledger.End(gone)
			p.ledger.Own(gone, -t.frees, false)
		}
	}
	return p.try(t).Err
}

// admitLink is admitMove for a symlink, which only has words.
func (p *Pool) admitLink(ino Ino, up *ledger.Account) error {
	n, err := p.inode(ino)
	if err != nil {
		return err
	}
	return p.roomForWords(up, n.words())
}

// notBelow refuses to move a directory into itself.
func (p *Pool) notBelow(dir, top Ino) error {
	for at := dir; at != RootIno && at != 0; {
		if at == top {
			return fmt.Errorf("%s cannot be moved below itself: %w", p.pathOf(top), ErrInvalid)
		}
		n, err := p.inode(at)
		if err != nil {
			return err
		}
		at = n.parent
	}
	return nil
}

// replace removes what stands in the way of a rename.
func (p *Pool) replace(r Req, from nameEntry, newDir Ino, to nameEntry, now time.Time) error {
	switch {
	case to.typ == TypeDir && from.typ != TypeDir:
		return fmt.Errorf("%s: %w", p.pathOf(to.ino), ErrIsDir)
	case to.typ != TypeDir && from.typ == TypeDir:
		return fmt.Errorf("%s: %w", p.pathOf(to.ino), ErrNotDir)
	case to.typ == TypeDir:
		if err := p.emptyDir(to.ino); err != nil {
			return err
		}
	}
	return p.unlink(r, newDir, to, now)
}

// move changes the two directories and the inode.
func (p *Pool) move(dir Ino, e nameEntry, newDir Ino, newName string, now time.Time) error {
	d, err := p.directory(dir)
	if err != nil {
		return err
	}
	if _, err := p.directory(newDir); err != nil {
		return err
	}
	n, err := p.inode(e.ino)
	if err != nil {
		return err
	}
	if err := p.setName(dir, e.name, 0, 0); err != nil {
		return err
	}
	if err := p.updateDir(dir, d, -1, -dirCount(e.typ), now); err != nil {
		return err
	}
	n.parent, n.name, n.ctime = newDir, newName, now
	if err := p.putInode(e.ino, n); err != nil {
		return err
	}
	if err := p.setName(newDir, newName, e.ino, e.typ); err != nil {
		return err
	}
	p.policies++
	nd, err := p.directory(newDir) // it may be dir, as it is now
	if err != nil {
		return err
	}
	return p.updateDir(newDir, nd, 1, dirCount(e.typ), now)
}

// admitExchange is admitMove for two at once.
func (p *Pool) admitExchange(dir Ino, a nameEntry, newDir Ino, b nameEntry) error {
	x, y, here, there := p.account(a.ino), p.account(b.ino), p.account(dir), p.account(newDir)
	m, err := p.inode(a.ino)
	if err != nil {
		return err
	}
	n, err := p.inode(b.ino)
	if err != nil {
		return err
	}
	swap := func(a *ledger.Account, n *inode, from, to *ledger.Account) {
		switch {
		case a != nil:
			p.ledger.Move(a, to)
		case from != nil && to != nil: // a symlink
			p.ledger.AddWords(from, -n.words())
			p.ledger.AddWords(to, n.words())
		}
	}
	return p.try(trial{
		what:   fmt.Sprintf("exchange %s and %s", p.pathOf(a.ino), p.pathOf(b.ino)),
		Change: ledger.Change{Do: func() { swap(x, m, here, there); swap(y, n, there, here) }},
	}).Err
}

// exchange swaps two names.
func (p *Pool) exchange(dir Ino, a nameEntry, newDir Ino, b nameEntry, now time.Time) error {
	if b.typ == TypeDir {
		if err := p.notBelow(dir, b.ino); err != nil {
			return err
		}
	}
	if err := p.admitExchange(dir, a, newDir, b); err != nil {
		return err
	}
	for _, s := range []struct {
		from, dir Ino
		name      string
		e         nameEntry
	}{{newDir, dir, a.name, b}, {dir, newDir, b.name, a}} {
		n, err := p.inode(s.e.ino)
		if err != nil {
			return err
		}
		n.parent, n.name, n.ctime = s.dir, s.name, now
		if err := p.putInode(s.e.ino, n); err != nil {
			return err
		}
		if err := p.setName(s.dir, s.name, s.e.ino, s.e.typ); err != nil {
			return err
		}
	}
	change := dirCount(b.typ) - dirCount(a.typ)
	for _, s := range []struct {
		dir  Ino
		dirs int64
	}{{dir, change}, {newDir, -change}} {
		d, err := p.directory(s.dir)
		if err != nil {
			return err
		}
		if err := p.updateDir(s.dir, d, 0, s.dirs, now); err != nil {
			return err
		}
	}
	return nil
}
