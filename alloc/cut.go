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

// Unsettled returns the groups that changed and are not loaded, in order. The caller loads
// them before Cut.
func (p *Pool) Unsettled() []int {
	var out []int
	for _, g := range p.touched {
		if gr := &p.groups[g]; gr.changed && !gr.uniform && !gr.loaded() {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

// Changed returns the number of groups that changed since the last Cut.
func (p *Pool) Changed() int { return p.changed }

// Cut returns the groups that changed since the last Cut, in order, and those of an
// earlier Cut that was never followed by Durable: a checkpoint that failed half-way loses
// nothing. Pages are copied when their group changes later.
func (p *Pool) Cut() []Image {
	slices.Sort(p.touched)
	out := make([]Image, 0, len(p.touched))
	for _, g := range p.touched {
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
			out = append(out, img)
			continue
		}
		if gr.changed {
			gr.changed = false
			p.changed--
		}
		gr.cut = true
		out = append(out, img)
	}
	return out
}

// Durable says that the images of the last Cut are on disk, and named by a durable
// superblock: their groups may be unloaded, and no later Cut repeats them.
func (p *Pool) Durable() {
	p.touched = slices.DeleteFunc(p.touched, func(g int) bool {
		p.groups[g].cut = false
		return !p.groups[g].changed
	})
}
