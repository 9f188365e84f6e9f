package alloc

import "slices"

// Image is the content of one group at a Cut, as a checkpoint writes it.
type Image struct {
	Group   int
	Uniform bool
	State   State // of all blocks, where Uniform
	Counts  Counts
	Page    []byte // nil where Uniform or Pending; nobody changes it any more
	// Pending: the group changed and is not loaded, so there is no page. It must be
	// loaded and cut again before a checkpoint may be written.
	Pending bool
}

// Unsettled finds a group that changed and is not loaded: the caller loads it, until there is none, before Cut. It looks at up to
// n groups that may be one; more: there are others. Where neither is told all are settled.
func (p *Pool) Unsettled(n int) (g int, found, more bool) {
	for ; n > 0 && len(p.unsettled) > 0; n-- {
		last := len(p.unsettled) - 1
		if g = p.unsettled[last]; g < len(p.groups) && p.pending(g) {
			return g, true, true
		}
		p.unsettled = p.unsettled[:last]
	}
	return 0, false, len(p.unsettled) > 0
}

// pending: group g changed and is not loaded.
func (p *Pool) pending(g int) bool {
	gr := &p.groups[g]
	return gr.changed != 0 && !gr.uniform && !gr.loaded()
}

// changes notes that group g changed in this gen.
func (p *Pool) changes(g int) {
	p.groups[g].changed = p.gen
	p.touched = append(p.touched, g)
	if p.pending(g) {
		p.unsettled = append(p.unsettled, g)
	}
}

// Changed returns the number of groups that changed since the last cut began.
func (p *Pool) Changed() int { return len(p.touched) }

// BeginCut begins a cut: the groups that changed since the last one wait for their image, and those of an earlier cut that was
// never followed by Durable, so that a checkpoint which failed half-way loses nothing. It costs the same however many they
// are, but for the latter. A group that changes while it waits gets its image before. The images of the last cut must have
// been taken.
func (p *Pool) BeginCut() {
	for p.AgainSome(len(p.groups)) {
	}
	p.waiting, p.touched = p.touched, nil
	p.gen++
}

// AgainSome lets up to n groups of a cut that comes to nothing wait for the next one. It tells whether there are more.
func (p *Pool) AgainSome(n int) (more bool) {
	for ; n > 0 && len(p.cut) > 0; n-- {
		last := len(p.cut) - 1
		g := p.cut[last]
		p.cut = p.cut[:last]
		gr := &p.groups[g]
		if gr.cut = false; gr.changed == 0 {
			p.changes(g)
		}
	}
	return len(p.cut) > 0
}

// Images returns the images of some groups of the cut that has begun, about n, and whether there are more. Pages are copied
// when their group changes later.
func (p *Pool) Images(n int) (out []Image, more bool) {
	out, p.early = p.early, nil
	for n -= len(out); n > 0 && len(p.waiting) > 0; n-- {
		last := len(p.waiting) - 1
		g := p.waiting[last]
		p.waiting = p.waiting[:last]
		if gr := &p.groups[g]; gr.changed != 0 && gr.changed != p.gen {
			out = append(out, p.image(g))
		}
	}
	return out, len(p.waiting) > 0
}

// Cut returns the images of all groups of a cut that begins now, in order.
func (p *Pool) Cut() []Image {
	p.BeginCut()
	var out []Image
	for more := true; more; {
		var some []Image
		some, more = p.Images(len(p.groups))
		out = append(out, some...)
	}
	slices.SortFunc(out, func(a, b Image) int { return a.Group - b.Group })
	return out
}

// image makes the image of group g. One that is pending has changed since, as far as the next cut is concerned.
func (p *Pool) image(g int) Image {
	gr := &p.groups[g]
	img := Image{Group: g, Uniform: gr.uniform, Counts: gr.tally().counts()}
	switch {
	case gr.uniform:
		img.State = gr.state
	case gr.loaded():
		img.Page = gr.body.page
		gr.body.shared = true
	default:
		img.Pending = true
		p.changes(g)
		return img
	}
	gr.changed = 0
	if !gr.cut {
		gr.cut = true
		p.cut = append(p.cut, g)
	}
	return img
}

// Durable says that the images of the last Cut are on disk, and named by a durable superblock: their groups may be
// unloaded, and no later Cut repeats them.
func (p *Pool) Durable() {
	for p.DurableSome(len(p.groups)) {
	}
}

// DurableSome is Durable for up to n groups. It tells whether there are more.
func (p *Pool) DurableSome(n int) (more bool) {
	for ; n > 0 && len(p.cut) > 0; n-- {
		last := len(p.cut) - 1
		p.groups[p.cut[last]].cut = false
		p.cut = p.cut[:last]
	}
	return len(p.cut) > 0
}
