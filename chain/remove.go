package chain

import (
	"fmt"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/ledger"
)

// Unlink removes a file or symlink. A volume goes with its snapshots, its clones live on; one that is open goes when
// it is forgotten.
func (p *Pool) Unlink(r Req, dir Ino, name string) error {
	err := p.works.change(func(now time.Time) error {
		e, err := p.names.find(dir, name)
		if err != nil {
			return err
		}
		if e.typ == TypeDir {
			return fmt.Errorf("%s: %w", p.names.pathOf(e.ino), ErrIsDir)
		}
		if err := p.removal.unlink(r, dir, e, now); err != nil {
			return err
		}
		return p.namespace.answer(r, e.ino)
	})
	if err != nil {
		return err
	}
	return p.removal.reapAll()
}

// Undo is Unlink of what the caller has just made and could not complete: nothing of it is kept for undestroy, and the erase
// log has no record of it, unless it had blocks.
func (p *Pool) Undo(r Req, dir Ino, name string) error {
	r.purge, r.undo = true, true
	return p.Unlink(r, dir, name)
}

// unlink takes the name away and what it names with it, or makes that an orphan.
func (rm *remover) unlink(r Req, dir Ino, e nameEntry, now time.Time) error {
	d, err := rm.names.directory(dir)
	if err != nil {
		return err
	}
	n, err := rm.names.inode(e.ino)
	if err != nil {
		return err
	}
	if _, err := rm.names.names(dir, e.name); err != nil { // setName wants it, and finds it before the first record
		return err
	}
	if err := rm.tree.noneTagged(e.ino); err != nil {
		return err
	}
	v := rm.plans.vols[e.ino]
	switch at := (spot{dir, e.name, rm.names.pathOf(e.ino), r.who()}); {
	case v != nil && v.readers+v.writers > 0:
		n.parent, n.name, n.ctime = 0, "", now
		if err := rm.names.putInode(e.ino, n); err != nil {
			return err
		}
		if err := rm.putOrphan(e.ino, at); err != nil {
			return err
		}
	case e.typ == TypeFile && !r.purge && rm.delay() > 0:
		if err := rm.keepVolume(e.ino, n, at, r.who(), now); err != nil {
			return err
		}
	default:
		if err := rm.remove(r, e.ino, n, at, now); err != nil { // while its path is still known
			return err
		}
	}
	if err := rm.names.setName(dir, e.name, 0, 0); err != nil {
		return err
	}
	return rm.names.updateDir(dir, d, -1, -dirCount(e.typ), now)
}

// dropInode removes an inode with all it has, its burden, which is light.
func (rm *remover) dropInode(r Req, ino Ino, n *inode, b *burden, now time.Time) error {
	if n.typ == TypeFile {
		if err := rm.dropKept(b.kept); err != nil { // snapshots of it that are kept go with it
			return err
		}
		if err := rm.dropLayers(r, ino, n, b, now); err != nil {
			return err
		}
		if v := rm.plans.vols[ino]; v != nil {
			rm.plans.leave(v)
		}
	}
	if n.typ == TypeDir {
		if err := rm.rehome(ino, n.parent, b.orphans); err != nil {
			return err
		}
		if err := rm.names.leavePlace(ino, n.parent); err != nil {
			return err
		}
	}
	if err := rm.commits.do(&recPut{key: catalog.Key(catalog.Inode, uint64(ino)), was: n.row}); err != nil { // its account is closed with it
		return err
	}
	return rm.dropRows(append(b.xattrs, b.rows...))
}

// dropLayers takes all layers of a volume away, or those that it has still.
func (rm *remover) dropLayers(r Req, ino Ino, n *inode, b *burden, now time.Time) error {
	if rm.tree.jobs.growing[ino] != nil {
		return rm.shed(r, ino, n, b.layers, now)
	}
	if err := rm.noteEnded(r, ino, n, now); err != nil {
		return err
	}
	var held []LayerID
	for _, l := range b.held {
		held = append(held, l.id)
	}
	return rm.commits.do(&recDestroy{vol: ino, held: held, dir: Ino(rm.space.account(ino).Up().ID()), when: now, who: r.who()})
}

// noteEnded notes where a volume was, and whose, that is about to lose its head: if bytes of it may be on the device.
func (rm *remover) noteEnded(r Req, ino Ino, n *inode, now time.Time) error {
	h := rm.tree.head(ino)
	late := rm.plans.inFlight(ino) > 0
	left := rm.tree.jobs.crashN > 0 || rm.tree.origins.nobodys > 0 // by a crash, and it may be anybody's
	if h == nil || !h.wrote && !late && !left {
		return nil
	}
	path := rm.names.pathOf(ino)
	dir := rm.names.homeOf(ino, n)
	err := rm.commits.do(&recEnded{
		vol: ino, uid: n.uid, dir: dir, path: path[max(0, len(path)-maxLogPath):], who: r.who(), when: now,
		late: late,
	})
	if err != nil {
		return err
	}
	return rm.names.markPlace(dir)
}

// putOrphan notes that an inode has no name any more and is still open: where it was, which is charged for it.
func (rm *remover) putOrphan(ino Ino, at spot) error {
	at.path = at.path[max(0, len(at.path)-maxLogPath):]
	return rm.commits.do(&recPut{key: catalog.Key(catalog.Orphan, uint64(ino)), val: at.marshal()})
}

// rehome charges what a directory is still charged for, when it is removed, to the one above: nameless layers and
// orphans.
func (rm *remover) rehome(dir, to Ino, orphans []*ledger.Account) error {
	if rm.space.account(dir).Numbers().Held > 0 {
		if err := rm.commits.do(&recHome{dir, to}); err != nil {
			return err
		}
	}
	return rm.rehomeOrphans(orphans, to)
}

// rehomeOrphans charges orphans to another directory.
func (rm *remover) rehomeOrphans(orphans []*ledger.Account, to Ino) error {
	for _, o := range orphans {
		at, _ := rm.names.lostPlace(Ino(o.ID()))
		at.dir = to
		if err := rm.putOrphan(Ino(o.ID()), at); err != nil {
			return err
		}
	}
	return nil
}

// maxWho bounds who did something, as it is kept.
const maxWho = 200

func (r Req) who() string {
	who := r.said
	switch {
	case r.undo:
		return ""
	case r.Auto:
		return whoAuto
	case who != "":
	case r.Actor != "":
		who = fmt.Sprintf("uid %d, %s", r.UID, r.Actor)
	default:
		who = fmt.Sprintf("uid %d", r.UID)
	}
	return who[:min(len(who), maxWho)]
}

// Rmdir removes an empty directory.
func (p *Pool) Rmdir(r Req, dir Ino, name string) error {
	err := p.works.change(func(now time.Time) error {
		e, err := p.names.find(dir, name)
		if err != nil {
			return err
		}
		if err := p.namespace.emptyDir(e.ino); err != nil {
			return err
		}
		if err := p.removal.unlink(r, dir, e, now); err != nil {
			return err
		}
		return p.namespace.answer(r, e.ino)
	})
	if err != nil {
		return err
	}
	return p.removal.finishGoing()
}
