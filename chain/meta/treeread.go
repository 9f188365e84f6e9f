package meta

import "fmt"

// inner reads an inner page and holds it against what its parent says of it.
func (f *Family) inner(r ref, level int) (*innerNode, error) {
	v, ok := f.cached(r.ptr)
	if !ok {
		var err error
		v, err = f.fetch(r.ptr, func(page []byte) (any, error) { return f.checkedInner(page, r) })
		if err != nil {
			return nil, err
		}
	}
	n, ok := v.(*innerNode)
	if !ok || int(n.level) != level || n.tag != f.Kind {
		return nil, f.wrongPage(r, level)
	}
	return n, nil
}

// checkedInner decodes a page that must have the parent's sums.
func (f *Family) checkedInner(page []byte, r ref) (any, error) {
	n, err := decodeInner(page)
	if err != nil {
		return nil, err
	}
	var entries, weight uint64
	for _, c := range n.kids {
		entries += c.entries
		weight += c.weight
	}
	return n, r.check(n.kids[0].key, entries, weight)
}

// leaf reads a leaf and holds it against what its parent says of it.
func (f *Family) leaf(r ref) (*leafNode, error) {
	v, ok := f.cached(r.ptr)
	if !ok {
		var err error
		v, err = f.fetch(r.ptr, func(page []byte) (any, error) { return f.checkedLeaf(page, r) })
		if err != nil {
			return nil, err
		}
	}
	n, ok := v.(*leafNode)
	if !ok || n.tag != f.Kind {
		return nil, f.wrongPage(r, 0)
	}
	return n, nil
}

func (f *Family) checkedLeaf(page []byte, r ref) (any, error) {
	n, err := decodeLeaf(page)
	if err != nil {
		return nil, err
	}
	if n.tag != f.Kind {
		return n, nil // leaf says so; the weight function is not for it
	}
	var weight uint64
	for i, k := range n.keys {
		weight += f.weigh(k, n.val(i))
	}
	return n, r.check(n.keys[0], uint64(len(n.keys)), weight)
}

// check compares what a page has with what its parent says. A root's first key
// is not known: its ref has the zero key.
func (r ref) check(first Key, entries, weight uint64) error {
	if r.key != (Key{}) && first != r.key {
		return fmt.Errorf("first key %x, its parent says %x: %w", first, r.key, ErrCorrupt)
	}
	if entries != r.entries || weight != r.weight {
		return fmt.Errorf("%d entries of weight %d, its parent says %d of %d: %w",
			entries, weight, r.entries, r.weight, ErrCorrupt)
	}
	return nil
}

func (f *Family) wrongPage(r ref, level int) error {
	return &PageError{
		Addr: r.ptr.Addr, Twin: r.ptr.Twin,
		Reason: fmt.Errorf("not a page of family %d at level %d: %w", f.Kind, level, ErrCorrupt),
	}
}

// Cursor walks a tree upwards. It reads a page when it comes to it. A cursor is
// for one goroutine.
type Cursor struct {
	f    *Family
	path []cursorStep // inner pages, root first
	leaf *leafNode
	pos  int
	todo ref // leaf or subtree to be read next, with level; nil ptr: none
	lvl  int
	from Key
}

type cursorStep struct {
	n    *innerNode
	next int // child that comes after the present one
}

// Seek returns a cursor before the first entry at or above from. It reads
// nothing yet.
func (f *Family) Seek(t Tree, from Key) *Cursor {
	return &Cursor{f: f, todo: t.root(), lvl: int(t.Height) - 1, from: from}
}

// Next returns the next entry; false at the end. The value may not be changed;
// it stays valid. After an error the cursor has not moved: Next may be tried
// again.
func (c *Cursor) Next() (Key, []byte, bool, error) {
	for {
		if c.leaf != nil && c.pos < len(c.leaf.keys) {
			c.pos++
			return c.leaf.keys[c.pos-1], c.leaf.val(c.pos - 1), true, nil
		}
		if c.todo.ptr.IsNil() && !c.advance() {
			return Key{}, nil, false, nil
		}
		if err := c.descend(); err != nil {
			return Key{}, nil, false, err
		}
	}
}

// advance chooses the subtree after the present leaf.
func (c *Cursor) advance() bool {
	for len(c.path) > 0 {
		top := &c.path[len(c.path)-1]
		if top.next < len(top.n.kids) {
			c.todo, c.lvl = top.n.kids[top.next], int(top.n.level)-1
			top.next++
			return true
		}
		c.path = c.path[:len(c.path)-1]
	}
	return false
}

// descend reads todo down to a leaf.
func (c *Cursor) descend() error {
	for c.lvl > 0 {
		n, err := c.f.inner(c.todo, c.lvl)
		if err != nil {
			return err
		}
		i := max(n.child(c.from), 0)
		c.path = append(c.path, cursorStep{n, i + 1})
		c.todo, c.lvl = n.kids[i], c.lvl-1
	}
	n, err := c.f.leaf(c.todo)
	if err != nil {
		return err
	}
	if c.leaf != nil && !c.leaf.keys[len(c.leaf.keys)-1].Less(n.keys[0]) {
		return &PageError{
			Addr: c.todo.ptr.Addr, Twin: c.todo.ptr.Twin,
			Reason: fmt.Errorf("first key %x is not above the leaf before: %w", n.keys[0], ErrCorrupt),
		}
	}
	c.leaf, c.pos, c.todo = n, n.search(c.from), ref{}
	return nil
}

// Pages reports every page of the tree, parents first. It reads the inner pages
// only. It ends with the first error, fn's included.
func (f *Family) Pages(t Tree, fn func(p Ptr, leaf bool) error) error {
	if t.Height == 0 {
		return nil
	}
	return f.pages(t.root(), int(t.Height)-1, fn)
}

func (f *Family) pages(r ref, level int, fn func(Ptr, bool) error) error {
	if err := fn(r.ptr, level == 0); err != nil || level == 0 {
		return err
	}
	n, err := f.inner(r, level)
	if err != nil {
		return err
	}
	for _, c := range n.kids {
		if err := f.pages(c, level-1, fn); err != nil {
			return err
		}
	}
	return nil
}
