package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/ledger"
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
	p.mu.Lock()
	ids := p.doomedInOrder()
	p.mu.Unlock()
	i := 0
	p.inPieces(func() bool {
		if i == len(ids) {
			return false
		}
		if d := p.doomed[ids[i]]; d != nil {
			o := DestroyedInfo{ID: ids[i], Volume: d.path, Size: d.size, When: d.when, Until: d.until, Who: d.who}
			if d.layer != 0 {
				o.Snapshot = d.name
			}
			out = append(out, o)
		}
		i++
		return true
	})
	for i := range out {
		out[i].Frees = p.endFrees(out[i].ID) * BlockSize
	}
	return out
}

// endFrees is what the end of one thing alone would free at least, in blocks. The structure lock is held.
func (p *Pool) endFrees(id uint64) (n int64) {
	p.mu.Lock()
	d := p.doomed[id]
	var ls []*layer
	switch {
	case d == nil:
	case d.layer == 0:
		ls = slices.Clone(p.byVol[d.vol])
	case p.layers[d.layer] != nil:
		ls = append(ls, p.layers[d.layer])
	}
	p.mu.Unlock()
	gone := map[*layer]bool{}
	for _, l := range ls {
		gone[l] = true
	}
	x := &fall{p: p, lower: true, goes: func(l *layer) bool { return l.nameless() || gone[l] }}
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
	err := p.changeWithSpace(changeBytes, func() { frees = p.worth(id) }, func(now time.Time) (Need, error) {
		d := p.doomed[id]
		if d == nil {
			return Need{}, fmt.Errorf("nothing that was destroyed is kept under ID %d: %w", id, ErrNotFound)
		}
		if d.layer != 0 {
			return Need{}, p.reviveSnapshot(id, d, name, frees, &out)
		}
		at := spot{dir: d.dir, name: d.name}
		if name != "" {
			at.name = name
		}
		if dir != 0 {
			at.dir = dir
		}
		return p.reviveVolume(id, d, at, frees, now, &out)
	})
	if err != nil {
		return out, err
	}
	p.settleFalls()
	return out, p.Flush()
}

func (p *Pool) reviveVolume(id uint64, d *doomed, at spot, frees int64, now time.Time, out *Attr) (Need, error) {
	up, err := p.directory(at.dir)
	if err != nil {
		return Need{}, fmt.Errorf("%s: its directory: %w", d.path, err)
	}
	if _, err := p.find(at.dir, at.name); err == nil {
		return Need{}, fmt.Errorf("undestroy %s: %s: %w", d.path, join(p.pathOf(at.dir), at.name), ErrExist)
	} else if !errors.Is(err, ErrNotFound) {
		return Need{}, err
	}
	if err := checkName(at.name); err != nil {
		return Need{}, err
	}
	if err := p.fits(at.dir, at.name); err != nil {
		return Need{}, err
	}
	n, err := p.inode(d.vol)
	if err != nil {
		return Need{}, err
	}
	if need, err := p.admitted(p.tryRevive(d, at, frees)); err != nil || !need.None() {
		return need, err
	}
	n.parent, n.name, n.ctime = at.dir, at.name, now
	if err := p.do(&recPut{key: catalog.Key(catalog.Doomed, id)}); err != nil {
		return Need{}, err
	}
	if err := p.putInode(d.vol, n); err != nil {
		return Need{}, err
	}
	if err := p.setName(at.dir, at.name, d.vol, n.typ); err != nil {
		return Need{}, err
	}
	*out = p.attr(d.vol, n)
	return Need{}, p.updateDir(at.dir, up, 1, 0, now)
}

// tryRevive: what it would free is available no more, and it is promised what it was.
func (p *Pool) tryRevive(d *doomed, at spot, frees int64) Forecast {
	a := p.account(d.vol)
	return p.try(trial{
		what: "undestroy " + d.what(), why: "what it holds, and was promised",
		Change: ledger.Change{Gives: -frees, Do: func() {
			p.ledger.Revive(a)
			p.ledger.Move(a, p.account(at.dir))
		}},
	})
}

func (p *Pool) reviveSnapshot(id uint64, d *doomed, name string, frees int64, out *Attr) error {
	if other, v := p.doomedVolume(d.vol); v != nil {
		return fmt.Errorf("undestroy %s: its volume was destroyed too, undestroy %d first: %w", d.what(), other, ErrNotFound)
	}
	if name == "" {
		name = d.name
	}
	if err := checkSnapName(name); err != nil {
		return err
	}
	if _, err := p.snapshot(d.vol, name); err == nil {
		return fmt.Errorf("undestroy %s: %s@%s: %w", d.what(), p.pathOf(d.vol), name, ErrExist)
	}
	f := p.try(trial{
		what: "undestroy " + d.what(), why: "what it holds",
		Change: ledger.Change{Gives: -frees},
	})
	if f.Err != nil {
		return f.Err
	}
	n, err := p.inode(d.vol)
	if err != nil {
		return err
	}
	if err := p.do(&recPut{key: catalog.Key(catalog.Doomed, id)}); err != nil {
		return err
	}
	*out = p.attr(d.vol, n)
	return p.do(&recRevive{layer: d.layer, name: name})
}

// expire ends what is kept: it is destroyed as it would have been without a delay.
func (p *Pool) expire(id uint64) error {
	err := p.change(func(now time.Time) error { return p.endDoomed(id, now) })
	if err == nil {
		err = p.reapAll()
	}
	return err
}

// expireOne ends the first of what is doomed and has had its time. One that can't be ended keeps no other, and its space is
// not counted on meanwhile.
func (p *Pool) expireOne(context.Context) (bool, error) {
	p.mu.Lock()
	id := p.overdue()
	d := p.doomed[id]
	p.mu.Unlock()
	if d == nil {
		return false, nil
	}
	return p.noteDoomedTry(d, p.expire(id)) == nil, nil
}

// noteDoomedTry notes what became of the try to end something that is doomed, and returns err.
func (p *Pool) noteDoomedTry(d *doomed, err error) error {
	defer p.settleFalls()
	p.mu.Lock()
	defer p.mu.Unlock()
	was := d.try.failing()
	p.noteTry(&d.try, "the end of "+d.what()+", which was destroyed", err)
	if id := p.idOf(d); id != 0 && was != d.try.failing() {
		p.uncountThing(d)
		p.recountThing(id)
	}
	return err
}

// idOf is the number of something destroyed that is kept, or 0. The plan lock is held.
func (p *Pool) idOf(d *doomed) uint64 {
	id := p.doomedVols[d.vol]
	if d.layer != 0 {
		id = p.doomedLayers[d.layer]
	}
	if p.doomed[id] != d {
		return 0
	}
	return id
}

func (p *Pool) endDoomed(id uint64, now time.Time) error {
	d := p.doomed[id]
	if d == nil { // another was faster
		return nil
	}
	if d.layer == 0 {
		n, err := p.inode(d.vol)
		if err != nil {
			return err
		}
		at := spot{dir: RootIno, path: d.path}                                // what is kept is charged to the pool
		if err := p.remove(Req{said: d.who}, d.vol, n, at, now); err != nil { // while its path is still known
			return err
		}
	}
	return p.do(&recPut{key: catalog.Key(catalog.Doomed, id)})
}

// firstDoomed is the first of what is doomed by a time, and may be tried; 0: there is none.
func (p *Pool) firstDoomed(by func(*doomed) time.Time) (first uint64, at time.Time) {
	for id, d := range p.doomed {
		p.mu.step(1)
		if !p.mayTry(&d.try) {
			continue
		}
		if t := by(d); first == 0 || t.Before(at) || t.Equal(at) && id < first {
			first, at = id, t
		}
	}
	return first, at
}

func (d *doomed) end() time.Time   { return d.until }
func (d *doomed) begin() time.Time { return d.when }

// overdue is what is doomed and has had its time, or 0.
func (p *Pool) overdue() uint64 {
	if id, at := p.firstDoomed((*doomed).end); id != 0 && !p.opt.Now().Before(at) {
		return id
	}
	return 0
}

// untilOverdue is how long the first of what is doomed is kept. The plan lock is held.
func (p *Pool) untilOverdue() (d time.Duration, any bool) {
	id, at := p.firstDoomed((*doomed).end)
	if id == 0 {
		return 0, false
	}
	return max(at.Sub(p.opt.Now()), time.Second), true
}

// sacrifice ends the oldest of what is kept, because somebody needs its space. It tells whether there was any, or another
// has done it meanwhile.
func (p *Pool) sacrifice() (bool, error) {
	p.mu.Lock()
	before := p.sacrificed
	p.mu.Unlock()
	did, err := p.sacrificeAfter(before)
	if did && err == nil {
		err = p.reapAll() // may need space itself, and come here again
	}
	return did, err
}

func (p *Pool) sacrificeAfter(before int64) (bool, error) {
	p.sacrificing.Lock() // one after the other: who waits may have enough then
	defer p.sacrificing.Unlock()
	p.mu.Lock()
	id, _ := p.firstDoomed((*doomed).begin)
	d, others := p.doomed[id], p.sacrificed != before
	p.mu.Unlock()
	if d == nil || others {
		return others, nil
	}
	err := p.changeWithFew(func(now time.Time) error {
		p.sacrificed++
		return p.endDoomed(id, now)
	})
	if p.noteDoomedTry(d, err) == nil {
		p.log.Warn("what was destroyed goes before its time: its space is needed", "pool", p.name, "id", id, "what", d.what(),
			"destroyed", d.when, "would_go", d.until)
	}
	if passing(err) { // the next one may do
		return true, nil
	}
	return err == nil, err
}

// changeWithFew is change for who frees: it asks for the pages that it would like, and goes with few.
func (p *Pool) changeWithFew(fn func(now time.Time) error) error {
	if err := p.pagesForRows(); err != nil {
		return err
	}
	if err := p.grantPages(structurePages); err != nil && (!errors.Is(err, ErrNoSpace) || p.store.FreePages() < leastPages) {
		return err
	}
	return p.changeIn(credit{bytes: changeBytes, pages: changePages, frees: true}, fn)
}
