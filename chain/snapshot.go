package chain

import (
	"context"
	"fmt"
	"slices"
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
		p.tree.measureDepth(ino)
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
		err = p.tree.admitDepth(v.ino, v.head())
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

// Rollback makes a volume what a snapshot shows. What was written since is freed. ErrBusy: it is open for writing, and
// not forced. Later snapshots stay, as another branch.
//
// More volumes go back to their snapshots of that name. What refuses one of them (ForecastRollback) refuses all, before anything
// is done. Up to rollbacksAtOnce go back at one instant, by one batch, as the disks of a guest do; of more than these so many at a
// time, in the order given: a crash, or an error (PartError), leaves the later ones as they were.
func (p *Pool) Rollback(r Req, ino Ino, name string, force bool, more ...Ino) error {
	vols := append([]Ino{ino}, more...)
	if len(more) > 0 {
		if f := p.ForecastRollback(ino, name, force, more...); f.Err != nil {
			return f.Err
		}
	}
	done := 0
	for part := range slices.Chunk(vols, rollbacksAtOnce) {
		var older []<-chan struct{}
		err := p.works.change(func(now time.Time) (err error) {
			older, err = p.volumes.rollback(part, name, force, r.who(), now)
			return err
		})
		if err != nil {
			return inPart(done, len(vols), err, p.Flush)
		}
		p.plans.settlePlans(older)
		done += len(part)
	}
	return inPart(done, len(vols), p.removal.reapAll(), p.Flush)
}

// Clone makes a new volume of a snapshot, or of a volume as it is now (snap ""). No byte is copied.
func (p *Pool) Clone(r Req, ino Ino, snap string, dir Ino, name string) (Attr, error) {
	if snap == "" {
		p.tree.measureDepth(ino)
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

// RenameSnapshot gives a snapshot another name, and so those of more volumes that have it. What refuses one refuses all, before
// anything is done; then they are renamed in the order given, renamesAtOnce in a batch: a crash, or an error (PartError), leaves the
// later ones as they were.
func (p *Pool) RenameSnapshot(_ Req, ino Ino, old, name string, more ...Ino) error {
	if err := CheckSnapName(name); err != nil {
		return err
	}
	vols := append([]Ino{ino}, more...)
	for _, ino := range vols {
		if err := p.commits.underPlan(func() error { return p.tree.admitRename(ino, old, name) }); err != nil {
			return err
		}
	}
	var done int
	var err error
	for part := range slices.Chunk(vols, renamesAtOnce) {
		if err = p.works.change(func(time.Time) error { return p.volumes.renameSnaps(part, old, name) }); err != nil {
			break
		}
		done += len(part)
	}
	return inPart(done, len(vols), err, p.Flush)
}

// TagSnapshots gives snapshots a tag that holds them, or (on false) takes it from them, and tells how many that changed: one that
// has it keeps its time, one that has it not is passed over. While a snapshot has a tag nothing destroys it (ErrTagged). Durable
// when it returns.
//
// What refuses one refuses all, before anything is done (ErrNotFound, ErrInvalid; ErrTooBig: MaxTags). Then they are done in the order
// given, some in a batch: a crash, or an error (PartError), leaves the later ones as they were, and who calls it again goes on there.
// One that somebody destroys meanwhile is no error for who takes a tag away, and ErrNotFound for who gives one: it is not held.
func (p *Pool) TagSnapshots(_ Req, group []SnapsOf, tag string, on bool) (changed int, err error) {
	if err := CheckTag(tag); err != nil {
		return 0, err
	}
	tg := tagging{rm: p.removal, tag: tag, on: on}
	var layers []*layer
	err = p.tree.look(func() (err error) {
		layers, err = tg.admit(group)
		return err
	})
	if err != nil {
		return 0, err
	}
	err = tg.all(layers)
	return tg.changed, inPart(tg.changed, len(layers), err, p.Flush)
}
