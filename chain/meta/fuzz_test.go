package meta

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"slatefs/alloc"
)

var update = flag.Bool("update", false, "write the golden files")

func goldenLeaf() []byte {
	return encodeLeaf(9, []entry{
		{Key{0, 0}, nil},
		{Key{0, 300}, []byte("one")},
		{Key{7, 5}, []byte("two")},
		{Key{1 << 63, 1 << 40}, bytes.Repeat([]byte{0xAB}, 200)},
	})
}

func goldenInner() []byte {
	return encodeInner(9, 2, []ref{
		{Key{1, 2}, Ptr{Addr: 3, Twin: 4, Birth: 0, Sum: 5}, 6, 7},
		{Key{1, 3}, Ptr{Addr: 1 << 39, Twin: 1 << 38, Birth: 1 << 47, Sum: 1 << 63}, 8, 9},
	})
}

func goldenChunk() []byte {
	return encodeChunk([]*extent{
		{start: 1000, n: 256, used: lowBits(256)},
		{start: 9000, n: 70, used: bitmap{1 << 63, 1 << 5}},
	})
}

func goldenIndex() []byte {
	return encodeIndex(1, []Ptr{{Addr: 1, Twin: 2, Sum: 3}, {Addr: 4, Twin: 5, Sum: 6}})
}

func golden() map[string][]byte {
	tree := make([]byte, TreeSize)
	Tree{Ptr{1, 2, 3, 4}, 5, 6, 7}.Marshal(tree)
	return map[string][]byte{
		"leaf-v1": goldenLeaf(), "inner-v1": goldenInner(), "chunk-v1": goldenChunk(),
		"index-v1": goldenIndex(), "tree-v1": tree,
	}
}

func TestGolden(t *testing.T) {
	for name, got := range golden() {
		path := filepath.Join("testdata", "golden-"+name)
		got = bytes.TrimRight(got, "\x00")
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(path, got, 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the format has changed", name)
		}
	}
}

func TestDecodersRefuse(t *testing.T) {
	change := func(page []byte, at int, v ...byte) []byte { copy(page[at:], v); return page }
	for name, err := range map[string]error{
		"short":           second(decodeLeaf(make([]byte, 100))),
		"magic":           second(decodeLeaf(change(goldenLeaf(), 0, 9))),
		"version":         second(decodeInner(change(goldenInner(), 7, 9))),
		"leaf kind":       second(decodeLeaf(goldenInner())),
		"leaf count 0":    second(decodeLeaf(change(goldenLeaf(), 4, 0, 0))),
		"leaf count":      second(decodeLeaf(change(goldenLeaf(), 4, 0xFF, 0xFF))),
		"leaf level":      second(decodeLeaf(change(goldenLeaf(), 3, 1))),
		"leaf key":        second(decodeLeaf(change(goldenLeaf(), 4, 6))), // zeros: the same key again
		"leaf value":      second(decodeLeaf(change(goldenLeaf(), 18, 0xFF, 0x7F))),
		"leaf varint":     second(decodeLeaf(change(goldenLeaf(), 16, bytes.Repeat([]byte{0xFF}, 11)...))),
		"inner kind":      second(decodeInner(goldenLeaf())),
		"inner level":     second(decodeInner(change(goldenInner(), 3, 0))),
		"inner count":     second(decodeInner(change(goldenInner(), 4, 64))),
		"inner empty":     second(decodeInner(change(goldenInner(), 4, 3))),
		"inner order":     second(decodeInner(change(goldenInner(), 16, 2))),
		"chunk kind":      second(decodeChunk(goldenIndex(), 1<<40)),
		"chunk header":    second(decodeChunk(make([]byte, PageSize), 1<<40)),
		"chunk total":     second(decodeChunk(goldenChunk(), 9069)),
		"chunk bits":      second(decodeChunk(change(goldenChunk(), 16+42+10+9, 0xFF), 1<<40)),
		"chunk length":    second(decodeChunk(change(goldenChunk(), 16+8, 1, 1), 1<<40)),
		"chunk length 0":  second(decodeChunk(change(goldenChunk(), 16+8, 0, 0), 1<<40)),
		"index level":     second(decodeIndex(goldenIndex(), 2)),
		"index magic":     second(decodeIndex(make([]byte, PageSize), 1)),
		"index too large": second(decodeIndex(change(goldenIndex(), 4, 128), 1)),
	} {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func pageOf(b []byte) []byte { return append(b, make([]byte, PageSize)...)[:PageSize] }

func FuzzDecodeLeaf(f *testing.F) {
	f.Add(goldenLeaf())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeLeaf(pageOf(b))
		if err != nil {
			return
		}
		ents := make([]entry, len(n.keys))
		for i := range ents {
			ents[i] = entry{n.keys[i], n.val(i)}
			if i > 0 && !n.keys[i-1].Less(n.keys[i]) {
				t.Fatal("keys do not rise")
			}
		}
		again, err := decodeLeaf(encodeLeaf(n.tag, ents))
		if err != nil || len(again.keys) != len(n.keys) || !bytes.Equal(again.vals, n.vals) || n.Size() <= 0 {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeInner(f *testing.F) {
	f.Add(goldenInner())
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeInner(pageOf(b))
		if err != nil {
			return
		}
		again, err := decodeInner(encodeInner(n.tag, int(n.level), n.kids))
		if err != nil || len(again.kids) != len(n.kids) || again.kids[0] != n.kids[0] {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeStore(f *testing.F) {
	f.Add(goldenChunk(), goldenIndex())
	f.Fuzz(func(t *testing.T, chunk, index []byte) {
		if ext, err := decodeChunk(pageOf(chunk), testTotal); err == nil {
			for _, e := range ext {
				if e.end() > testTotal || e.used.count()+e.free.count() != e.n {
					t.Fatalf("extent %+v", e)
				}
			}
		}
		if ptrs, err := decodeIndex(pageOf(index), 1); err == nil && len(ptrs) > indexPtrs {
			t.Fatal("too many pointers")
		}
	})
}

func TestNames(t *testing.T) {
	for k := KindMapInner; k <= KindStoreIndex+1; k++ {
		if k.String() == "" {
			t.Fatal("no name")
		}
	}
	p := Ptr{Addr: 1, Twin: 2, Birth: 3, Sum: 4}
	b := make([]byte, PtrSize)
	p.Marshal(b)
	if UnmarshalPtr(b) != p || p.String() == "" || p.Copies() != 2 || (Ptr{Addr: alloc.BlockID(1)}).Copies() != 1 {
		t.Fatal(p)
	}
}
