package chain

import (
	"context"
	"fmt"
	"time"

	"slatefs/chain/ledger"
)

// DestroyOptions say what goes with what is destroyed.
type DestroyOptions struct {
	Snapshots bool // -r: a volume with its snapshots
	Clones    bool // -R: clones too, with all that they have
	Defer     bool // -d: clones live on, layers that they need stay nameless
	Now       bool // nothing is kept, whatever destroy_delay says
}

// Snapshot freezes the heads of volumes under a name, all at one instant. Writers go on: what they were writing when
// it was called may be in it or not, what was acknowledged before is. It is durable when it returns.
//
// The instant is one record, which comes before every record of a new head (freeze). Writes in place that were planned before
// are waited for, since they go to the snapshot; then one commit makes their data and the record durable.
func (p *Pool) Snapshot(r Req, vols []Ino, name string) error {
	if err := CheckSnapName(name); err != nil {
		return err
	}
	for _, ino := range vols {
		p.measureDepth(ino)
	}
	older, err := p.freezeHeads(r, vols, name)
	if err != nil {
		return err
	}
	p.plans.settlePlans(older)
	return p.Flush()
}

// freezeHeads switches the heads and returns what ends the plans that are older than the switch.
func (p *Pool) freezeHeads(r Req, vols []Ino, name string) (older []<-chan struct{}, err error) {
	got, err := p.commits.getRoom(context.Background(), credit{bytes: freezeBytes(len(vols))})
	if err != nil {
		return nil, fmt.Errorf("snapshot of %d volumes at one instant: %w", len(vols), err)
	}
	p.structure.Lock()
	defer p.structure.Unlock()
	f, err := p.prepareFreeze(vols, name)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.commits.giveBack(got, 0)
		return nil, err
	}
	if err := f.instant(&recFreeze{vols: vols, name: name, who: r.who(), list: volumeList(vols), later: f.later}, got); err != nil {
		f.ahead.takeBack()
		return nil, err
	}
	p.tree.switchRest(vols)
	for _, ino := range vols {
		older = append(older, p.volumes.older(ino, f.later.freeze)...)
	}
	return older, nil
}

// freezeBytes bounds the record that freezes so many volumes.
func freezeBytes(vols int) int64 { return changeBytes + 10*int64(vols) }

// freezeOne gives a volume a new head above a nameless layer, which it returns. The plan lock is held, and the structure lock.
func (p *Pool) freezeOne(r Req, ino Ino) (*layer, Need, error) {
	v, err := p.volumes.volume(ino)
	if err == nil {
		err = p.admitDepth(v)
	}
	if err != nil {
		return nil, Need{}, err
	}
	need, err := p.space.admitted(p.space.tryFreeze("clone "+p.names.pathOf(ino), v.account))
	if err != nil || !need.None() {
		return nil, need, err
	}
	if err := p.commits.do(&recFreeze{vols: []Ino{ino}, when: p.opt.Now(), who: r.who()}); err != nil {
		return nil, Need{}, err
	}
	p.poke()
	return v.head().parent, Need{}, nil
}

// admitDepth bounds the line of history, by what is known of its length.
func (p *Pool) admitDepth(v *Volume) error {
	if h := v.head(); h.depth > MaxLayers {
		return fmt.Errorf("%s: %d layers, at most %d: %w", p.names.pathOf(v.ino), h.depth, MaxLayers, ErrTooBig)
	}
	return nil
}

// measureDepth counts the layers of a volume's line of history where there may be too many: what was merged since is in the
// number still. It does so in pieces, and what is merged meanwhile it may count.
func (p *Pool) measureDepth(ino Ino) {
	var head, at *layer // at is counted next
	n := 0
	for more := true; more; {
		more = func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			h := p.tree.head(ino)
			if h == nil || h.depth <= MaxLayers {
				return false
			}
			if h != head {
				head, at, n = h, h, 0
			}
			if at.heir != nil { // merged into a child of it, which was counted
				at = at.now().parent
			}
			for i := 0; at != nil && i < pieceLen; i++ {
				p.mu.step(1)
				n, at = n+1, at.parent
			}
			if at == nil {
				h.depth = n
			}
			return at != nil
		}()
	}
}

// Rollback makes a volume what a snapshot shows. What was written since is freed. ErrBusy: it is open for writing, and
// not forced. Later snapshots stay, as another branch.
func (p *Pool) Rollback(r Req, ino Ino, name string, force bool) error {
	var older []<-chan struct{}
	err := p.works.change(func(now time.Time) error {
		v, snap, f := p.admitRollback(ino, name, force)
		if f.Err != nil {
			return f.Err
		}
		if p.names.warm(ino); p.commits.missed() { // before anything changes
			return errMissed
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
		return p.commits.do(&recRollback{ino, snap.id, now, r.who()})
	})
	if err != nil {
		return err
	}
	p.plans.settlePlans(older)
	if err := p.removal.reapAll(); err != nil {
		return err
	}
	return p.Flush()
}

// admitRollback finds out whether a volume may be rolled back.
func (p *Pool) admitRollback(ino Ino, name string, force bool) (v *Volume, snap *layer, f Forecast) {
	v, err := p.volumes.volume(ino)
	if err == nil {
		snap, err = p.tree.snapshot(ino, name)
	}
	if err == nil && v.writers > 0 && !force {
		err = &BusyError{p.names.pathOf(ino), v.readers, v.writers}
	}
	if err != nil {
		return nil, nil, Forecast{Err: err}
	}
	return v, snap, p.space.tryRollback(v, snap)
}

// Clone makes a new volume of a snapshot, or of a volume as it is now (snap ""). No byte is copied.
func (p *Pool) Clone(r Req, ino Ino, snap string, dir Ino, name string) (Attr, error) {
	if snap == "" {
		p.measureDepth(ino)
	}
	var out Attr
	var frozen uint64 // the freeze of it
	err := p.works.grow(func(now time.Time) (Need, error) {
		from, err := p.names.inode(ino)
		if err != nil {
			return Need{}, err
		}
		d, need, err := p.namespace.admitName(dir, name, ledger.NameWords) // before anything changes
		if err != nil || !need.None() {
			return need, err
		}
		var l *layer
		if snap != "" {
			l, err = p.tree.snapshot(ino, snap)
		} else if l, need, err = p.freezeOne(r, ino); err == nil && need.None() {
			frozen = p.plans.frozen
		}
		if err != nil || !need.None() {
			return need, err
		}
		n := &inode{typ: TypeFile, mode: from.mode}
		to, err := p.namespace.make(r, dir, d, name, n, now)
		if err != nil {
			return Need{}, err
		}
		if err := p.commits.do(&recHead{vol: to, parent: l.id, size: l.size, when: now}); err != nil {
			return Need{}, err
		}
		out = p.volumes.attr(to, n)
		return Need{}, nil
	})
	if err != nil {
		return Attr{}, err
	}
	p.plans.settlePlans(p.volumes.older(ino, frozen))
	return out, p.Flush()
}

// RenameSnapshot gives a snapshot another name.
func (p *Pool) RenameSnapshot(_ Req, ino Ino, old, name string) error {
	if err := CheckSnapName(name); err != nil {
		return err
	}
	err := p.works.change(func(time.Time) error {
		l, err := p.tree.snapshot(ino, old)
		if err != nil {
			return err
		}
		if _, err := p.tree.snapshot(ino, name); err == nil {
			return fmt.Errorf("%s@%s: %w", p.names.pathOf(ino), name, ErrExist)
		}
		return p.commits.do(&recRename{l.id, name})
	})
	if err != nil {
		return err
	}
	return p.Flush()
}
