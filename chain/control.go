package chain

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// DestroyOptions say what goes with what is destroyed.
type DestroyOptions struct {
	Snapshots bool // -r: a volume with its snapshots
	Clones    bool // -R: clones too, with all that they have
	Defer     bool // -d: clones live on, layers that they need stay nameless
}

func (p *Pool) snapshot(ino Ino, name string) (*layer, error) {
	for _, l := range p.byVol[ino] {
		if l.named && l.name == name {
			return l, nil
		}
	}
	return nil, fmt.Errorf("%s@%s: %w", p.pathOf(ino), name, ErrNotFound)
}

// Snapshot freezes the heads of volumes under a name, all at one instant. Writers go on: what they were writing when
// it was called may be in it or not, what was acknowledged before is. It is durable when it returns.
//
// The heads are switched and the record made under one hold of the plan lock, so that it comes before every record of
// a new head. Writes in place that were planned before are waited for, since they go to the snapshot; then one commit
// makes their data and the record durable.
func (p *Pool) Snapshot(r Req, vols []Ino, name string) error {
	if err := checkSnapName(name); err != nil {
		return err
	}
	older, err := p.freezeHeads(r, vols, name)
	if err != nil {
		return err
	}
	p.settlePlans(older)
	return p.Flush()
}

// freezeHeads switches the heads and returns what ends the plans that are older than the switch.
func (p *Pool) freezeHeads(r Req, vols []Ino, name string) (older []<-chan struct{}, err error) {
	for {
		p.mu.Lock()
		err := p.writable()
		if err == nil && p.journalHolds(int64(64+len(name)+16*len(vols))) {
			older, err = p.freezeLocked(r, vols, name)
			p.mu.Unlock()
			return older, err
		}
		p.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if err := p.Checkpoint(); err != nil {
			return nil, err
		}
	}
}

func (p *Pool) freezeLocked(r Req, vols []Ino, name string) (older []<-chan struct{}, err error) {
	var taken int64 // by promises of the volumes before
	for i, ino := range vols {
		v, err := p.volume(ino)
		if err != nil {
			return nil, err
		}
		if slices.Contains(vols[:i], ino) {
			return nil, fmt.Errorf("%s: named twice: %w", p.pathOf(ino), ErrInvalid)
		}
		if _, err := p.snapshot(ino, name); err == nil && name != "" {
			return nil, fmt.Errorf("%s@%s: %w", p.pathOf(ino), name, ErrExist)
		}
		need, err := p.admitSnapshot(v, name, taken)
		if err != nil {
			return nil, err
		}
		taken += need
	}
	for _, ino := range vols {
		for _, pl := range p.vols[ino].active {
			if pl.done == nil {
				pl.done = make(chan struct{})
			}
			older = append(older, pl.done)
		}
	}
	p.poke()
	return older, p.do(&recFreeze{vols: vols, name: name, when: p.opt.Now(), who: r.who()})
}

// admitSnapshot bounds the line of history, and keeps promises: a promised volume must have room to be overwritten
// whole once more.
func (p *Pool) admitSnapshot(v *Volume, name string, taken int64) (need int64, err error) {
	depth := 0
	for l := v.head(); l != nil; l = l.parent {
		depth++
	}
	if depth > MaxLayers {
		return 0, fmt.Errorf("%s: %d layers, at most %d: %w", p.pathOf(v.ino), depth, MaxLayers, ErrTooBig)
	}
	if !v.kept {
		return 0, nil
	}
	h := v.head()
	need = min(h.own, blocksOf(h.size))
	avail := p.availLocked() - taken
	if need > avail {
		return 0, fmt.Errorf("cannot snapshot %s@%s: needs %d bytes (min of %d written, %d promised), %d available: %w",
			p.pathOf(v.ino), name, need*BlockSize, h.own*BlockSize, h.size, max(0, avail)*BlockSize, ErrNoSpace)
	}
	return need, nil
}

// settlePlans waits for plans to end.
func (p *Pool) settlePlans(older []<-chan struct{}) {
	for _, ch := range older {
		<-ch
	}
}

// Rollback makes a volume what a snapshot shows. What was written since is freed. ErrBusy: it is open for writing, and
// not forced. Later snapshots stay, as another branch.
func (p *Pool) Rollback(r Req, ino Ino, name string, force bool) error {
	var older []<-chan struct{}
	err := p.change(func(now time.Time) error {
		v, err := p.volume(ino)
		if err != nil {
			return err
		}
		snap, err := p.snapshot(ino, name)
		if err != nil {
			return err
		}
		if v.writers > 0 && !force {
			return &BusyError{p.pathOf(ino), v.readers, v.writers}
		}
		for _, pl := range v.active {
			if pl.done == nil {
				pl.done = make(chan struct{})
			}
			older = append(older, pl.done)
		}
		v.rollbacks++
		v.mtime = now
		return p.do(&recRollback{ino, snap.id, now, r.who()})
	})
	if err != nil {
		return err
	}
	p.settlePlans(older)
	if err := p.reapAll(); err != nil {
		return err
	}
	return p.Flush()
}

// Clone makes a new volume of a snapshot, or of a volume as it is now (snap ""). No byte is copied.
func (p *Pool) Clone(r Req, ino Ino, snap string, dir Ino, name string) (Attr, error) {
	var out Attr
	var older []<-chan struct{}
	err := p.change(func(now time.Time) error {
		from, err := p.inode(ino)
		if err != nil {
			return err
		}
		if _, err := p.admitName(dir, name); err != nil { // before anything changes
			return err
		}
		var l *layer
		if snap != "" {
			l, err = p.snapshot(ino, snap)
		} else if older, err = p.freezeLocked(r, []Ino{ino}, ""); err == nil {
			l = p.heads[ino].parent
		}
		if err != nil {
			return err
		}
		n := &inode{typ: TypeFile, mode: from.mode}
		to, err := p.make(r, dir, name, n, now)
		if err != nil {
			return err
		}
		if err := p.do(&recHead{vol: to, parent: l.id, size: l.size, when: now}); err != nil {
			return err
		}
		out = p.attr(to, n)
		return nil
	})
	if err != nil {
		return Attr{}, err
	}
	p.settlePlans(older)
	return out, p.Flush()
}

// DestroySnapshots destroys snapshots of a volume by name, all or none. ErrHasClones names the clones that hang on
// one, unless they are to go too or the layer may stay for them.
func (p *Pool) DestroySnapshots(r Req, ino Ino, names []string, o DestroyOptions) error {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	var clones []Ino
	err := p.change(func(time.Time) (err error) {
		clones, err = p.admitDestroy(ino, names, o)
		return err
	})
	if err != nil {
		return err
	}
	if err := p.destroyAll(r, clones); err != nil {
		return err
	}
	for part := range slices.Chunk(names, 32) { // as many as the journal has room for
		err := p.change(func(now time.Time) error {
			for _, name := range part {
				l, err := p.snapshot(ino, name)
				if err != nil {
					return err
				}
				// kept, so that nothing is merged here: reapAll does that, one by one
				if err := p.do(&recUnname{l.id, true, now, r.who()}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := p.reapAll(); err != nil {
		return err
	}
	return p.Flush()
}

// admitDestroy finds what is to go with snapshots, or why they may not go. It changes nothing.
func (p *Pool) admitDestroy(ino Ino, names []string, o DestroyOptions) (clones []Ino, err error) {
	for _, name := range names {
		l, err := p.snapshot(ino, name)
		if err != nil {
			return nil, err
		}
		c := p.clonesOf(l)
		if len(c) > 0 && !o.Defer && !o.Clones {
			return nil, fmt.Errorf("%s@%s: %w: %s", p.pathOf(ino), name, ErrHasClones, p.paths(c))
		}
		if o.Clones {
			clones = append(clones, c...)
		}
	}
	slices.Sort(clones)
	clones = slices.Compact(clones)
	return clones, p.notBusy(clones)
}

func (p *Pool) notBusy(vols []Ino) error {
	for _, ino := range vols {
		if v := p.vols[ino]; v != nil && v.readers+v.writers > 0 {
			return &BusyError{p.pathOf(ino), v.readers, v.writers}
		}
	}
	return nil
}

// reapAll removes layers that nobody holds any more, one merge at a time: each has the pages that it needs, and rows
// of trees that grew long are merged between.
func (p *Pool) reapAll() error {
	for {
		p.mu.Lock()
		none := p.reapable() == nil
		p.mu.Unlock()
		if none {
			return nil
		}
		more, long := false, false
		err := p.change(func(now time.Time) error {
			l := p.reapable()
			if l == nil {
				return nil
			}
			if long = len(l.children) == 1 && len(l.children[0].lost.trees)+len(l.lost.trees) > maxRow; long {
				return nil
			}
			more = true
			return p.do(&recReap{l.id, now})
		})
		if err == nil && long {
			err, more = p.Checkpoint(), true
		}
		if err != nil || !more {
			return err
		}
	}
}

// maxRow bounds the trees of one list: a checkpoint merges longer rows into one tree.
const maxRow = 4

// reapable is the oldest layer that nobody holds any more, or nil. The plan lock is held.
func (p *Pool) reapable() (first *layer) {
	for l := range p.nameless {
		if l.held == 0 && (l.kept || len(l.children) < 2) && (first == nil || l.id < first.id) {
			first = l
		}
	}
	return first
}

// clonesOf are the other volumes whose line of history goes through l.
func (p *Pool) clonesOf(l *layer) (out []Ino) {
	seen := map[Ino]bool{l.vol: true}
	var down func(*layer)
	down = func(l *layer) {
		if !seen[l.vol] && l.vol != 0 {
			seen[l.vol] = true
			out = append(out, l.vol)
		}
		for _, c := range l.children {
			down(c)
		}
	}
	down(l)
	slices.Sort(out)
	return out
}

func (p *Pool) paths(inos []Ino) string {
	var out []string
	for _, i := range inos {
		out = append(out, p.pathOf(i))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}

// destroyAll destroys volumes with all they have, each by itself.
func (p *Pool) destroyAll(r Req, vols []Ino) error {
	for _, ino := range vols {
		err := p.change(func(now time.Time) error {
			if err := p.notBusy([]Ino{ino}); err != nil {
				return err
			}
			n, err := p.inode(ino)
			if err != nil {
				return err
			}
			if n.parent == 0 { // unlinked, closed and not forgotten yet
				return p.erase(r, ino, n, now)
			}
			return p.unlink(r, n.parent, nameEntry{n.name, ino, TypeFile}, now)
		})
		if err == nil {
			err = p.reapAll()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// DestroyVolume destroys a volume. ErrBusy: it is open. ErrHasSnapshots, ErrHasClones name what would go with it.
func (p *Pool) DestroyVolume(r Req, ino Ino, o DestroyOptions) error {
	var all []Ino
	err := p.change(func(time.Time) error {
		if _, err := p.volume(ino); err != nil {
			return err
		}
		var snaps []string
		clones := map[Ino]bool{}
		for _, l := range p.byVol[ino] {
			if l.named {
				snaps = append(snaps, l.name)
			}
			for _, c := range p.clonesOf(l) {
				clones[c] = true
			}
		}
		all = []Ino{ino}
		for c := range clones {
			all = append(all, c)
		}
		slices.Sort(all[1:])
		switch {
		case len(snaps) > 0 && !o.Snapshots && !o.Clones:
			sort.Strings(snaps)
			return fmt.Errorf("%s: %w: %s", p.pathOf(ino), ErrHasSnapshots, strings.Join(snaps, ", "))
		case len(clones) > 0 && !o.Clones && !o.Defer:
			return fmt.Errorf("%s: %w: %s", p.pathOf(ino), ErrHasClones, p.paths(all[1:]))
		case !o.Clones:
			all = all[:1]
		}
		return p.notBusy(all)
	})
	if err == nil {
		err = p.destroyAll(r, all)
	}
	if err != nil {
		return err
	}
	return p.Flush()
}

// RenameSnapshot gives a snapshot another name.
func (p *Pool) RenameSnapshot(_ Req, ino Ino, old, name string) error {
	if err := checkSnapName(name); err != nil {
		return err
	}
	err := p.change(func(time.Time) error {
		l, err := p.snapshot(ino, old)
		if err != nil {
			return err
		}
		if _, err := p.snapshot(ino, name); err == nil {
			return fmt.Errorf("%s@%s: %w", p.pathOf(ino), name, ErrExist)
		}
		return p.do(&recRename{l.id, name})
	})
	if err != nil {
		return err
	}
	return p.Flush()
}
