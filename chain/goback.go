package chain

import (
	"slices"
	"time"
)

// rollbacksAtOnce bounds the volumes that one batch rolls back, renamesAtOnce the snapshots that one renames.
const (
	rollbacksAtOnce = 4
	renamesAtOnce   = 8
)

// admitRollback finds out whether a volume may be rolled back.
func (vs *openVolumes) admitRollback(ino Ino, name string, force bool) (v *Volume, snap *layer, f Forecast) {
	v, err := vs.volume(ino)
	if err == nil {
		snap, err = vs.tree.snapshot(ino, name)
	}
	if err == nil && v.writers > 0 && !force {
		err = &BusyError{vs.names.pathOf(ino), v.readers, v.writers}
	}
	if err != nil {
		return nil, nil, Forecast{Err: err}
	}
	return v, snap, vs.space.tryRollback(v, snap)
}

// rollback gives volumes new heads on their snapshots, in one batch. It returns what ends the plans from before. The plan lock is
// held, and the structure lock.
func (vs *openVolumes) rollback(vols []Ino, name string, force bool, who string, now time.Time) (older []<-chan struct{}, err error) {
	for _, ino := range vols { // before anything changes; each is admitted after the one before has what it needs
		vs.names.warm(ino)
		if _, _, f := vs.admitRollback(ino, name, force); f.Err != nil {
			return nil, f.Err
		}
	}
	if vs.commits.missed() {
		return nil, errMissed
	}
	for _, ino := range vols {
		v, snap, f := vs.admitRollback(ino, name, force)
		if f.Err != nil {
			return nil, f.Err
		}
		for _, pl := range v.active {
			if pl.done == nil {
				pl.done = make(chan struct{})
			}
			older = append(older, pl.done)
		}
		v.rollbacks++
		v.beside = true
		v.wrote(now)
		if err := vs.commits.do(&recRollback{ino, snap.id, now, who}); err != nil {
			return nil, err
		}
	}
	return older, nil
}

// renameSnaps gives a snapshot of each volume another name, in one batch, or none of them. The plan lock is held, and the structure lock.
func (vs *openVolumes) renameSnaps(vols []Ino, old, name string) error {
	var todo []LayerID
	for _, ino := range vols { // before anything changes
		if err := vs.tree.admitRename(ino, old, name); err != nil {
			return err
		}
		if id := vs.tree.named(ino, old).id; !slices.Contains(todo, id) {
			todo = append(todo, id)
		}
	}
	if vs.commits.missed() {
		return errMissed
	}
	for _, id := range todo {
		if err := vs.commits.do(&recRename{id, name}); err != nil {
			return err
		}
	}
	return nil
}
