package chain

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// admitGroup is admitDestroy for snapshots of several volumes. The layers are in the order given, each once.
func (rm *remover) admitGroup(group []SnapsOf, o DestroyOptions) (layers []*layer, clones []Ino, err error) {
	seen := map[*layer]bool{}
	for _, g := range group {
		ls, cs, err := rm.admitDestroy(g.Vol, g.Names, o)
		if err != nil {
			return nil, nil, err
		}
		for _, l := range ls {
			if !seen[l] {
				layers = append(layers, l)
			}
			seen[l] = true
		}
		clones = append(clones, cs...)
	}
	slices.Sort(clones)
	return layers, slices.Compact(clones), nil
}

// admitDestroy finds the layers of snapshots that are to go, and the volumes that are to go with them, or why they may not
// go. It changes nothing. The structure lock is held, and not the plan lock. What is made on a snapshot afterwards is found
// when the snapshot goes: its layer stays for it.
func (rm *remover) admitDestroy(ino Ino, names []string, o DestroyOptions) (layers []*layer, clones []Ino, err error) {
	rm.mu.Lock()
	err = rm.names.notGoing(ino)
	rm.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	k, twice := rm.kinOf(ino), map[*layer]bool{}
	for _, name := range names {
		l := k.named[name]
		if l == nil {
			return nil, nil, fmt.Errorf("%s@%s: %w", rm.names.path(ino), name, ErrNotFound)
		}
		if err := rm.commits.underPlan(func() error { return rm.tree.noTags(l) }); err != nil {
			return nil, nil, err
		}
		if k.hung[l] && !o.Defer && !o.Clones {
			clones := rm.pathList(rm.clonesOn(ino, []*layer{l}))
			return nil, nil, fmt.Errorf("%s@%s: %w: %s", rm.names.path(ino), name, ErrHasClones, clones)
		}
		if !twice[l] {
			layers = append(layers, l)
		}
		twice[l] = true
	}
	if o.Clones {
		clones = rm.clonesOn(ino, layers)
	}
	return layers, clones, rm.commits.underPlan(func() error { return rm.notBusy(clones) })
}

// admitDestroyVolume finds the volumes that are to go with one, itself first, or why it may not go. It changes nothing. The
// structure lock is held, and not the plan lock.
func (rm *remover) admitDestroyVolume(ino Ino, o DestroyOptions) (all []Ino, err error) {
	if _, err := lookUp(rm.commits, func() (*Volume, error) { return rm.volumes.volume(ino) }); err != nil {
		return nil, err
	}
	k := rm.kinOf(ino)
	clones := rm.clonesOn(ino, k.layers)
	all = append([]Ino{ino}, clones...)
	switch {
	case len(k.named) > 0 && !o.Snapshots && !o.Clones:
		var snaps []string
		for name := range k.named {
			snaps = append(snaps, name)
		}
		sort.Strings(snaps)
		return nil, fmt.Errorf("%s: %w: %s", rm.names.path(ino), ErrHasSnapshots, strings.Join(snaps, ", "))
	case len(clones) > 0 && !o.Clones && !o.Defer:
		return nil, fmt.Errorf("%s: %w: %s", rm.names.path(ino), ErrHasClones, rm.pathList(clones))
	case !o.Clones:
		all = all[:1]
	}
	return all, rm.commits.underPlan(func() error { return rm.notBusy(all) })
}

// notBusy: nobody has one of the volumes open, and nothing holds a snapshot of one.
func (rm *remover) notBusy(vols []Ino) error {
	for _, ino := range vols {
		if v := rm.plans.vols[ino]; v != nil && v.readers+v.writers > 0 {
			return &BusyError{rm.names.pathOf(ino), v.readers, v.writers}
		}
		if err := rm.tree.noneTagged(ino); err != nil {
			return err
		}
	}
	return nil
}

// kin are the layers of a volume, and what hangs on them.
type kin struct {
	layers []*layer
	named  map[string]*layer // snapshots
	hung   map[*layer]bool   // another volume's line of history goes through it
}

// kinOf looks at a volume in pieces. A volume that is made meanwhile may be missed.
func (rm *remover) kinOf(ino Ino) *kin {
	k := &kin{layers: rm.tree.layersOf(ino), named: map[string]*layer{}, hung: map[*layer]bool{}}
	var all []*layer // parents first, of one top
	up := map[*layer]*layer{}
	rm.tree.descend(k.layers, func(l *layer) bool {
		if l.vol == ino && l.named {
			k.named[l.name] = l
		}
		if rm.foreign(l, ino) {
			k.hung[l] = true
		}
		all, up[l] = append(all, l), l.parent
		return true
	})
	slices.SortFunc(all, func(a, b *layer) int { return cmp.Compare(b.id, a.id) }) // children have higher numbers
	for _, l := range all {
		if k.hung[l] && up[l] != nil {
			k.hung[up[l]] = true
		}
	}
	return k
}

// foreign: the layer is of another volume than ino, one that is not destroyed, nor going. The plan lock is held.
func (rm *remover) foreign(l *layer, ino Ino) bool {
	rm.mu.assertHeld()
	return l.vol != ino && l.vol != 0 && rm.destroyed.vols[l.vol] == 0 && rm.names.notGoing(l.vol) == nil
}

// clonesOn are the other volumes whose line of history goes through layers of a volume.
func (rm *remover) clonesOn(ino Ino, layers []*layer) (out []Ino) {
	rm.tree.descend(layers, func(l *layer) bool {
		if rm.foreign(l, ino) {
			out = append(out, l.vol)
		}
		return true
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// pathList are the paths of volumes, for messages.
func (rm *remover) pathList(inos []Ino) string {
	var out []string
	for _, i := range inos {
		out = append(out, rm.names.path(i))
	}
	sort.Strings(out)
	return strings.Join(out, ", ")
}
