package meta

import (
	"fmt"
	"slices"
	"sort"
)

// builder makes one new tree out of another. Nothing of the old tree is freed
// before the new one is whole, so that an error leaves the old one as it was.
type builder struct {
	f    *Family
	made []Ptr // pages put
	dead []Ptr // pages that the new tree does not have
}

// end frees what is not needed: on error the new pages, else the old ones.
func (b *builder) end(err error) {
	list := b.dead
	if err != nil {
		list = b.made
	}
	for _, p := range list {
		b.f.free(p)
	}
}

func (b *builder) drop(r ref) { b.dead = append(b.dead, r.ptr) }

// put stores a page; every page of a tree has a twin.
func (b *builder) put(page []byte, node any) (Ptr, error) {
	p, err := b.f.Store.Put(page, true, 0, node)
	if err == nil {
		b.made = append(b.made, p)
	}
	return p, err
}

func (b *builder) putLeaf(ents []entry) (ref, error) {
	r := ref{key: ents[0].key, entries: uint64(len(ents))}
	for _, e := range ents {
		r.weight += b.f.weigh(e.key, e.val)
	}
	var err error
	r.ptr, err = b.put(encodeLeaf(b.f.Kind, ents), newLeaf(b.f.Kind, ents))
	return r, err
}

func (b *builder) putInner(level int, kids []ref) (ref, error) {
	r := ref{key: kids[0].key}
	for _, c := range kids {
		r.entries += c.entries
		r.weight += c.weight
	}
	var err error
	node := &innerNode{tag: b.f.Kind, level: uint8(level), kids: slices.Clone(kids)}
	r.ptr, err = b.put(encodeInner(b.f.Kind, level, kids), node)
	return r, err
}

// Apply makes all the edits, which are sorted by key without duplicates, in one
// pass: each page that an edit touches is made once, neighbours that are both
// touched are filled together, and what is appended leaves full pages behind.
// Deleting a key that is not there is no error. ErrInvalid: edits not sorted, or
// a value too long. The values are copied.
func (f *Family) Apply(t Tree, edits []Edit) (Tree, error) {
	for i, e := range edits {
		if len(e.Val) > MaxValue || i > 0 && !edits[i-1].Key.Less(e.Key) {
			return Tree{}, fmt.Errorf("meta: apply: edit %d of %d, %d bytes: %w", i, len(edits), len(e.Val), ErrInvalid)
		}
	}
	if len(edits) == 0 {
		return t, nil
	}
	b := &builder{f: f}
	out, err := b.apply(t, edits)
	b.end(err)
	if err != nil {
		return Tree{}, fmt.Errorf("meta: apply: %w", err)
	}
	return out, nil
}

func (b *builder) apply(t Tree, edits []Edit) (Tree, error) {
	level := max(int(t.Height)-1, 0)
	var roots []ref
	if t.Height > 0 {
		roots = []ref{t.root()}
	}
	roots, err := b.rebuild(level, roots, edits)
	if err != nil {
		return Tree{}, err
	}
	for len(roots) > 1 {
		level++
		if roots, err = b.packInner(level, roots, edits); err != nil {
			return Tree{}, err
		}
	}
	if len(roots) == 0 {
		return Tree{}, nil
	}
	return b.crown(roots[0], level)
}

// crown makes a tree of a page: an inner root with one child is dropped.
func (b *builder) crown(r ref, level int) (Tree, error) {
	for ; level > 0; level-- {
		n, err := b.f.inner(r, level)
		if err != nil {
			return Tree{}, err
		}
		if len(n.kids) > 1 {
			break
		}
		b.drop(r)
		r = n.kids[0]
	}
	if level >= maxHeight {
		return Tree{}, fmt.Errorf("tree of %d levels: %w", level+1, ErrInvalid)
	}
	return Tree{Root: r.ptr, Height: uint8(level + 1), Entries: r.entries, Weight: r.weight}, nil
}

// rebuild replaces neighbouring pages of a level, each of which is touched, by
// new ones.
func (b *builder) rebuild(level int, pages []ref, edits []Edit) ([]ref, error) {
	if level == 0 {
		return b.rebuildLeaves(pages, edits)
	}
	var kids []ref
	for _, r := range pages {
		n, err := b.f.inner(r, level)
		if err != nil {
			return nil, err
		}
		kids = append(kids, n.kids...)
		b.drop(r)
	}
	kids, err := b.rebuildKids(level-1, kids, edits)
	if err != nil {
		return nil, err
	}
	return b.packInner(level, kids, edits)
}

// rebuildKids finds the runs of touched pages among kids; the others stay.
func (b *builder) rebuildKids(level int, kids []ref, edits []Edit) ([]ref, error) {
	out := make([]ref, 0, len(kids)+1)
	for i := 0; i < len(kids); {
		n := editsBelow(edits, kids, i+1)
		if n == 0 {
			out = append(out, kids[i])
			i++
			continue
		}
		j := i + 1
		for ; j < len(kids); j++ {
			more := editsBelow(edits[n:], kids, j+1)
			if more == 0 {
				break
			}
			n += more
		}
		pages, err := b.rebuild(level, kids[i:j], edits[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, pages...)
		edits, i = edits[n:], j
	}
	return out, nil
}

// editsBelow counts the edits below the first key of child i; all of them if
// there is none.
func editsBelow(edits []Edit, kids []ref, i int) int {
	if i == len(kids) {
		return len(edits)
	}
	return sort.Search(len(edits), func(k int) bool { return !edits[k].Key.Less(kids[i].key) })
}

// packInner makes pages of kids: full ones if the edits end at the last child
// (as appending does), else the last two alike.
func (b *builder) packInner(level int, kids []ref, edits []Edit) ([]ref, error) {
	var out []ref
	tail := len(kids) > 0 && !edits[len(edits)-1].Key.Less(kids[len(kids)-1].key)
	for len(kids) > 0 {
		n := min(innerMax, len(kids))
		if len(kids) > n && len(kids) < 2*innerMax && !tail {
			n = (len(kids) + 1) / 2
		}
		r, err := b.putInner(level, kids[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
		kids = kids[n:]
	}
	return out, nil
}

// rebuildLeaves merges the entries of the leaves with the edits.
func (b *builder) rebuildLeaves(pages []ref, edits []Edit) ([]ref, error) {
	p := leafPacker{b: b}
	for _, r := range pages {
		n, err := b.f.leaf(r)
		if err != nil {
			return nil, err
		}
		b.drop(r)
		for i, k := range n.keys {
			old := entry{k, n.val(i)}
			for len(edits) > 0 && edits[0].Key.Less(k) {
				if err := p.edit(edits[0]); err != nil {
					return nil, err
				}
				edits = edits[1:]
			}
			if len(edits) > 0 && edits[0].Key == k {
				err = p.edit(edits[0])
				edits = edits[1:]
			} else {
				err = p.add(old)
			}
			if err != nil {
				return nil, err
			}
			p.tail = false
		}
	}
	for _, e := range edits {
		if err := p.edit(e); err != nil {
			return nil, err
		}
	}
	return p.finish()
}
