package meta

// leafPacker makes leaves of a stream of entries. It keeps up to two pages of
// them back, so that the last two pages can be made alike.
type leafPacker struct {
	b    *builder
	ents []entry
	size int  // encoded, were it one page
	tail bool // the last entry was put behind all old ones
	out  []ref
}

func (p *leafPacker) edit(e Edit) error {
	if e.Delete {
		return nil
	}
	p.tail = true
	return p.add(entry{e.Key, e.Val})
}

func (p *leafPacker) add(e entry) error {
	var prev Key
	if len(p.ents) > 0 {
		prev = p.ents[len(p.ents)-1].key
	}
	p.ents = append(p.ents, e)
	p.size += entrySize(prev, e)
	if p.size < 2*leafBytes {
		return nil
	}
	return p.emit(p.prefix(leafBytes))
}

// prefix is the number of entries that fit so many bytes; at least one.
func (p *leafPacker) prefix(bytes int) int {
	var prev Key
	for i, e := range p.ents {
		bytes -= entrySize(prev, e)
		if bytes < 0 {
			return max(i, 1)
		}
		prev = e.key
	}
	return len(p.ents)
}

// emit makes a leaf of the first n entries.
func (p *leafPacker) emit(n int) error {
	r, err := p.b.putLeaf(p.ents[:n])
	if err != nil {
		return err
	}
	p.out = append(p.out, r)
	p.ents = append(p.ents[:0], p.ents[n:]...)
	p.size = 0
	var prev Key
	for _, e := range p.ents {
		p.size += entrySize(prev, e)
		prev = e.key
	}
	return nil
}

func (p *leafPacker) finish() ([]ref, error) {
	for len(p.ents) > 0 {
		n := p.prefix(leafBytes)
		if n < len(p.ents) && !p.tail {
			n = min(n, p.prefix(p.size/2))
		}
		if err := p.emit(n); err != nil {
			return nil, err
		}
	}
	return p.out, nil
}
