package chain

import (
	"maps"
	"slices"
)

// used is what the destruction of a snapshot alone would free, in blocks: with one child what that child lost of it,
// with none what it owns, with more nothing.
func (l *layer) used() int64 {
	switch len(l.children) {
	case 0:
		return l.own
	case 1:
		return l.children[0].lostHere
	}
	return 0
}

// Snapshots lists the snapshots of a volume, oldest first. It looks at them in pieces, with the plan lock given up between
// them: the numbers of each are of one moment, and those of two may be of two.
func (p *Pool) Snapshots(ino Ino) ([]SnapInfo, error) {
	w := snapWalk{pool: p, vol: ino, seen: map[LayerID]int{}}
	w.descent = descent{
		p: p.tree, see: w.see,
		into: func(_, c *layer) bool { return c.vol != ino }, // its own layers are taken by themselves
	}
	for more := true; more; {
		var err error
		if more, err = w.piece(); err != nil {
			return nil, err
		}
		w.rest()
	}
	return w.result(), nil
}

// HasSnapshot tells whether a volume has a snapshot of that name.
func (p *Pool) HasSnapshot(ino Ino, name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tree.named(ino, name) != nil
}

// snapWalk collects the snapshots of a volume, with the clones that hang on each.
type snapWalk struct {
	descent
	pool   *Pool
	vol    Ino
	last   LayerID // of the layers of the volume that have been looked at
	layers []walkedLayer
	seen   map[LayerID]int // of its layers: their place in layers
}

// walkedLayer is a layer of the volume.
type walkedLayer struct {
	parent LayerID
	named  bool
	info   SnapInfo
	clones map[Ino]bool
}

// piece looks at the next layers of the volume.
func (w *snapWalk) piece() (more bool, err error) {
	p := w.pool
	if _, err := p.Volume(w.vol); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.tree.ofVolume(w.vol)
	at, found := findLayer(all, w.last)
	if found {
		at++
	}
	for _, l := range all[at:min(len(all), at+pieceLen/2)] {
		o := walkedLayer{named: l.named, info: SnapInfo{
			Name: l.name, Layer: l.id, Size: l.size, Created: l.created,
			Written: l.own * BlockSize, Refer: l.refer * BlockSize, Used: l.used() * BlockSize, Tags: l.tags, Auto: l.who == whoAuto,
		}}
		if l.parent != nil && l.parent.vol == w.vol {
			o.parent = l.parent.id
		}
		w.last, w.seen[l.id] = l.id, len(w.layers)
		w.layers = append(w.layers, o)
		w.add(l, len(w.layers)-1)
		at++
	}
	return at < len(all), nil
}

// see notes the clone that a layer belongs to.
func (w *snapWalk) see(l *layer, of int) {
	if l.vol == w.vol || l.vol == 0 || w.pool.destroyed.vols[l.vol] != 0 || w.pool.names.notGoing(l.vol) != nil {
		return
	}
	w.layers[of].add(l.vol)
}

func (o *walkedLayer) add(clone Ino) {
	if o.clones == nil {
		o.clones = map[Ino]bool{}
	}
	o.clones[clone] = true
}

// result is the list: what hangs on a younger layer hangs on the older one, too, which has the lower number.
func (w *snapWalk) result() (out []SnapInfo) {
	paths := map[Ino]string{}
	for i := len(w.layers) - 1; i >= 0; i-- {
		o := &w.layers[i]
		up, known := w.seen[o.parent]
		for c := range o.clones {
			if paths[c] == "" {
				paths[c] = w.pool.Path(c)
			}
			if known && up < i {
				w.layers[up].add(c)
			}
		}
	}
	for _, o := range w.layers {
		if !o.named {
			continue
		}
		for _, c := range slices.Sorted(maps.Keys(o.clones)) {
			o.info.Clones = append(o.info.Clones, paths[c])
		}
		out = append(out, o.info)
	}
	return out
}

// DirInfo describes a directory, or the pool, which is the root.
func (p *Pool) DirInfo(ino Ino) (DirInfo, error) {
	return lookUp(p.commits, func() (DirInfo, error) {
		n, err := p.names.directory(ino)
		if err != nil {
			return DirInfo{}, err
		}
		return DirInfo{p.volumes.attr(ino, n), p.space.spaceOf(p.space.account(ino), 0)}, nil
	})
}

// VolumeInfo describes a volume. What of a clone's own blocks its head shows is counted a few layers at a time.
func (p *Pool) VolumeInfo(ino Ino) (VolumeInfo, error) {
	var origin LayerID
	i, err := lookUp(p.commits, func() (i VolumeInfo, err error) {
		i, origin, err = p.volumes.info(ino)
		return i, err
	})
	if err != nil {
		return VolumeInfo{}, err
	}
	// What a volume's layers own is its own, but for blocks of its snapshots that its head shows: those are in refer.
	shown := i.Refer / BlockSize
	if origin != 0 {
		if shown, err = p.shownOf(ino, i.Head, origin); err != nil {
			return VolumeInfo{}, err
		}
	}
	i.UsedSnap = max(0, i.UsedDS-shown*BlockSize)
	i.UsedDS -= i.UsedSnap
	return i, nil
}

// shownOf is how many blocks of those that the layers above origin own a clone's head shows: those that no layer on
// the line to the head has lost. What changes the line meanwhile makes it begin anew, now and then.
func (p *Pool) shownOf(ino Ino, head, origin LayerID) (n int64, err error) {
	const atOnce, tries = 4, 8
	at, anew := head, 0
	for more := true; more; {
		n0, at0, head0, anew0 := n, at, head, anew
		more, err = lookUp(p.commits, func() (bool, error) {
			n, at, head, anew = n0, at0, head0, anew0
			if at == head || p.tree.layers[at] == nil || p.tree.layers[at].dead {
				h := p.tree.head(ino)
				if anew++; h == nil || anew > tries {
					return false, nil
				}
				n, head, at = 0, h.id, h.id
			}
			l := p.tree.layers[at]
			for i := 0; l != nil && l.id > origin && i < atOnce; l, i = l.parent, i+1 {
				p.mu.step(1)
				lost, err := l.lostAbove(p, origin)
				if err != nil {
					return false, wrapCorrupt(err)
				}
				n += l.own - lost
			}
			if l == nil || l.id <= origin {
				return false, nil
			}
			at = l.id
			return true, nil
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// lostAbove is how many blocks a layer has lost of those that the layers between it and origin own.
func (l *layer) lostAbove(p *Pool, origin LayerID) (int64, error) {
	switch up := l.parent; {
	case up == nil || up.id <= origin:
		return 0, nil
	case up.floor() <= origin:
		return l.lostHere, nil
	}
	return l.lost.Weigh(p.blocks.coldLists, origin, l.floor())
}

// Tree lists all layers of the chain that a volume belongs to, parents before children. It looks at them in pieces.
func (p *Pool) Tree(ino Ino) ([]LayerInfo, error) {
	all := map[LayerID]*LayerInfo{}
	d := descent{p: p.tree}
	var root LayerID
	d.see = func(l *layer, _ int) {
		if root == 0 {
			root = l.id
		}
		i := &LayerInfo{
			ID: l.id, Name: l.name, Volume: l.vol, Head: l.head, Nameless: !l.head && !l.named,
			Deferred: !l.head && !l.named, Size: l.size, Written: l.own * BlockSize, Refer: l.refer * BlockSize, Created: l.created,
		}
		if l.parent != nil {
			i.Parent = l.parent.id
		}
		all[l.id] = i
	}
	if err := p.fromRoot(ino, d.add); err != nil {
		return nil, err
	}
	d.rest()
	for _, id := range slices.Sorted(maps.Keys(all)) { // so children are in this order
		if up := all[all[id].Parent]; up != nil && id != root {
			up.Children = append(up.Children, id)
		}
	}
	var out []LayerInfo
	for todo := []LayerID{root}; len(todo) > 0; {
		i := all[todo[len(todo)-1]]
		todo = todo[:len(todo)-1]
		out = append(out, *i)
		for k := len(i.Children) - 1; k >= 0; k-- {
			todo = append(todo, i.Children[k])
		}
	}
	return out, nil
}

// fromRoot calls fn for the first layer of a volume's chain, with the plan lock held. It goes up in pieces, and begins anew
// where the line changes meanwhile.
func (p *Pool) fromRoot(ino Ino, fn func(root *layer, of int)) error {
	var at *layer
	for {
		done, err := lookUp(p.commits, func() (bool, error) {
			v, err := p.volumes.volume(ino)
			if err != nil {
				return false, err
			}
			if at == nil || p.tree.layers[at.id] != at || at.dead {
				at = v.head()
			}
			for i := 0; at.parent != nil && i < pieceLen; i++ {
				p.mu.step(1)
				at = at.parent
			}
			if at.parent != nil {
				return false, nil
			}
			fn(at, 0)
			return true, nil
		})
		if done || err != nil {
			return err
		}
	}
}
