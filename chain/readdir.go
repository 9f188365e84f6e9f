package chain

import (
	"time"

	"slatefs/chain/catalog"
)

// DirEntry is one name in a directory. Cookie is stable and below 1<<62: ReadDir goes on after it.
type DirEntry struct {
	Name   string
	Ino    Ino // in a directory of snapshots: the layer's number
	Type   FileType
	Cookie uint64
}

// ReadDir calls fn for the entries after a cookie (0: from the start) until it returns false, without . and .. It takes the
// plan lock for a piece at a time, and not while fn runs: what is there all the time is listed once, what comes or goes
// meanwhile may be or not.
func (p *Pool) ReadDir(dir Ino, after uint64, fn func(DirEntry) bool) error {
	for {
		var piece []DirEntry
		var next uint64
		var more bool
		err := p.commits.underPlan(func() (err error) {
			piece, next, more, err = p.names.entriesAfter(dir, after)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range piece {
			if !fn(e) {
				return nil
			}
		}
		if !more {
			return nil
		}
		after = next
	}
}

// SnapLookup finds FILE@NAME in a directory's .snap.
func (p *Pool) SnapLookup(dir Ino, name string) (a Attr, id LayerID, err error) {
	a, err = lookUp(p.commits, func() (a Attr, err error) {
		a, id, err = p.volumes.snapLookup(dir, name)
		return a, err
	})
	return a, id, err
}

// SnapAttr is stat(2) of a snapshot. Ino is its volume's.
func (p *Pool) SnapAttr(id LayerID) (Attr, error) {
	return lookUp(p.commits, func() (Attr, error) { return p.volumes.snapAttr(id) })
}

// OpenSnap keeps a snapshot readable until ReleaseSnap: a destroy of it waits. It is listed from its instant on, while writes in place
// that were planned before may still arrive in it. Those are waited for: from here on it never changes, and what is read of
// it may be kept.
func (p *Pool) OpenSnap(id LayerID) error {
	l, err := p.volumes.holdSnap(id)
	if err == nil && l.vol != 0 {
		p.plans.settlePlans(p.volumes.older(l.vol, l.frozen))
	}
	return err
}

// ReleaseSnap is the end of OpenSnap. A snapshot that was destroyed meanwhile goes with its last user.
func (p *Pool) ReleaseSnap(id LayerID) {
	if p.opt.ReadOnly { // nothing is destroyed
		p.mu.Lock()
		defer p.mu.Unlock()
		if l := p.tree.layers[id]; l != nil && l.held > 0 {
			l.held--
			p.tree.noteOpen(l)
		}
		return
	}
	err := p.works.change(func(time.Time) error {
		l := p.tree.layers[id]
		if l == nil || l.held == 0 {
			return nil
		}
		if l.held--; l.held == 0 && p.tree.counted(l) {
			p.tree.recount(l)
		}
		p.tree.noteOpen(l)
		p.tree.mayGo(l)
		return nil
	})
	if err == nil {
		err = p.removal.reapAll()
	}
	if err != nil {
		p.log.Warn("a destroyed snapshot stays until the next mount", "pool", p.name, "layer", id, "error", err)
	}
}

// OpenFile counts an open file by access mode, so that a destroy knows who is there. ErrBusy is for callers to give.
// ErrReadOnly: the pool was opened for reading.
func (p *Pool) OpenFile(ino Ino, write bool) error {
	return p.commits.underPlan(func() error {
		if write && p.opt.ReadOnly {
			return p.writable()
		}
		v, err := p.volumes.volume(ino)
		if err != nil {
			return err
		}
		if write {
			v.writers++
		} else {
			v.readers++
		}
		return nil
	})
}

// ReleaseFile is the end of OpenFile with the same mode.
func (p *Pool) ReleaseFile(ino Ino, write bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.plans.vols[ino]
	switch {
	case v == nil:
	case write:
		v.writers--
	default:
		v.readers--
	}
}

// Forget destroys an orphan that nobody uses any more. The kernel has no reference to the inode.
func (p *Pool) Forget(ino Ino) {
	if p.opt.ReadOnly {
		return // the next mount for writing does it
	}
	orphan, err := lookUp(p.commits, func() (bool, error) {
		_, orphan, err := p.names.cat.Get(catalog.Key(catalog.Orphan, uint64(ino)))
		return orphan, err
	})
	if err != nil || !orphan {
		return
	}
	err = p.works.change(func(now time.Time) error {
		if v := p.plans.vols[ino]; v != nil && v.readers+v.writers > 0 {
			return nil
		}
		return p.removal.eraseOrphan(ino, now)
	})
	if err == nil {
		err = p.removal.reapAll()
	}
	if err != nil {
		p.log.Warn("an unlinked file stays until the next mount", "pool", p.name, "inode", ino, "error", err)
	}
}
