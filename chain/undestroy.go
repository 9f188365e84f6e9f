package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/ledger"
	"slatefs/chain/omap"
)

// DestroyedInfo describes what was destroyed and is kept.
type DestroyedInfo struct {
	ID          uint64
	Volume      string // path
	Snapshot    string // empty: the volume with its snapshots
	Size        int64  // bytes
	Frees       int64  // what its end alone would free, bytes; 0 where clones hold parts of it
	When, Until time.Time
	Who         string
}

// Destroyed lists what was destroyed and is kept, what goes first first.
func (p *Pool) Destroyed() (out []DestroyedInfo) {
	p.structure.Lock()
	defer p.structure.Unlock()
	for _, m := range []*omap.Map[uint64]{&p.destroyed.ends.byEnd, &p.destroyed.ends.sick} {
		var from omap.Key
		p.tree.inPieces(func() bool {
			k, id, ok := m.Ceil(from)
			if ok {
				out = append(out, p.destroyed.rows[id].info(id))
			}
			from = k.Next()
			return ok
		})
	}
	slices.SortFunc(out, func(a, b DestroyedInfo) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID)) })
	for i := range out {
		out[i].Frees = p.removal.endFrees(out[i].ID) * BlockSize
	}
	return out
}

func (d *destroyed) info(id uint64) DestroyedInfo {
	o := DestroyedInfo{ID: id, Volume: d.path, Size: d.size, When: d.when, Until: d.until, Who: d.who}
	if d.layer != 0 {
		o.Snapshot = d.name
	}
	return o
}

// endFrees is what the end of one thing alone would free at least, in blocks. The structure lock is held.
func (rm *remover) endFrees(id uint64) (n int64) {
	rm.mu.Lock()
	d := rm.destroyed.rows[id]
	var ls []*layer
	switch {
	case d == nil:
	case d.layer == 0:
		ls = slices.Clone(rm.tree.byVol[d.vol])
	case rm.tree.layers[d.layer] != nil:
		ls = append(ls, rm.tree.layers[d.layer])
	}
	rm.mu.Unlock()
	gone := map[*layer]bool{}
	for _, l := range ls {
		gone[l] = true
	}
	x := &fall{p: rm.tree, lower: true, goes: func(l *layer) bool { return l.nameless() || gone[l] }}
	x.find(ls)
	for _, k := range x.countApart() {
		n += k
	}
	return n
}

// Undestroy brings back what was destroyed and is kept: a volume with its snapshots under its name, or, with a name,
// under that one in dir (0: where it was); a snapshot under its name or another one.
//
// Errors: ErrNotFound: nothing is kept under that number, or its directory or volume is gone. ErrExist: the name is taken.
// ErrNoSpace, ErrQuota: what it was promised, or what its directory may use, has no room for it any more.
func (p *Pool) Undestroy(r Req, id uint64, dir Ino, name string) (Attr, error) {
	var out Attr
	var frees int64
	err := p.works.changeWithSpace(changeBytes, func() { frees = p.tree.worth(id) }, func(now time.Time) (Need, error) {
		d := p.destroyed.rows[id]
		if d == nil {
			return Need{}, fmt.Errorf("nothing that was destroyed is kept under ID %d: %w", id, ErrNotFound)
		}
		if d.layer != 0 {
			return Need{}, p.removal.reviveSnapshot(id, d, name, frees, &out)
		}
		at := spot{dir: d.dir, name: d.name}
		if name != "" {
			at.name = name
		}
		if dir != 0 {
			at.dir = dir
		}
		return p.removal.reviveVolume(id, d, at, frees, now, &out)
	})
	if err != nil {
		return out, err
	}
	p.tree.settleFalls()
	return out, p.Flush()
}

func (rm *remover) reviveVolume(id uint64, d *destroyed, at spot, frees int64, now time.Time, out *Attr) (Need, error) {
	up, err := rm.names.directory(at.dir)
	if err != nil {
		return Need{}, fmt.Errorf("%s: its directory: %w", d.path, err)
	}
	if _, err := rm.names.find(at.dir, at.name); err == nil {
		return Need{}, fmt.Errorf("undestroy %s: %s: %w", d.path, join(rm.names.pathOf(at.dir), at.name), ErrExist)
	} else if !errors.Is(err, ErrNotFound) {
		return Need{}, err
	}
	if err := checkName(at.name); err != nil {
		return Need{}, err
	}
	if err := rm.names.fits(at.dir, at.name); err != nil {
		return Need{}, err
	}
	n, err := rm.names.inode(d.vol)
	if err != nil {
		return Need{}, err
	}
	if need, err := rm.space.admitted(rm.tryRevive(d, at, frees)); err != nil || !need.None() {
		return need, err
	}
	n.parent, n.name, n.ctime = at.dir, at.name, now
	if err := rm.commits.do(&recPut{key: catalog.Key(catalog.Destroyed, id)}); err != nil {
		return Need{}, err
	}
	if err := rm.names.putInode(d.vol, n); err != nil {
		return Need{}, err
	}
	if err := rm.names.setName(at.dir, at.name, d.vol, n.typ); err != nil {
		return Need{}, err
	}
	*out = rm.volumes.attr(d.vol, n)
	return Need{}, rm.names.updateDir(at.dir, up, 1, 0, now)
}

// tryRevive: what it would free is available no more, and it is promised what it was.
func (rm *remover) tryRevive(d *destroyed, at spot, frees int64) Forecast {
	a := rm.space.account(d.vol)
	return rm.space.try(trial{
		what: "undestroy " + d.what(), why: "what it holds, and was promised",
		Change: ledger.Change{Gives: -frees, Do: func() {
			rm.space.ledger.Revive(a)
			rm.space.ledger.Move(a, rm.space.account(at.dir))
		}},
	})
}

func (rm *remover) reviveSnapshot(id uint64, d *destroyed, name string, frees int64, out *Attr) error {
	if other, v := rm.destroyed.destroyedVolume(d.vol); v != nil {
		return fmt.Errorf("undestroy %s: its volume was destroyed too, undestroy %d first: %w", d.what(), other, ErrNotFound)
	}
	if rm.names.notGoing(d.vol) != nil {
		return fmt.Errorf("undestroy %s: its volume is gone: %w", d.what(), ErrNotFound)
	}
	if name == "" {
		name = d.name
	}
	if err := CheckSnapName(name); err != nil {
		return err
	}
	if _, err := rm.tree.snapshot(d.vol, name); err == nil {
		return fmt.Errorf("undestroy %s: %s@%s: %w", d.what(), rm.names.pathOf(d.vol), name, ErrExist)
	}
	f := rm.space.try(trial{
		what: "undestroy " + d.what(), why: "what it holds",
		Change: ledger.Change{Gives: -frees},
	})
	if f.Err != nil {
		return f.Err
	}
	n, err := rm.names.inode(d.vol)
	if err != nil {
		return err
	}
	if err := rm.commits.do(&recPut{key: catalog.Key(catalog.Destroyed, id)}); err != nil {
		return err
	}
	*out = rm.volumes.attr(d.vol, n)
	return rm.commits.do(&recRevive{layer: d.layer, name: name})
}

// expire ends what is kept: it is destroyed as it would have been without a delay.
func (rm *remover) expire(id uint64) error {
	err := rm.works.change(func(now time.Time) error { return rm.endDestroyed(id, now) })
	if err == nil {
		err = rm.reapAll()
	}
	return err
}

// expireOne ends the first of what is destroyed and has had its time. One that can't be ended keeps no other, and its space is
// not counted on meanwhile.
func (rm *remover) expireOne(context.Context) (bool, error) {
	rm.mu.Lock()
	id := rm.destroyed.overdue()
	d := rm.destroyed.rows[id]
	rm.mu.Unlock()
	if d == nil {
		return false, nil
	}
	return rm.noteDestroyedTry(d, rm.expire(id)) == nil, nil
}

// noteDestroyedTry notes what became of the try to end something that is destroyed, and returns err.
func (rm *remover) noteDestroyedTry(d *destroyed, err error) error {
	defer rm.tree.settleFalls()
	rm.mu.Lock()
	defer rm.mu.Unlock()
	id, was := rm.idOf(d), d.try.Failing()
	if id == 0 { // it has ended
		rm.health.noteTry(&d.try, "the end of "+d.what()+", which was destroyed", err)
		return err
	}
	rm.destroyed.ends.drop(id, d)
	rm.health.noteTry(&d.try, "the end of "+d.what()+", which was destroyed", err)
	rm.destroyed.ends.put(id, d)
	if was != d.try.Failing() {
		rm.tree.uncountThing(d)
		rm.tree.recountThing(id)
	}
	return err
}

// idOf is the number of something destroyed that is kept, or 0. The plan lock is held.
func (rm *remover) idOf(d *destroyed) uint64 {
	rm.mu.assertHeld()
	id := rm.destroyed.vols[d.vol]
	if d.layer != 0 {
		id = rm.destroyed.layers[d.layer]
	}
	if rm.destroyed.rows[id] != d {
		return 0
	}
	return id
}

func (rm *remover) endDestroyed(id uint64, now time.Time) error {
	d := rm.destroyed.rows[id]
	if d == nil { // another was faster
		return nil
	}
	if d.layer == 0 {
		n, err := rm.names.inode(d.vol)
		if err != nil {
			return err
		}
		at := spot{dir: RootIno, path: d.path}                                 // what is kept is charged to the pool
		if err := rm.remove(Req{said: d.who}, d.vol, n, at, now); err != nil { // while its path is still known
			return err
		}
	}
	return rm.commits.do(&recPut{key: catalog.Key(catalog.Destroyed, id)})
}

// sacrifice ends the oldest of what is kept, because somebody needs its space. It tells whether there was any, or another
// has done it meanwhile.
func (rm *remover) sacrifice() (bool, error) {
	rm.mu.Lock()
	left := rm.left
	rm.left = 0 // taking them away may need space itself, and come here again
	rm.mu.Unlock()
	if left > 0 { // merges that nobody waited for may free something
		return true, rm.reapWaiting()
	}
	rm.mu.Lock()
	before := rm.destroyed.sacrificed
	rm.mu.Unlock()
	did, err := rm.sacrificeAfter(before)
	if did && err == nil {
		err = rm.reapWaiting() // may need space itself, and come here again
	}
	return did, err
}

func (rm *remover) sacrificeAfter(before int64) (bool, error) {
	rm.destroyed.sacrificing.Lock() // one after the other: who waits may have enough then
	defer rm.destroyed.sacrificing.Unlock()
	rm.mu.Lock()
	id := rm.destroyed.firstDestroyed(&rm.destroyed.ends.byBegin)
	d, others := rm.destroyed.rows[id], rm.destroyed.sacrificed != before
	rm.mu.Unlock()
	if d == nil || others {
		return others, nil
	}
	err := rm.works.changeWithFew(func(now time.Time) error {
		rm.destroyed.sacrificed++
		return rm.endDestroyed(id, now)
	})
	if rm.noteDestroyedTry(d, err) == nil {
		rm.log.Warn("what was destroyed goes before its time: its space is needed", "pool", rm.name, "id", id, "what", d.what(),
			"destroyed", d.when, "would_go", d.until)
	}
	if passing(err) { // the next one may do
		return true, nil
	}
	return err == nil, err
}
