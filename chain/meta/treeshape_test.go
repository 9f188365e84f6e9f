package meta

import (
	"encoding/binary"
	"errors"
	"math/rand"
	"slices"
	"testing"

	"slatefs/alloc"
)

func bigStore(t testing.TB, d *disk) *Store {
	s := NewStore(d, testTotal, 64<<20)
	must(t, s.AddExtent(alloc.Run{Start: 1000, Len: 40000}))
	return s
}

func applyAll(t testing.TB, f *Family, keys []Key, per int) Tree {
	t.Helper()
	var tr Tree
	for part := range slices.Chunk(keys, per) {
		edits := make([]Edit, len(part))
		for i, k := range part {
			edits[i] = Edit{Key: k, Val: []byte{1, byte(k.Lo), 3}}
		}
		slices.SortFunc(edits, func(a, b Edit) int {
			if a.Key.Less(b.Key) {
				return -1
			}
			return 1
		})
		var err error
		tr, err = f.Apply(tr, edits)
		must(t, err)
	}
	return tr
}

func leaves(t testing.TB, f *Family, tr Tree) (n int) {
	t.Helper()
	must(t, f.Pages(tr, func(_ Ptr, leaf bool) error {
		if leaf {
			n++
		}
		return nil
	}))
	return n
}

func TestTreeFill(t *testing.T) {
	const n = 20000
	rising := make([]Key, n)
	for i := range rising {
		rising[i] = Key{uint64(i / 100), uint64(i) * 1000}
	}
	mixed := slices.Clone(rising)
	rand.New(rand.NewSource(1)).Shuffle(n, func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	f := testFamily(bigStore(t, newDisk()))
	dense := leaves(t, f, applyAll(t, f, rising, n))
	for _, c := range []struct {
		name  string
		keys  []Key
		per   int
		limit float64
	}{
		{"appended one by one", rising[:6000], 1, 1.05 * 6 / 20},
		{"appended", rising, 100, 1.05},
		{"random", mixed, 50, 1.7},
		{"random in bulk", mixed, 5000, 1.7},
	} {
		tr := applyAll(t, f, c.keys, c.per)
		if got := leaves(t, f, tr); float64(got) > float64(dense)*c.limit+1 {
			t.Errorf("%s: %d leaves, %d when dense", c.name, got, dense)
		}
		if tr.Height != 2 && tr.Height != 3 {
			t.Errorf("%s: height %d", c.name, tr.Height)
		}
	}
}

func TestTreeHighCutAndDrain(t *testing.T) {
	keys := make([]Key, 12000)
	for i := range keys {
		keys[i] = Key{uint64(i), 1}
	}
	s := bigStore(t, newDisk())
	f := testFamily(s)
	var edits []Edit
	for _, k := range keys {
		edits = append(edits, Edit{Key: k, Val: make([]byte, 1000)})
	}
	tr, err := f.Apply(Tree{}, edits)
	must(t, err)
	if tr.Height != 3 {
		t.Fatalf("height %d", tr.Height)
	}
	for _, at := range []Key{{}, {3000, 0}, {11999, 1}, {11999, 2}, MaxKey} {
		used := s.UsedPages()
		below, from, err := f.Cut(tr, at)
		must(t, err)
		if s.UsedPages() > used+6 || below.Entries+from.Entries != 12000 {
			t.Fatalf("%v: %d pages, %d + %d entries", at, s.UsedPages()-used, below.Entries, from.Entries)
		}
		if below.Entries > 0 {
			_, _, err := f.DropSome(below, 1<<30)
			must(t, err)
		}
		if from.Entries > 0 {
			from, err = f.TrimBelow(from, MaxKey)
			must(t, err)
		}
		if from != (Tree{}) || s.UsedPages() != 0 {
			t.Fatalf("%v: %v, %d pages left", at, from, s.UsedPages())
		}
		tr, err = f.Apply(Tree{}, edits)
		must(t, err)
	}
	for steps := 0; tr.Height > 0; steps++ {
		before := s.UsedPages()
		var freed int
		tr, freed, err = f.DropSome(tr, 100)
		must(t, err)
		if before-s.UsedPages() != 2*freed || freed < 100 && tr.Height > 0 || steps > 50 {
			t.Fatalf("step %d: freed %d, pages %d, then %d", steps, freed, before, s.UsedPages())
		}
	}
	if s.UsedPages() != 0 {
		t.Fatalf("%d pages left", s.UsedPages())
	}
}

func TestTreeRefusesBadEdits(t *testing.T) {
	f := testFamily(bigStore(t, newDisk()))
	for _, edits := range [][]Edit{
		{{Key: Key{1, 2}}, {Key: Key{1, 2}}},
		{{Key: Key{2, 0}}, {Key: Key{1, 2}}},
		{{Val: make([]byte, MaxValue+1)}},
	} {
		if _, err := f.Apply(Tree{}, edits); !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	}
	if f.Store.UsedPages() != 0 {
		t.Fatal("pages were made")
	}
}

func TestUnmarshalTreeRefuses(t *testing.T) {
	good := Tree{Root: Ptr{Addr: 5}, Height: 1, Entries: 3}
	b := make([]byte, TreeSize)
	for _, bad := range []func(t *Tree){
		func(t *Tree) { t.Height = maxHeight + 1 },
		func(t *Tree) { t.Height = 0 },
		func(t *Tree) { t.Entries = 0 },
		func(t *Tree) { t.Root = Ptr{} },
		func(t *Tree) { *t = Tree{Weight: 1} },
	} {
		tr := good
		bad(&tr)
		tr.Marshal(b)
		if _, err := UnmarshalTree(b); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%v: %v", tr, err)
		}
	}
	if _, err := UnmarshalTree(b[:40]); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// walk reads all of a tree.
func walk(f *Family, tr Tree) (n int, err error) {
	c := f.Seek(tr, Key{})
	for {
		_, _, ok, err := c.Next()
		if err != nil || !ok {
			return n, err
		}
		n++
	}
}

// A flip in one copy is repaired wherever it is; in both it is ErrCorrupt.
func TestTreeFlips(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 0)
	addExtents(t, s, 4, 250)
	f := testFamily(s)
	tr := applyAll(t, f, []Key{{1, 1}, {1, 2}, {5, 5}}, 3)
	var edits []Edit
	for i := range 400 {
		edits = append(edits, Edit{Key: Key{9, uint64(i)}, Val: make([]byte, 300)})
	}
	tr, err := f.Apply(tr, edits)
	must(t, err)
	checkpoint(t, s)
	var pages []Ptr
	must(t, f.Pages(tr, func(p Ptr, _ bool) error { pages = append(pages, p); return nil }))
	rng := rand.New(rand.NewSource(2))
	for i, p := range pages {
		bit := rng.Intn(8 * PageSize)
		d.flip(p.Addr, bit)
		if n, err := walk(f, tr); err != nil || n != 403 || s.Repairs() != uint64(i+1) {
			t.Fatalf("%d entries, %d repairs: %v", n, s.Repairs(), err)
		}
		d.flip(p.Addr, bit)
		d.flip(p.Twin, bit)
		if _, err := walk(f, tr); !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		d.flip(p.Addr, bit)
		d.flip(p.Twin, bit)
	}
}

// Pages whose checksum is right but which are not what the parent says.
func TestTreeRefusesWrongPages(t *testing.T) {
	d := newDisk()
	s := NewStore(d, testTotal, 1<<20)
	addExtents(t, s, 4, 250)
	f := testFamily(s)
	keys := make([]Key, 3000)
	for i := range keys {
		keys[i] = Key{1, uint64(i) * 1000}
	}
	tr := applyAll(t, f, keys, 3000)
	checkpoint(t, s)
	s.SetCacheBytes(0)
	n, err := f.inner(tr.root(), 1)
	must(t, err)
	leaf := n.kids[1]
	put := func(level int, kids []ref) Tree {
		p, err := s.Put(encodeInner(f.Kind, level, kids), true, 0, nil)
		must(t, err)
		out := Tree{Root: p, Height: uint8(level + 1)}
		for _, k := range kids {
			out.Entries += k.entries
			out.Weight += k.weight
		}
		return out
	}
	with := func(change func(r *ref)) []ref { r := leaf; change(&r); return []ref{r} }
	other := *f
	other.Kind = 8
	for name, c := range map[string]struct {
		f  *Family
		tr Tree
	}{
		"key":     {f, put(1, with(func(r *ref) { r.key.Lo++ }))},
		"entries": {f, put(1, with(func(r *ref) { r.entries++ }))},
		"weight":  {f, put(1, with(func(r *ref) { r.weight++ }))},
		"level":   {f, put(2, with(func(*ref) {}))},
		"inner as leaf": {f, put(1, []ref{{
			key: n.kids[0].key, ptr: tr.Root, entries: tr.Entries, weight: tr.Weight,
		}})},
		"order":        {f, put(1, []ref{n.kids[2], leaf})},
		"overlap":      {f, put(1, []ref{n.kids[0], {key: Key{0, 5}, ptr: leaf.ptr, entries: 1}})},
		"family":       {&other, tr},
		"root entries": {f, Tree{tr.Root, tr.Height, 1, tr.Weight}},
		"root height":  {f, Tree{tr.Root, 1, tr.Entries, tr.Weight}},
	} {
		if _, err := walk(c.f, c.tr); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		used := s.UsedPages()
		if _, err := c.f.Apply(c.tr, []Edit{{Key: leaf.key}}); !errors.Is(err, ErrCorrupt) && name != "order" {
			t.Errorf("%s: Apply: %v", name, err)
		} else if err != nil && s.UsedPages() != used {
			t.Errorf("%s: pages leaked", name)
		}
	}
}

func BenchmarkTreeGet(b *testing.B) {
	f := testFamily(bigStore(b, newDisk()))
	keys := make([]Key, 100000)
	for i := range keys {
		keys[i] = Key{uint64(i), uint64(i)}
	}
	tr := applyAll(b, f, keys, len(keys))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		_, ok, err := f.Get(tr, keys[i*7919%len(keys)])
		if err != nil || !ok {
			b.Fatal(err)
		}
	}
}

func BenchmarkTreeApply(b *testing.B) {
	f := testFamily(bigStore(b, newDisk()))
	tr, x := Tree{}, uint64(1)
	for b.Loop() {
		x = x*6364136223846793005 + 1442695040888963407
		var v [8]byte
		binary.LittleEndian.PutUint64(v[:], x)
		var err error
		if tr, err = f.Apply(tr, []Edit{{Key: Key{x >> 50, x & 0xFFFF}, Val: v[:]}}); err != nil {
			b.Fatal(err)
		}
	}
}
