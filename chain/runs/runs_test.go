package runs

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"slatefs/alloc"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// block is one block of one birth; sets of them are the model of everything here.
type block struct {
	birth meta.Birth
	dev   alloc.BlockID
}

type set map[block]bool

func setOf(rs []Run) set {
	s := set{}
	for _, r := range rs {
		for i := range r.Len {
			s[block{r.Birth, r.Dev + alloc.BlockID(i)}] = true
		}
	}
	return s
}

func key(b block) omap.Key { return Key(b.birth, b.dev) }

func equal(a, b set) bool {
	for x := range a {
		if !b[x] {
			return false
		}
	}
	return len(a) == len(b)
}

// sorted are disjoint runs in order, of few births and blocks, so that they meet.
func sorted(t *rapid.T, name string) (rs []Run) {
	for birth := meta.Birth(1); birth <= 3; birth++ {
		at := alloc.BlockID(10)
		for range rapid.IntRange(0, 4).Draw(t, name) {
			at += alloc.BlockID(rapid.IntRange(0, 5).Draw(t, "gap"))
			n := rapid.Int64Range(1, 6).Draw(t, "len")
			rs = append(rs, Run{Dev: at, Len: n, Birth: birth})
			at += alloc.BlockID(n)
		}
	}
	return rs
}

func inOrder(t *rapid.T, rs []Run) {
	for i, r := range rs {
		if r.Len <= 0 {
			t.Fatalf("a run of %d blocks", r.Len)
		}
		if i > 0 && key(block{r.Birth, r.Dev}).Less(Key(rs[i-1].Birth, rs[i-1].Dev+alloc.BlockID(rs[i-1].Len))) {
			t.Fatalf("%v are out of order, or overlap", rs)
		}
	}
}

// The operations on sorted runs are those on sets of blocks.
func TestSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := sorted(t, "a"), sorted(t, "b")
		k := Key(meta.Birth(rapid.Uint64Range(0, 4).Draw(t, "birth")), alloc.BlockID(rapid.Uint64Range(0, 50).Draw(t, "block")))
		sa, sb := setOf(a), setOf(b)
		both, below, from := set{}, set{}, set{}
		for x := range sa {
			if sb[x] {
				both[x] = true
			}
			if key(x).Less(k) {
				below[x] = true
			} else {
				from[x] = true
			}
		}
		for name, c := range map[string]struct {
			got  []Run
			want set
		}{"intersect": {Intersect(a, b), both}, "below": {Below(a, k), below}, "from": {From(a, k), from}} {
			inOrder(t, c.got)
			if !equal(setOf(c.got), c.want) {
				t.Fatalf("%s of %v, %v, %v is %v", name, a, b, k, c.got)
			}
		}
		var m omap.Map[Entry]
		for _, r := range a {
			m.Set(Key(r.Birth, r.Dev), Entry{Len: r.Len})
		}
		took := int64(0)
		for _, r := range b {
			took += Carve(&m, r)
		}
		if int(took) != len(both) || Blocks(a)-took != Blocks(entriesOf(&m)) {
			t.Fatalf("%d blocks carved of %d, %d are common", took, Blocks(a), len(both))
		}
		left := setOf(entriesOf(&m))
		for x := range both {
			if left[x] {
				t.Fatalf("%v is still there", x)
			}
		}
	})
}

func entriesOf(m *omap.Map[Entry]) (rs []Run) {
	m.Ascend(omap.Key{}, func(k omap.Key, e Entry) bool {
		rs = append(rs, Run{alloc.BlockID(k.Lo), e.Len, meta.Birth(k.Hi)})
		return true
	})
	return rs
}

func family(t interface{ Fatal(...any) }) *meta.Family {
	store := meta.NewStore(devtest.New(2048*alloc.BlockSize, 512), 2048, 1<<20)
	for at := alloc.BlockID(64); at < 1600; at += 512 {
		if err := store.AddExtent(alloc.Run{Start: at, Len: 512}); err != nil {
			t.Fatal(err)
		}
	}
	return &meta.Family{Store: store, Kind: 'L', Weight: WeighEntry}
}

// machine is a list, and the blocks that it should have.
type machine struct {
	f *meta.Family
	l List
	m set
}

// add puts a run of blocks that are in no list yet.
func (x *machine) add(t *rapid.T) {
	dev, birth := rapid.Uint64Range(1, 60).Draw(t, "dev"), rapid.Uint64Range(1, 4).Draw(t, "birth")
	r := Run{Dev: alloc.BlockID(dev), Birth: meta.Birth(birth)}
	for range rapid.Int64Range(1, 6).Draw(t, "len") {
		if x.m[block{r.Birth, r.Dev + alloc.BlockID(r.Len)}] {
			break
		}
		r.Len++
	}
	if r.Len == 0 {
		return
	}
	x.l.Add(r.Birth, r.Dev, Entry{Len: r.Len})
	for b := range setOf([]Run{r}) {
		x.m[b] = true
	}
}

// write is a checkpoint: what came since becomes a tree of its own, or is thawed.
func (x *machine) write(t *rapid.T) {
	place := x.l.Freeze()
	if rapid.Bool().Draw(t, "moves") {
		var other List
		other.Move(&x.l)
		if !x.l.Empty() || place.List() != &other {
			t.Fatal("a list moved, and its place did not")
		}
		x.l.Move(&other)
	}
	if rapid.Bool().Draw(t, "thaw") {
		for x.l.ThawSome(rapid.IntRange(1, 3).Draw(t, "entries")) {
			x.same(t)
		}
		return
	}
	var tree meta.Tree
	err := omap.InChunks(x.l.Frozen, EditOf, func(es []meta.Edit) (err error) {
		tree, err = x.f.Apply(tree, es)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	trees := x.l.Trees
	if tree.Entries > 0 {
		trees = append(trees, tree)
	}
	place.List().Install(trees)
}

// take takes runs out: what lies in trees is gathered first.
func (x *machine) take(t *rapid.T) {
	rs := sorted(t, "runs")
	if _, err := x.l.Gather(x.f, rs); err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		want := int64(0)
		for b := range setOf([]Run{r}) {
			if x.m[b] {
				want++
				delete(x.m, b)
			}
		}
		if took := x.l.Take(r); took != want {
			t.Fatalf("took %d of %v, want %d", took, r, want)
		}
	}
}

// split cuts the list in two at a birth and joins the parts.
func (x *machine) split(t *rapid.T) {
	at := meta.Birth(rapid.Uint64Range(0, 5).Draw(t, "birth"))
	below, above, err := x.l.SplitAt(x.f, at)
	if err != nil {
		t.Fatal(err)
	}
	upper := x.l.CutAt(at, below, above)
	for _, r := range x.runs(t, &x.l) {
		if r.Birth >= at {
			t.Fatalf("%v is not cut off at %v", r, at)
		}
	}
	for _, r := range x.runs(t, &upper) {
		if r.Birth < at {
			t.Fatalf("%v is cut off at %v", r, at)
		}
	}
	x.l.Join(&upper)
	if !upper.Empty() {
		t.Fatal("something is left of what was joined")
	}
}

func (x *machine) runs(t *rapid.T, l *List) (rs []Run) {
	err := l.Ascend(x.f, omap.Key{}, func(k omap.Key, e Entry) bool {
		rs = append(rs, Run{alloc.BlockID(k.Lo), e.Len, meta.Birth(k.Hi)})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func (x *machine) same(t *rapid.T) {
	rs := x.runs(t, &x.l)
	inOrder(t, rs)
	if !equal(setOf(rs), x.m) || Blocks(rs) != int64(len(x.m)) || x.l.Empty() != (len(x.m) == 0) && len(x.l.Trees) == 0 {
		t.Fatalf("it has %v, want %d blocks", rs, len(x.m))
	}
	lo, hi := meta.Birth(rapid.Uint64Range(0, 5).Draw(t, "lo")), meta.Birth(rapid.Uint64Range(0, 5).Draw(t, "hi"))
	want := int64(0)
	for b := range x.m {
		if lo < b.birth && b.birth <= hi {
			want++
		}
	}
	if n, err := x.l.Weigh(x.f, lo, hi); err != nil || n != want && lo <= hi {
		t.Fatalf("(%v, %v] weighs %d, %v, want %d", lo, hi, n, err, want)
	}
	k := Key(lo, alloc.BlockID(rapid.Uint64Range(0, 70).Draw(t, "block")))
	var best omap.Key
	var there bool
	for _, r := range rs {
		if at := Key(r.Birth, r.Dev); at.Less(k) && r.Birth == lo {
			best, there = at, true
		}
	}
	if got, ok, err := x.l.Before(x.f, k); err != nil || ok != there || ok && got != best {
		t.Fatalf("before %v: %v, %v, %v, want %v, %v", k, got, ok, err, best, there)
	}
}

// Whatever is added, written, taken out, split and joined, in any order: a list has what a set of blocks has.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := machine{f: family(t), m: set{}}
		t.Repeat(map[string]func(*rapid.T){
			"add": x.add, "add again": x.add, "write": x.write, "take": x.take, "split": x.split, "": x.same,
		})
	})
}

func TestCoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := sorted(t, "runs")
		var e codec.Encoder
		Encode(&e, rs)
		d := codec.Decoder{B: e.B}
		if got := Decode(&d); d.Done() != nil || !slices.Equal(got, rs) {
			t.Fatalf("%v, %v, want %v", got, d.Err, rs)
		}
	})
}

// FuzzEntry: an entry of a list has a length that a pool can have, and one form.
func FuzzEntry(f *testing.F) {
	f.Add(Entry{Len: 1, Page: true}.Marshal())
	f.Add(Entry{Len: 1}.Marshal())
	f.Add(Entry{Len: 1 << 40}.Marshal())
	f.Add([]byte{entryBlocks, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := ParseEntry(in)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if e.Len <= 0 || e.Len > 1<<40 {
			t.Fatalf("entry of %d blocks", e.Len)
		}
		if out := e.Marshal(); !bytes.Equal(in, out) {
			t.Fatalf("% x\nis written as\n% x", in, out)
		}
	})
}

// An entry that a checkpoint is merging into the trees reaches over a key as any other does.
func TestBeforeFrozen(t *testing.T) {
	var l List
	l.Add(3, 100, Entry{Len: 50})
	l.Freeze()
	l.Add(3, 10, Entry{Len: 5})
	for _, c := range []struct{ at, want uint64 }{{120, 100}, {100, 10}, {400, 100}} {
		if k, ok, err := l.Before(nil, omap.Key{Hi: 3, Lo: c.at}); err != nil || !ok || k.Lo != c.want {
			t.Errorf("before %d: %v, %v, %v, want %d", c.at, k, ok, err, c.want)
		}
	}
}
