package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"slatefs/alloc"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/meta"
)

// table is one over an empty tree, on a device of 2,048 blocks.
func table(t interface{ Fatal(...any) }) *Table {
	store := meta.NewStore(devtest.New(2048*alloc.BlockSize, 512), 2048, 1<<20)
	for at := alloc.BlockID(64); at < 1600; at += 512 {
		if err := store.AddExtent(alloc.Run{Start: at, Len: 512}); err != nil {
			t.Fatal(err)
		}
	}
	return &Table{Family: &meta.Family{Store: store, Kind: 'C'}}
}

func compare(a, b meta.Key) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

// model is the rows in a map.
type model map[meta.Key][]byte

// from are the keys from k on, in order.
func (m model) from(k meta.Key) (ks []meta.Key) {
	for _, at := range slices.SortedFunc(maps.Keys(m), compare) {
		if !at.Less(k) {
			ks = append(ks, at)
		}
	}
	return ks
}

// machine is a table, what it should hold, and a checkpoint that may be under way: the rows it makes itself, and whether
// it has ended.
type machine struct {
	t    *Table
	m    model
	rows *Table
}

var kinds = []Kind{Inode, Name, Xattr, Destroyed}

func genKey(t *rapid.T) meta.Key {
	k := Key(rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.Uint64Range(0, 4).Draw(t, "number"))
	k.Lo = rapid.Uint64Range(0, 5).Draw(t, "part")
	return k
}

func (x *machine) put(t *rapid.T) {
	k, v := genKey(t), []byte(nil)
	if rapid.IntRange(0, 3).Draw(t, "delete") > 0 {
		v = bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "byte"))}, rapid.IntRange(0, 900).Draw(t, "len"))
	}
	x.t.Put(k, v)
	if x.m[k] = v; v == nil {
		delete(x.m, k)
	}
}

// checkpoint freezes, or ends what was frozen: merged with rows of its own, or thawed.
func (x *machine) checkpoint(t *rapid.T) {
	if x.rows == nil {
		x.t.Freeze()
		x.rows = &Table{}
		return
	}
	if rapid.Bool().Draw(t, "thaw") {
		for x.t.ThawSome(rapid.IntRange(1, 3).Draw(t, "rows")) {
			x.same(t)
		}
	} else {
		k, v := Key(Job, rapid.Uint64Range(0, 2).Draw(t, "job")), []byte{1}
		if _, there := x.m[k]; there && rapid.Bool().Draw(t, "gone") {
			v = nil
		}
		x.rows.Put(k, v)
		tree, err := x.t.Merge(x.rows)
		if err != nil {
			t.Fatal(err)
		}
		x.t.Install(tree)
		if x.m[k] = v; v == nil {
			delete(x.m, k)
		}
	}
	x.rows = nil
}

// same compares lookups, scans, scans in pieces, and the bound of pages.
func (x *machine) same(t *rapid.T) {
	k := genKey(t)
	v, ok, err := x.t.Get(k)
	if want, there := x.m[k]; err != nil || ok != there || !bytes.Equal(v, want) {
		t.Fatalf("row %x: %x, %v, %v; want %x, %v", k, v, ok, err, want, there)
	}
	want := x.m.from(k)
	var got []meta.Key
	see := func(k meta.Key, v []byte) bool {
		if !bytes.Equal(v, x.m[k]) {
			t.Fatalf("row %x: %x, want %x", k, v, x.m[k])
		}
		got = append(got, k)
		return true
	}
	if err := x.t.Scan(k, see); err != nil || !slices.Equal(got, want) {
		t.Fatalf("scan: %x, %v; want %x", got, err, want)
	}
	got = nil
	for from, more := k, true; more; {
		if from, more, err = x.t.ScanSome(from, rapid.IntRange(1, 3).Draw(t, "rows"), see); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("scan in pieces: %x, want %x", got, want)
	}
	if n := x.t.Changed(); (n == 0) != (x.t.Pages(0) == 0) {
		t.Fatalf("%d rows changed, at most %d pages", n, x.t.Pages(0))
	}
}

// Whatever is put, frozen, merged and thawed, in any order: a table shows what a map does.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := machine{t: table(t), m: model{}}
		t.Repeat(map[string]func(*rapid.T){"put": x.put, "put again": x.put, "checkpoint": x.checkpoint, "": x.same})
	})
}

// Values of any length come back, alone and among others, in as many parts as they take.
func TestParts(t *testing.T) {
	x := table(t)
	lens := []int{0, 1, PartSize - 1, PartSize, PartSize + 1, 3 * PartSize, 3*PartSize + 7}
	for i, n := range lens {
		for _, r := range Parts(Key(Link, uint64(i)), bytes.Repeat([]byte{byte(i + 1)}, n)) {
			if len(r.Val) > PartSize {
				t.Errorf("a part of %d bytes", len(r.Val))
			}
			x.Put(r.Key, r.Val)
		}
	}
	seen := 0
	err := x.Rows(Link, func(number uint64, val []byte, parts int) error {
		if n := lens[number]; len(val) != n || parts != n/PartSize+1 {
			t.Errorf("row %d: %d bytes in %d parts, want %d", number, len(val), parts, n)
		}
		seen++
		return nil
	})
	if err != nil || seen != len(lens) {
		t.Errorf("%d rows, %v", seen, err)
	}
	for i, n := range lens {
		if v, ok, err := x.Long(Key(Link, uint64(i))); err != nil || !ok || len(v) != n {
			t.Errorf("%d bytes: %d, %v, %v", n, len(v), ok, err)
		}
	}
	if _, ok, err := x.Long(Key(Link, 99)); ok || err != nil {
		t.Errorf("a row that is not there: %v, %v", ok, err)
	}
}

// An error of who looks through rows ends it, and says at which row.
func TestErrorsNameTheRow(t *testing.T) {
	x, boom, calls := table(t), errors.New("boom"), 0
	for n := range uint64(3) {
		x.Put(Key(Orphan, 7+n), []byte{1})
	}
	each := x.Each(Orphan, func(number uint64, _ []byte) error { calls++; return boom })
	rows := x.Rows(Orphan, func(uint64, []byte, int) error { calls++; return boom })
	for _, err := range []error{each, rows} {
		if !errors.Is(err, boom) || !bytes.Contains([]byte(fmt.Sprint(err)), []byte("7")) {
			t.Error(err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
}
