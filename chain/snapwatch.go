package chain

// SnapChange says that names in a directory's .snap do not mean any more what they meant: FILE@SNAP, which named the snapshot
// Layer, or with no Snap those of all snapshots that the volume Vol has. Dir is 0 for a snapshot of a volume that has no name.
type SnapChange struct {
	Dir        Ino
	File, Snap string
	Layer      LayerID
	Vol        Ino
}

// SnapWatch is who is told what becomes of snapshots. He may have copies of what they show (the kernel has, in its page cache): what
// is freed from then on is erased when he says that he has given them up. Until then it is as if a plan were open.
//
// However much he is told, no more than two epochs are pinned: one since he took last, and one by what he took then.
type SnapWatch struct {
	tree  *layerTree // nil: nobody listens
	tell  func(SnapChange) (later bool)
	since *epoch // that is pinned by what he was told and has not taken; nil: none
}

// OnSnapChange installs what is told when snapshots lose or change their names, and when a volume that has some moves or
// changes its owner or mode; nil takes it back. It is called with the plan lock held: it must be quick, and must not call the pool.
// later says that it has something to give up for that: see Taken. The watch that is returned is the pool's, and its only one.
func (p *Pool) OnSnapChange(tell func(c SnapChange) (later bool)) *SnapWatch {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.tree.snaps.watch
	w.tree, w.tell = p.tree, tell
	if tell == nil {
		w.unpin(w.since)
		w.since = nil
	}
	return w
}

// told tells of a change. The plan lock is held.
func (w *SnapWatch) told(c SnapChange) {
	if w.tell != nil && w.tell(c) && w.since == nil {
		w.since = w.tree.plans.epochs.pin(0)
	}
}

// Taken is called before what was told later is looked at, and what it returns when all of that is given up: then it may be
// erased. It must be called, once, unless the pool ends, and not with a lock held that tell takes.
func (w *SnapWatch) Taken() (givenUp func()) {
	w.tree.mu.Lock()
	defer w.tree.mu.Unlock()
	at := w.since
	w.since = nil
	return func() {
		w.tree.mu.Lock()
		defer w.tree.mu.Unlock()
		w.unpin(at)
	}
}

// Layers is the highest number that a snapshot of the pool ever had.
func (w *SnapWatch) Layers() LayerID {
	w.tree.mu.Lock()
	defer w.tree.mu.Unlock()
	return w.tree.nextLayer
}

// unpin gives back an epoch, if there is one, and wakes who waits for plans to end. The plan lock is held.
func (w *SnapWatch) unpin(at *epoch) {
	if at == nil {
		return
	}
	at.unpin(0)
	w.tree.plans.planEnded()
	w.tree.signal(w.tree.ready)
}
