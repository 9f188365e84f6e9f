package chain

import "fmt"

// The directory of snapshots, .snap: it is in every directory that has a volume with a snapshot, and has FILE@NAME for each.

// SnapDirAttr is stat(2) of the directory whose .snap that is. ErrNotFound: no volume in it has a snapshot.
func (p *Pool) SnapDirAttr(dir Ino) (Attr, error) {
	return lookUp(p.commits, func() (Attr, error) { return p.volumes.snapDirAttr(dir) })
}

// ReadSnaps calls fn for what is in a directory's .snap after a cookie (0: from the start) until it returns false: volume by
// volume in the order of their making, the snapshots of each oldest first. It takes the plan lock for a piece at a time, and
// not while fn runs: what is there all the time is listed once, what comes or goes meanwhile may be or not.
func (p *Pool) ReadSnaps(dir Ino, after uint64, fn func(DirEntry) bool) error {
	for {
		var piece []DirEntry
		var more bool
		err := p.commits.underPlan(func() (err error) {
			piece, more, err = p.tree.snapsAfter(dir, after)
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range piece {
			if !fn(e) {
				return nil
			}
			after = e.Cookie
		}
		if !more {
			return nil
		}
	}
}

// pieceLen bounds the steps of a piece: of what lists, counts or looks through something under one hold of the plan lock. A few
// steps are beside it.
const pieceLen = 48

// SnapPlace is where a snapshot is listed: FILE@NAME in the .snap of a directory. vol is its volume. ErrNotFound: nowhere.
func (p *Pool) SnapPlace(id LayerID) (dir Ino, name string, vol Ino, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.tree.layers[id]; l != nil && l.snapAt != 0 {
		if v := p.tree.snaps.vols[l.vol]; v.dir != 0 {
			return v.dir, v.file + "@" + l.name, l.vol, nil
		}
	}
	return 0, "", 0, fmt.Errorf("snapshot %v: %w", id, ErrNotFound)
}
