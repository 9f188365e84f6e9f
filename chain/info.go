package chain

import "slices"

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
	var out []SnapInfo
	for _, l := range p.byVol[ino] {
		if !l.named {
			continue
		}
		s := SnapInfo{
			Name: l.name, Layer: l.id, Size: l.size, Created: l.created,
			Written: l.own * BlockSize, Refer: l.refer * BlockSize, Used: l.used() * BlockSize,
		}
		for _, c := range p.clonesOf(l) {
			s.Clones = append(s.Clones, p.pathOf(c))
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b SnapInfo) int { return int(int64(a.Layer) - int64(b.Layer)) })
	return out, nil
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
		Attr: p.attr(ino, n), Head: h.id, Written: h.own * BlockSize, Refer: h.refer * BlockSize, Created: n.btime,
		Promised: v.stillPromised() * BlockSize,
	}
	// What a volume's layers own is its own, but for blocks of its snapshots that its head shows: those are in refer.
	var own int64
	oldest := h
	for _, l := range p.byVol[ino] {
		own += l.own
		if l.named {
			i.Snapshots++
		}
		if l.id < oldest.id {
			oldest = l
		}
	}
	shown := h.refer
	if l := oldest.parent; l != nil {
		if i.Origin = p.pathOf(l.vol); l.named {
			i.Origin += "@" + l.name
		}
		if shown, err = p.shownOf(h, l); err != nil {
			return VolumeInfo{}, err
		}
	}
	i.Used = own * BlockSize
	i.UsedSnap = max(0, own-shown) * BlockSize
	return i, nil
}

// shownOf is how many blocks of those that the layers above origin own a clone's head shows: those that no layer on
// the line to the head has lost.
func (p *Pool) shownOf(head, origin *layer) (n int64, err error) {
	for l := head; l != nil && l != origin; l = l.parent {
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
		root = root.parent
	}
	var out []LayerInfo
	var down func(*layer)
	down = func(l *layer) {
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
