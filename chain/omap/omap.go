// Package omap is an ordered map in memory: what a pool has changed since its last checkpoint waits in such maps,
// in the order in which the trees on disk keep it.
//
// It is a treap, since dead lists are cut at a key and joined: both are O(log n). A Map is not safe for concurrent
// use while somebody changes it; any number of readers may share one that nobody changes any more.
package omap

// Key orders a map: by Hi, then by Lo.
type Key struct{ Hi, Lo uint64 }

// Less tells whether k comes before o.
func (k Key) Less(o Key) bool { return k.Hi < o.Hi || k.Hi == o.Hi && k.Lo < o.Lo }

// Next is the smallest key above k. The greatest key of all has none and is its own.
func (k Key) Next() Key {
	switch {
	case k.Lo != ^uint64(0):
		k.Lo++
	case k.Hi != ^uint64(0):
		k.Hi, k.Lo = k.Hi+1, 0
	}
	return k
}

// Map is an ordered map from Key to V, of less than 1<<32 entries. The zero value is empty.
type Map[V any] struct {
	root *node[V]
	seed uint64
}

type node[V any] struct {
	key         Key
	val         V
	prio        uint32
	n           uint32 // of the entries here and below
	left, right *node[V]
}

// Len is the number of entries.
func (m *Map[V]) Len() int { return int(m.root.len()) }

func (n *node[V]) len() uint32 {
	if n == nil {
		return 0
	}
	return n.n
}

func (n *node[V]) count() { n.n = 1 + n.left.len() + n.right.len() }

// Get returns the value of k.
func (m *Map[V]) Get(k Key) (v V, ok bool) {
	if n := m.find(k); n != nil {
		return n.val, true
	}
	return v, false
}

func (m *Map[V]) find(k Key) *node[V] {
	for n := m.root; n != nil; {
		switch {
		case k.Less(n.key):
			n = n.left
		case n.key.Less(k):
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// Floor returns the entry with the greatest key that is not above k.
func (m *Map[V]) Floor(k Key) (key Key, v V, ok bool) {
	for n := m.root; n != nil; {
		if k.Less(n.key) {
			n = n.left
			continue
		}
		key, v, ok = n.key, n.val, true
		n = n.right
	}
	return key, v, ok
}

// Ceil returns the entry with the smallest key that is not below k.
func (m *Map[V]) Ceil(k Key) (key Key, v V, ok bool) {
	for n := m.root; n != nil; {
		if n.key.Less(k) {
			n = n.right
			continue
		}
		key, v, ok = n.key, n.val, true
		n = n.left
	}
	return key, v, ok
}

// Set stores v under k.
func (m *Map[V]) Set(k Key, v V) {
	if n := m.find(k); n != nil {
		n.val = v
		return
	}
	// xorshift64: any spread of priorities does, and the shape stays the same from run to run
	m.seed ^= m.seed<<13 ^ 0x9e3779b97f4a7c15
	m.seed ^= m.seed >> 7
	m.seed ^= m.seed << 17
	m.root = insert(m.root, &node[V]{key: k, val: v, prio: uint32(m.seed >> 32), n: 1})
}

func insert[V any](t, n *node[V]) *node[V] {
	if t == nil {
		return n
	}
	if n.prio > t.prio {
		n.left, n.right = split(t, n.key)
		n.count()
		return n
	}
	t.n++
	if n.key.Less(t.key) {
		t.left = insert(t.left, n)
	} else {
		t.right = insert(t.right, n)
	}
	return t
}

// split parts t into what is below k and what is not.
func split[V any](t *node[V], k Key) (below, from *node[V]) {
	if t == nil {
		return nil, nil
	}
	if t.key.Less(k) {
		below = t
		below.right, from = split(t.right, k)
		t.count()
		return below, from
	}
	from = t
	below, from.left = split(t.left, k)
	t.count()
	return below, from
}

func merge[V any](a, b *node[V]) *node[V] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio > b.prio:
		a.n += b.n
		a.right = merge(a.right, b)
		return a
	default:
		b.n += a.n
		b.left = merge(a, b.left)
		return b
	}
}

// Delete removes k and tells whether it was there.
func (m *Map[V]) Delete(k Key) bool {
	if m.find(k) == nil {
		return false
	}
	for p := &m.root; ; {
		n := *p
		n.n--
		switch {
		case k.Less(n.key):
			p = &n.left
		case n.key.Less(k):
			p = &n.right
		default:
			*p = merge(n.left, n.right)
			return true
		}
	}
}

// Clone is a copy that shares nothing with m. The values are copied as they are.
func (m *Map[V]) Clone() *Map[V] { return &Map[V]{root: clone(m.root), seed: m.seed} }

func clone[V any](n *node[V]) *node[V] {
	if n == nil {
		return nil
	}
	c := *n
	c.left, c.right = clone(n.left), clone(n.right)
	return &c
}

// Ascend calls fn for every entry from the key from on, in order, until fn returns false. fn must not change the map.
func (m *Map[V]) Ascend(from Key, fn func(Key, V) bool) { ascend(m.root, from, fn) }

func ascend[V any](n *node[V], from Key, fn func(Key, V) bool) bool {
	if n == nil {
		return true
	}
	if !n.key.Less(from) {
		if !ascend(n.left, from, fn) || !fn(n.key, n.val) {
			return false
		}
	}
	return ascend(n.right, from, fn)
}

// CutAt removes the entries from k on and returns them as a map of their own. It is O(log n), however many they are.
func (m *Map[V]) CutAt(k Key) *Map[V] {
	out := &Map[V]{seed: m.seed + 1}
	m.root, out.root = split(m.root, k)
	return out
}

// Join moves all of o into m; where both have a key, o's value stays. o is empty afterwards.
func (m *Map[V]) Join(o *Map[V]) {
	if m.root == nil {
		*m, *o = *o, Map[V]{}
		return
	}
	if m.Len() < o.Len() { // the smaller one is inserted
		o.Ascend(Key{}, func(k Key, v V) bool { m.Delete(k); return true })
		*m, *o = *o, *m
	}
	o.Ascend(Key{}, func(k Key, v V) bool { m.Set(k, v); return true })
	*o = Map[V]{}
}

// AtOnce bounds the elements that InChunks gives away at once.
const AtOnce = 1 << 14

// InChunks turns the entries of a map, in order, into the elements of slices, and gives one after the other to do, which
// may keep none of them. An error of do ends it and is returned. So what is made of a large map takes little memory.
func InChunks[V, T any](m *Map[V], turn func(Key, V) T, do func([]T) error) error {
	var buf []T
	for from, more := (Key{}), true; more; {
		buf, more = buf[:0], false
		m.Ascend(from, func(k Key, v V) bool {
			if more = len(buf) == AtOnce; more {
				from = k
				return false
			}
			buf = append(buf, turn(k, v))
			return true
		})
		if len(buf) == 0 {
			break
		}
		if err := do(buf); err != nil {
			return err
		}
	}
	return nil
}
