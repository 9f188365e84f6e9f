package meta

import "fmt"

// Cut splits a tree: below has the entries under the key at, from the others.
// It makes O(height) pages; the rest moves without being visited.
func (f *Family) Cut(t Tree, at Key) (below, from Tree, err error) {
	if t.Height == 0 {
		return Tree{}, Tree{}, nil
	}
	b := &builder{f: f}
	below, from, err = b.split(t, at, true)
	b.end(err)
	if err != nil {
		return Tree{}, Tree{}, fmt.Errorf("meta: cut: %w", err)
	}
	return below, from, nil
}

// TrimBelow drops the entries under the key at and frees their pages. It reads
// the inner pages that it drops, but no leaf.
func (f *Family) TrimBelow(t Tree, at Key) (Tree, error) {
	if t.Height == 0 {
		return t, nil
	}
	out, _, err := f.trim(t, at)
	if err != nil {
		return Tree{}, fmt.Errorf("meta: trim: %w", err)
	}
	return out, nil
}

func (f *Family) trim(t Tree, at Key) (Tree, int, error) {
	b := &builder{f: f}
	_, out, err := b.split(t, at, false)
	b.end(err)
	return out, len(b.dead) - len(b.made), err
}

// DropSome frees about so many leaves (at least one) from the front of the
// tree, with their entries; the tree is empty when it had no more. It returns
// by how many pages, inner ones included, the tree became smaller.
func (f *Family) DropSome(t Tree, pages int) (Tree, int, error) {
	if t.Height == 0 {
		return t, 0, nil
	}
	n := max(pages, 1)
	at, more, err := f.nthLeaf(t.root(), int(t.Height)-1, &n)
	if err != nil {
		return Tree{}, 0, fmt.Errorf("meta: drop: %w", err)
	}
	var out Tree
	var freed int
	if more {
		out, freed, err = f.trim(t, at)
	} else {
		b := &builder{f: f}
		err = b.dropAll(t.root(), int(t.Height)-1)
		b.end(err)
		freed = len(b.dead)
	}
	if err != nil {
		return Tree{}, 0, fmt.Errorf("meta: drop: %w", err)
	}
	return out, freed, nil
}

// nthLeaf finds the first key of leaf number n, counted from 0; false when the
// subtree has no more than n, which are then taken off n.
func (f *Family) nthLeaf(r ref, level int, n *int) (Key, bool, error) {
	if level == 0 {
		*n--
		return r.key, *n < 0, nil
	}
	node, err := f.inner(r, level)
	if err != nil {
		return Key{}, false, err
	}
	for _, c := range node.kids {
		if k, ok, err := f.nthLeaf(c, level-1, n); ok || err != nil {
			return k, ok, err
		}
	}
	return Key{}, false, nil
}

// split cuts a tree that is not empty. Without keep the lower part is dropped.
func (b *builder) split(t Tree, at Key, keep bool) (below, from Tree, err error) {
	level := int(t.Height) - 1
	l, r, err := b.cut(t.root(), level, at, keep)
	if err != nil {
		return Tree{}, Tree{}, err
	}
	if l != nil && keep {
		if below, err = b.crown(*l, level); err != nil {
			return Tree{}, Tree{}, err
		}
	}
	if l != nil && !keep {
		if err := b.dropAll(*l, level); err != nil {
			return Tree{}, Tree{}, err
		}
	}
	if r != nil {
		from, err = b.crown(*r, level)
	}
	return below, from, err
}

// cut splits a page. A part that is empty is nil; if one is, the other is the
// page itself. Without keep the lower part is nil also when it was dropped.
func (b *builder) cut(r ref, level int, at Key, keep bool) (lower, upper *ref, err error) {
	if level == 0 {
		return b.cutLeaf(r, at, keep)
	}
	n, err := b.f.inner(r, level)
	if err != nil {
		return nil, nil, err
	}
	i := n.child(at)
	if i < 0 {
		return nil, &r, nil
	}
	dropped := len(b.dead)
	l, u, err := b.cut(n.kids[i], level-1, at, keep)
	switch {
	case err != nil:
		return nil, nil, err
	case u == nil && i == len(n.kids)-1:
		return &r, nil, nil
	case l == nil && i == 0 && len(b.dead) == dropped:
		return nil, &r, nil
	}
	b.drop(r)
	low, high := with(n.kids[:i], l), n.kids[i+1:]
	if u != nil {
		high = append([]ref{*u}, high...)
	}
	if lower, err = b.lower(level, low, keep); err != nil {
		return nil, nil, err
	}
	up, err := b.putInner(level, high)
	return lower, &up, err
}

func with(kids []ref, last *ref) []ref {
	if last == nil {
		return kids
	}
	return append(kids[:len(kids):len(kids)], *last)
}

// lower makes a page of the children below the cut, or drops them.
func (b *builder) lower(level int, kids []ref, keep bool) (*ref, error) {
	if !keep {
		for _, c := range kids {
			if err := b.dropAll(c, level-1); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	if len(kids) == 0 {
		return nil, nil
	}
	r, err := b.putInner(level, kids)
	return &r, err
}

func (b *builder) cutLeaf(r ref, at Key, keep bool) (lower, upper *ref, err error) {
	n, err := b.f.leaf(r)
	if err != nil {
		return nil, nil, err
	}
	i := n.search(at)
	if i == 0 {
		return nil, &r, nil
	}
	if i == len(n.keys) {
		return &r, nil, nil
	}
	b.drop(r)
	ents := make([]entry, len(n.keys))
	for k := range ents {
		ents[k] = entry{n.keys[k], n.val(k)}
	}
	if keep {
		l, err := b.putLeaf(ents[:i])
		if err != nil {
			return nil, nil, err
		}
		lower = &l
	}
	u, err := b.putLeaf(ents[i:])
	return lower, &u, err
}

// dropAll drops a whole subtree. Its leaves are not read.
func (b *builder) dropAll(r ref, level int) error {
	if level > 0 {
		n, err := b.f.inner(r, level)
		if err != nil {
			return err
		}
		for _, c := range n.kids {
			if err := b.dropAll(c, level-1); err != nil {
				return err
			}
		}
	}
	b.drop(r)
	return nil
}
