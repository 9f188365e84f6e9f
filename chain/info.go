package chain

import (
	"cmp"
	"maps"
	"slices"

	"slatefs/chain/ledger"
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

// Snapshots lists the snapshots of a volume, oldest first.
func (p *Pool) Snapshots(ino Ino) ([]SnapInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.volume(ino); err != nil {
		return nil, err
	}
	clones := p.clonesBelow(ino)
	p.mu.step(len(p.byVol[ino]))
	var out []SnapInfo
	for _, l := range p.byVol[ino] {
		if !l.named {
			continue
		}
		s := SnapInfo{
			Name: l.name, Layer: l.id, Size: l.size, Created: l.created,
			Written: l.own * BlockSize, Refer: l.refer * BlockSize, Used: l.used() * BlockSize,
		}
		for _, c := range slices.Sorted(maps.Keys(clones[l])) {
			s.Clones = append(s.Clones, p.pathOf(c))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b SnapInfo) int { return cmp.Compare(a.Layer, b.Layer) })
	return out, nil
}

// clonesBelow finds the clones that hang on each layer of a volume, in one go: parents have lower numbers.
func (p *Pool) clonesBelow(ino Ino) map[*layer]map[Ino]bool {
	out := map[*layer]map[Ino]bool{}
	var down func(l *layer, on []*layer)
	down = func(l *layer, on []*layer) {
		p.mu.step(1)
		if l.vol != ino && l.vol != 0 && p.doomedVols[l.vol] == 0 {
			for _, o := range on {
				if out[o] == nil {
					out[o] = map[Ino]bool{}
				}
				out[o][l.vol] = true
			}
		}
		for _, c := range l.children {
			if c.vol != ino { // its own are taken by themselves
				down(c, on)
			}
		}
	}
	mine := slices.SortedFunc(slices.Values(p.byVol[ino]), func(a, b *layer) int { return cmp.Compare(b.id, a.id) })
	for _, l := range mine {
		down(l, []*layer{l})
		for _, c := range l.children { // what hangs on a younger one hangs on it, too
			for v := range out[c] {
				if out[l] == nil {
					out[l] = map[Ino]bool{}
				}
				out[l][v] = true
			}
		}
	}
	return out
}

// space is what the ledger says of an account.
func (p *Pool) space(a *ledger.Account, refer int64) Space {
	n := a.Numbers()
	s := Space{
		Used: n.Used - n.Open, UsedDS: n.Held - n.Open, UsedChild: n.Below, Avail: p.available(a, refer),
		UsedRefreserv: n.Used - n.Held - n.Below, Refreservation: n.Refres, Reservation: n.Reservation,
		Quota: n.Quota, Refquota: n.Refquota, Promised: n.Promised, MetaPromised: n.Meta,
	}
	for _, n := range []*int64{
		&s.Used, &s.UsedDS, &s.UsedChild, &s.Avail, &s.UsedRefreserv, &s.Refreservation, &s.Reservation, &s.Quota, &s.Refquota,
		&s.Promised, &s.MetaPromised,
	} {
		*n *= BlockSize
	}
	s.Words = n.Words
	return s
}

// DirInfo describes a directory, or the pool, which is the root.
func (p *Pool) DirInfo(ino Ino) (DirInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, err := p.directory(ino)
	if err != nil {
		return DirInfo{}, err
	}
	return DirInfo{p.attr(ino, n), p.space(p.account(ino), 0)}, nil
}

// VolumeInfo describes a volume.
func (p *Pool) VolumeInfo(ino Ino) (VolumeInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := p.volume(ino)
	if err != nil {
		return VolumeInfo{}, err
	}
	n, err := p.inode(ino)
	if err != nil {
		return VolumeInfo{}, err
	}
	h := v.head()
	i := VolumeInfo{
		Attr: p.attr(ino, n), Space: p.space(v.account, h.refer), Head: h.id,
		Written: h.own * BlockSize, Refer: h.refer * BlockSize, Created: n.btime,
	}
	oldest := h
	for _, l := range p.byVol[ino] {
		p.mu.step(1)
		if l.named {
			i.Snapshots++
		}
		if l.id < oldest.id {
			oldest = l
		}
	}
	// What a volume's layers own is its own, but for blocks of its snapshots that its head shows: those are in refer.
	shown := h.refer
	if l := oldest.parent; l != nil {
		if i.Origin = p.pathOf(l.vol); l.named {
			i.Origin += "@" + l.name
		}
		if shown, err = p.shownOf(h, l); err != nil {
			return VolumeInfo{}, err
		}
	}
	i.UsedSnap = max(0, i.UsedDS-shown*BlockSize)
	i.UsedDS -= i.UsedSnap
	return i, nil
}

// shownOf is how many blocks of those that the layers above origin own a clone's head shows: those that no layer on
// the line to the head has lost.
func (p *Pool) shownOf(head, origin *layer) (n int64, err error) {
	for l := head; l != nil && l != origin; l = l.parent {
		p.mu.step(1)
		lost, err := l.lost.weigh(p.lists, origin.id, l.floor())
		if err != nil {
			return 0, wrapCorrupt(err)
		}
		n += l.own - lost
	}
	return n, nil
}

// Tree lists all layers of the chain that a volume belongs to, parents before children.
func (p *Pool) Tree(ino Ino) ([]LayerInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, err := p.volume(ino)
	if err != nil {
		return nil, err
	}
	root := v.head()
	for root.parent != nil {
		p.mu.step(1)
		root = root.parent
	}
	var out []LayerInfo
	var down func(*layer)
	down = func(l *layer) {
		p.mu.step(1)
		i := LayerInfo{
			ID: l.id, Name: l.name, Volume: l.vol, Head: l.head, Nameless: !l.head && !l.named,
			Deferred: !l.head && !l.named, Size: l.size, Written: l.own * BlockSize, Refer: l.refer * BlockSize, Created: l.created,
		}
		if l.parent != nil {
			i.Parent = l.parent.id
		}
		kids := slices.Clone(l.children)
		slices.SortFunc(kids, func(a, b *layer) int { return int(int64(a.id) - int64(b.id)) })
		for _, c := range kids {
			i.Children = append(i.Children, c.id)
		}
		out = append(out, i)
		for _, c := range kids {
			down(c)
		}
	}
	down(root)
	return out, nil
}
