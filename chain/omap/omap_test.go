package omap

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// model is what a map must hold: keys in order.
type model struct {
	keys []Key
	vals []int
}

func (m *model) search(k Key) (int, bool) {
	return slices.BinarySearchFunc(m.keys, k, func(a, b Key) int {
		switch {
		case a.Less(b):
			return -1
		case b.Less(a):
			return 1
		}
		return 0
	})
}

func (m *model) set(k Key, v int) {
	i, found := m.search(k)
	if found {
		m.vals[i] = v
		return
	}
	m.keys, m.vals = slices.Insert(m.keys, i, k), slices.Insert(m.vals, i, v)
}

func (m *model) remove(k Key) bool {
	i, found := m.search(k)
	if found {
		m.keys, m.vals = slices.Delete(m.keys, i, i+1), slices.Delete(m.vals, i, i+1)
	}
	return found
}

func (m *model) cutAt(k Key) *model {
	i, _ := m.search(k)
	out := &model{slices.Clone(m.keys[i:]), slices.Clone(m.vals[i:])}
	m.keys, m.vals = slices.Clone(m.keys[:i]), slices.Clone(m.vals[:i])
	return out
}

// same compares everything that a map answers about a key.
func same(t *testing.T, m *Map[int], w *model, k Key) {
	t.Helper()
	i, found := w.search(k)
	if v, ok := m.Get(k); ok != found || ok && v != w.vals[i] {
		t.Fatalf("get %v: %d, %v, want %v", k, v, ok, found)
	}
	if key, v, ok := m.Ceil(k); ok != (i < len(w.keys)) || ok && (key != w.keys[i] || v != w.vals[i]) {
		t.Fatalf("ceil of %v: %v, %d, %v", k, key, v, ok)
	}
	if !found {
		i--
	}
	if key, v, ok := m.Floor(k); ok != (i >= 0) || ok && (key != w.keys[i] || v != w.vals[i]) {
		t.Fatalf("floor of %v: %v, %d, %v", k, key, v, ok)
	}
}

// whole compares all entries, and those from a key on, up to a number.
func whole(t *testing.T, m *Map[int], w *model, from Key, limit int) {
	t.Helper()
	if m.Len() != len(w.keys) {
		t.Fatalf("%d entries, want %d", m.Len(), len(w.keys))
	}
	i, _ := w.search(from)
	n := 0
	m.Ascend(from, func(k Key, v int) bool {
		if k != w.keys[i] || v != w.vals[i] {
			t.Fatalf("entry %d is %v: %d, want %v: %d", i, k, v, w.keys[i], w.vals[i])
		}
		i, n = i+1, n+1
		return n < limit
	})
	if i < len(w.keys) && n < limit {
		t.Fatalf("ascend ended at %d of %d", i, len(w.keys))
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 0))
		key := func() Key {
			k := Key{uint64(rng.IntN(6)), uint64(rng.IntN(40))}
			switch rng.IntN(20) {
			case 0:
				k.Lo = ^uint64(0) - k.Lo%2
			case 1:
				k.Hi = ^uint64(0) - k.Hi%2
			}
			return k
		}
		a, b := &Map[int]{}, &Map[int]{}
		wa, wb := &model{}, &model{}
		for i := range 600 {
			k := key()
			switch rng.IntN(12) {
			case 0, 1, 2, 3, 4, 5:
				a.Set(k, i)
				wa.set(k, i)
			case 6, 7:
				if got, want := a.Delete(k), wa.remove(k); got != want {
					t.Fatalf("delete %v: %v, want %v", k, got, want)
				}
			case 8:
				a, b, wa, wb = b, a, wb, wa
			case 9:
				if b.Len() > 0 { // CutAt makes a new map
					continue
				}
				b, wb = a.CutAt(k), wa.cutAt(k)
			case 10:
				a.Join(b)
				for j, k := range wb.keys {
					wa.set(k, wb.vals[j])
				}
				*wb = model{}
			case 11:
				whole(t, a, wa, k, 1+rng.IntN(20))
			}
			same(t, a, wa, key())
			whole(t, a, wa, Key{}, 1<<30)
			whole(t, b, wb, Key{}, 1<<30)
		}
	}
}

// A long map that is made in order stays shallow: else a list of freed blocks would cost its square.
func TestDepth(t *testing.T) {
	var m Map[int]
	const n = 1 << 16
	for i := range n {
		m.Set(Key{Lo: uint64(i)}, i)
	}
	upper := m.CutAt(Key{Lo: n / 3})
	m.Join(upper)
	if m.Len() != n || upper.Len() != 0 {
		t.Fatalf("%d and %d entries", m.Len(), upper.Len())
	}
	if d := depth(m.root); d > 60 {
		t.Errorf("%d entries lie %d deep", n, d)
	}
}

func depth[V any](n *node[V]) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}

func TestKeyOrder(t *testing.T) {
	top := ^uint64(0)
	for _, c := range []struct{ k, next Key }{
		{Key{}, Key{0, 1}},
		{Key{3, 4}, Key{3, 5}},
		{Key{3, top}, Key{4, 0}},
		{Key{top, top - 1}, Key{top, top}},
		{Key{top, top}, Key{top, top}},
	} {
		if got := c.k.Next(); got != c.next || c.next.Less(c.k) || c.k.Less(c.next) != (c.k != c.next) {
			t.Errorf("after %v comes %v, want %v", c.k, got, c.next)
		}
	}
}

func TestInChunks(t *testing.T) {
	for _, n := range []int{0, 1, AtOnce - 1, AtOnce, AtOnce + 1, 3 * AtOnce} {
		var m Map[int]
		for i := range n {
			m.Set(Key{Lo: uint64(i)}, i)
		}
		next := 0
		err := InChunks(&m, func(k Key, v int) [2]int { return [2]int{int(k.Lo), v} }, func(part [][2]int) error {
			if len(part) == 0 || len(part) > AtOnce {
				t.Fatalf("%d of %d at once", len(part), n)
			}
			for _, e := range part {
				if e != [2]int{next, next} {
					t.Fatalf("%v after %d", e, next)
				}
				next++
			}
			return nil
		})
		if err != nil || next != n {
			t.Fatalf("%d of %d, %v", next, n, err)
		}
	}
}
