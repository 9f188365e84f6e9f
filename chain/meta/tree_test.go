package meta

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"testing"

	"pgregory.net/rapid"

	"slatefs/alloc"
)

func testFamily(s *Store) *Family {
	return &Family{Store: s, Kind: 9, Weight: func(k Key, v []byte) uint64 { return k.Lo%7 + uint64(len(v)) }}
}

// model is a tree as a sorted slice.
type model []entry

func (m model) at(k Key) int {
	return sort.Search(len(m), func(i int) bool { return !m[i].key.Less(k) })
}

func (m model) apply(edits []Edit) model {
	m = slices.Clone(m)
	for _, e := range edits {
		i := m.at(e.Key)
		found := i < len(m) && m[i].key == e.Key
		switch {
		case e.Delete && found:
			m = slices.Delete(m, i, i+1)
		case e.Delete:
		case found:
			m[i].val = e.Val
		default:
			m = slices.Insert(m, i, entry{e.Key, e.Val})
		}
	}
	return m
}

func treePages(t tester, f *Family, tr Tree) (n int) {
	t.Helper()
	must(t, f.Pages(tr, func(p Ptr, _ bool) error {
		n++
		for _, b := range copies(p) {
			if !f.Store.InUse(b) {
				return fmt.Errorf("page %v is not in use", p)
			}
		}
		return nil
	}))
	return n
}

// verifyTree compares a tree with its model entirely.
func verifyTree(t tester, f *Family, tr Tree, m model) {
	t.Helper()
	var weight uint64
	c := f.Seek(tr, Key{})
	for i, want := range m {
		k, v, ok, err := c.Next()
		must(t, err)
		if !ok || k != want.key || !bytes.Equal(v, want.val) {
			t.Fatalf("entry %d: %v %x %v, want %v %x", i, k, v, ok, want.key, want.val)
		}
		weight += f.weigh(k, v)
	}
	if k, _, ok, err := c.Next(); ok || err != nil {
		t.Fatalf("one more: %v %v", k, err)
	}
	if tr.Entries != uint64(len(m)) || tr.Weight != weight {
		t.Fatalf("entries %d weight %d, want %d %d", tr.Entries, tr.Weight, len(m), weight)
	}
	b := make([]byte, TreeSize)
	tr.Marshal(b)
	if got, err := UnmarshalTree(b); err != nil || got != tr {
		t.Fatalf("%v, %v", got, err)
	}
}

func genKey(t *rapid.T, label string) Key {
	return Key{rapid.Uint64Range(0, 3).Draw(t, label+"hi"), rapid.Uint64Range(0, 3000).Draw(t, label+"lo")}
}

func genEdits(t *rapid.T) []Edit {
	n := rapid.SampledFrom([]int{1, 2, 30, 400}).Draw(t, "edits")
	at, step := genKey(t, "at"), rapid.Uint64Range(1, 20).Draw(t, "step")
	size := rapid.SampledFrom([]int{0, 3, 40, MaxValue}).Draw(t, "size")
	del := rapid.IntRange(0, 3).Draw(t, "delete")
	fill := rapid.Byte().Draw(t, "fill")
	var edits []Edit
	for i := range n {
		e := Edit{Key: Key{at.Hi, at.Lo + uint64(i)*step}}
		if i%4 < del {
			e.Delete = true
		} else {
			e.Val = bytes.Repeat([]byte{fill + byte(i)}, size*(i%5)/4)
		}
		edits = append(edits, e)
	}
	return edits
}

// world is a device with two trees that are changed, and what of them is
// durable.
type world struct {
	d     *disk
	s     *Store
	f     *Family
	trees [2]Tree
	want  [2]model

	root   Ptr
	dTrees [2]Tree
	dWant  [2]model
}

func (w *world) checkpoint(t *rapid.T) {
	root, err := w.s.Seal()
	if err != nil {
		t.Fatal(err)
	}
	must(t, w.s.Flush())
	w.root, w.dTrees, w.dWant = root, w.trees, w.want
	w.s.Durable()
	must(t, w.s.Scrub())
}

func (w *world) crash(t *rapid.T) {
	if w.root.IsNil() {
		return
	}
	w.s = NewStore(w.d, testTotal, rapid.SampledFrom([]int64{0, 1 << 20}).Draw(t, "cache"))
	must(t, w.s.LoadMap(w.root))
	w.addRefill()
	w.f.Store = w.s
	w.trees, w.want = w.dTrees, w.dWant
}

func (w *world) addRefill() {
	w.s.Refill = func() error {
		n := len(w.s.Extents())
		return w.s.AddExtent(alloc.Run{Start: alloc.BlockID(1000 + 100*n), Len: 40})
	}
}

func (w *world) check(t *rapid.T) {
	if w.s.FreePages() < 40 { // what a Seal needs
		must(t, w.s.Refill())
	}
	must(t, w.s.Err())
	used := mapCopies(w.s)
	for i, tr := range w.trees {
		used += 2 * treePages(t, w.f, tr)
		if tr.Entries != uint64(len(w.want[i])) {
			t.Fatalf("tree %d: %d entries, want %d", i, tr.Entries, len(w.want[i]))
		}
	}
	if got := w.s.UsedPages(); got != used {
		t.Fatalf("used pages %d, reachable %d", got, used)
	}
}

func TestTreeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{d: newDisk()}
		w.s = NewStore(w.d, testTotal, 1<<20)
		w.addRefill()
		w.f = testFamily(w.s)
		w.f.Sensitive = rapid.Bool().Draw(t, "sensitive")
		t.Repeat(map[string]func(*rapid.T){
			"":           w.check,
			"apply":      w.apply,
			"append":     w.append,
			"fail":       w.failApply,
			"cut":        w.cut,
			"trim":       w.trim,
			"drop":       w.drop,
			"look":       w.look,
			"verify":     func(t *rapid.T) { verifyTree(t, w.f, w.trees[0], w.want[0]) },
			"flush":      func(t *rapid.T) { must(t, w.s.Flush()) },
			"checkpoint": w.checkpoint,
			"crash":      w.crash,
		})
		for i := range w.trees {
			verifyTree(t, w.f, w.trees[i], w.want[i])
		}
	})
}

func (w *world) apply(t *rapid.T) {
	edits := genEdits(t)
	i := rapid.IntRange(0, 1).Draw(t, "tree")
	tr, err := w.f.Apply(w.trees[i], edits)
	must(t, err)
	w.trees[i], w.want[i] = tr, w.want[i].apply(edits)
}

func (w *world) append(t *rapid.T) {
	var last Key
	if k, _, ok, err := w.f.Last(w.trees[0]); err != nil {
		t.Fatal(err)
	} else if ok {
		last = k
	}
	var edits []Edit
	for i := range 500 {
		edits = append(edits, Edit{Key: Key{last.Hi, last.Lo + 1 + uint64(i)}, Val: []byte{1, 2, 3}})
	}
	tr, err := w.f.Apply(w.trees[0], edits)
	must(t, err)
	w.trees[0], w.want[0] = tr, w.want[0].apply(edits)
}

// failApply: the store runs out of pages in the middle.
func (w *world) failApply(t *rapid.T) {
	refill, n := w.s.Refill, 0
	var taken []Ptr
	for w.s.FreePages() > rapid.IntRange(0, 8).Draw(t, "left") {
		p, err := w.s.Put(rawPage(0), false, 0, nil)
		must(t, err)
		taken = append(taken, p)
	}
	w.s.Refill = func() error { n++; return errors.New("no more") }
	tr, err := w.f.Apply(w.trees[0], genEdits(t))
	if err == nil {
		w.reload(t, tr)
	}
	w.s.Refill = refill
	for _, p := range taken {
		w.s.Free(p)
	}
}

// reload takes what a tree now holds as what is wanted.
func (w *world) reload(t *rapid.T, tr Tree) {
	w.trees[0], w.want[0] = tr, nil
	c := w.f.Seek(tr, Key{})
	for {
		k, v, ok, err := c.Next()
		must(t, err)
		if !ok {
			return
		}
		w.want[0] = append(w.want[0], entry{k, v})
	}
}

// cut moves what is below a key to the other tree, which is dropped before.
func (w *world) cut(t *rapid.T) {
	other, _, err := w.f.DropSome(w.trees[1], 1<<30)
	must(t, err)
	if other != (Tree{}) {
		t.Fatal("something is left")
	}
	at := genKey(t, "at")
	before := w.s.UsedPages()
	below, from, err := w.f.Cut(w.trees[0], at)
	must(t, err)
	if w.s.UsedPages() > before+2*maxHeight {
		t.Fatalf("used %d, was %d", w.s.UsedPages(), before)
	}
	i := w.want[0].at(at)
	w.trees = [2]Tree{from, below}
	w.want = [2]model{slices.Clone(w.want[0][i:]), slices.Clone(w.want[0][:i])}
}

func (w *world) trim(t *rapid.T) {
	at := genKey(t, "at")
	tr, err := w.f.TrimBelow(w.trees[1], at)
	must(t, err)
	w.trees[1], w.want[1] = tr, w.want[1][w.want[1].at(at):]
}

func (w *world) drop(t *rapid.T) {
	before := treePages(t, w.f, w.trees[1])
	tr, freed, err := w.f.DropSome(w.trees[1], rapid.IntRange(0, 5).Draw(t, "pages"))
	must(t, err)
	if after := treePages(t, w.f, tr); before-after != freed || before > 0 && freed < 1 {
		t.Fatalf("%d pages, then %d, freed %d", before, after, freed)
	}
	w.trees[1], w.want[1] = tr, w.want[1][len(w.want[1])-int(tr.Entries):]
}

func (w *world) look(t *rapid.T) {
	tr, m := w.trees[0], w.want[0]
	k, hi := genKey(t, "k"), genKey(t, "hi")
	i := m.at(k)
	v, ok, err := w.f.Get(tr, k)
	must(t, err)
	if found := i < len(m) && m[i].key == k; ok != found || found && !bytes.Equal(v, m[i].val) {
		t.Fatalf("Get(%v): %x %v", k, v, ok)
	}
	c := w.f.Seek(tr, k)
	for j := i; j <= len(m) && j < i+3; j++ {
		got, _, ok, err := c.Next()
		must(t, err)
		if ok != (j < len(m)) || ok && got != m[j].key {
			t.Fatalf("Seek(%v): %v %v", k, got, ok)
		}
	}
	if i == len(m) || m[i].key != k {
		i--
	}
	got, _, ok, err := w.f.Floor(tr, k)
	must(t, err)
	if ok != (i >= 0) || ok && got != m[i].key {
		t.Fatalf("Floor(%v): %v %v", k, got, ok)
	}
	var want uint64
	for _, e := range m {
		if !e.key.Less(k) && e.key.Less(hi) {
			want += w.f.weigh(e.key, e.val)
		}
	}
	if sum, err := w.f.Weigh(tr, k, hi); err != nil || sum != want {
		t.Fatalf("Weigh(%v, %v): %d, want %d: %v", k, hi, sum, want, err)
	}
}
