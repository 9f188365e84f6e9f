package meta

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

func TestMapPackedRun(t *testing.T) {
	for _, p := range []Piece{
		{Start: 0, Len: 1, Dev: 1, Birth: 0},
		{Start: 0, Len: 8192, Dev: runMaxDev - 8191, Birth: runMaxBirth},
		{Start: 8191, Len: 1, Dev: 1 << 38, Birth: 1},
		{Start: 4097, Len: 4095, Dev: 0xA5_1234_5678, Birth: 0x8000_0000_0001},
	} {
		p.Mapped = true
		p.Start += 3 << 13
		r := packRun(p, 3<<13)
		if got := r.piece(3 << 13); got != p {
			t.Errorf("%+v became %+v", p, got)
		}
		if err := r.validate(0, mapRegionBits); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
		for bit := runKindShift; bit < 64; bit++ {
			bad := r
			bad.hi ^= 1 << bit
			if err := bad.validate(0, mapRegionBits); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bit %d flipped: %v", bit, err)
			}
		}
	}
}

// goldenMaps are pages and a map value of fixed content.
func goldenMaps(t testing.TB) map[string][]byte {
	o := &mapOp{layer: 7}
	ps := []Piece{
		{Start: 8192, Len: 16, Dev: 0x1000, Birth: 5, Mapped: true},
		{Start: 8210, Len: 1, Dev: 0x2F_0000_0001, Birth: 7, Mapped: true},
		{Start: 12288, Len: 4096, Dev: 0x4000, Birth: 0xABCDEF, Mapped: true},
	}
	l := &mapLeaf{mapFacts: mapFacts{base: 8192, bits: 13}}
	for _, p := range ps {
		l.runs = append(l.runs, packRun(p, 8192))
	}
	n := newInner(0, 13)
	run, err := o.putRuns(ps[:1], 8192, 9)
	if err != nil {
		t.Fatal(err)
	}
	leaf := mapEntry{kind: slotLeaf, count: 100, ptr: Ptr{Addr: 77, Birth: 6, Sum: 0x1122334455667788}}
	n.place(run, 0, 9)
	n.place(leaf, 4096, 12)
	m := Map{Bits: 19, root: mapEntry{kind: slotInner, count: 116, ptr: Ptr{Addr: 3, Twin: 9000, Birth: 7, Sum: 42}}}
	b := m.Marshal()
	return map[string][]byte{"leaf": l.encode(), "inner": n.encode(), "map": b[:]}
}

func TestMapGolden(t *testing.T) {
	const file = "testdata/map-v1.hex"
	pages := goldenMaps(t)
	names := []string{"leaf", "inner", "map"}
	if os.Getenv("SLATEFS_NEW_GOLDEN") != "" {
		var out strings.Builder
		for _, n := range names {
			out.WriteString(n + "\n" + hex.Dump(bytes.TrimRight(pages[n], "\x00")))
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, n := range names {
		got.WriteString(n + "\n" + hex.Dump(bytes.TrimRight(pages[n], "\x00")))
		if n == "map" {
			_, err = UnmarshalMap(pages[n])
		} else {
			_, err = decodeMapPage(pages[n])
		}
		if err != nil {
			t.Errorf("%s: %v", n, err)
		}
	}
	if got.String() != string(want) {
		t.Errorf("format changed:\n%s", got.String())
	}
}

// Every wrong value that a checksum could vouch for is refused by the decoders.
func TestMapDecodeRefuses(t *testing.T) {
	pages := goldenMaps(t)
	slot := func(i int) int { return HeaderSize + mapSlotSize*i }
	for name, c := range map[string]struct {
		page string
		off  int
		val  byte
	}{
		"magic": {"leaf", 0, 1}, "kind of a tree": {"leaf", 2, 3}, "kind": {"leaf", 2, 99}, "level": {"leaf", 3, 1},
		"no run": {"leaf", 4, 0}, "a run of zeros": {"leaf", 4, 4}, "256 runs": {"leaf", 5, 1}, "bytes after": {"leaf", 4, 2},
		"version": {"leaf", 7, 2}, "misaligned base": {"leaf", 8, 1}, "base beyond": {"leaf", 15, 1},
		"bits": {"leaf", 6, 14}, "small bits": {"leaf", 6, 6}, "huge bits": {"leaf", 6, 200},
		"run order": {"leaf", HeaderSize, 20}, "run outside": {"leaf", HeaderSize + 32, 1},
		"inner level": {"inner", 3, 2}, "inner bits": {"inner", 6, 12}, "slots": {"inner", 4, 63},
		"slot kind": {"inner", slot(0), 9}, "zero kind": {"inner", slot(9), 0}, "cont as head": {"inner", slot(9), 5},
		"no cont": {"inner", slot(1), 1}, "cont span": {"inner", slot(1) + 1, 3}, "span": {"inner", slot(0) + 1, 3},
		"span 6": {"inner", slot(0) + 1, 6}, "pad": {"inner", slot(9) + 2, 1}, "hole counts": {"inner", slot(9) + 8, 1},
		"run counts": {"inner", slot(0) + 8, 1}, "run pad": {"inner", slot(0) + 40, 1}, "hole ptr": {"inner", slot(9) + 16, 1},
		"leaf addr": {"inner", slot(32) + 16, 0}, "leaf count": {"inner", slot(32) + 12, 1}, "inner in 13": {"inner", slot(32), 4},
		"end of page": {"inner", 4095, 1},
		"map bits":    {"map", 0, 14}, "map of 0 bits": {"map", 0, 0}, "map pad": {"map", 3, 1}, "map tail": {"map", 63, 1},
		"root hole": {"map", 8, 1}, "root run": {"map", 8, 2}, "root span": {"map", 9, 1}, "root leaf": {"map", 8, 3},
		"root kind": {"map", 8, 77}, "root cont": {"map", 8, 5},
	} {
		b := bytes.Clone(pages[c.page])
		b[c.off] = c.val
		var err error
		if c.page == "map" {
			_, err = UnmarshalMap(b)
		} else {
			_, err = decodeMapPage(b)
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := UnmarshalMap(nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no bytes: %v", err)
	}
	empty := newInner(0, 13).encode()
	if _, err := decodeMapPage(empty); !errors.Is(err, ErrCorrupt) {
		t.Errorf("inner page of holes: %v", err)
	}
}

func FuzzMapPage(f *testing.F) {
	f.Add([]byte{})
	for _, b := range goldenMaps(f) {
		f.Add(bytes.TrimRight(b, "\x00"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		page := make([]byte, PageSize)
		copy(page, b)
		v, err := decodeMapPage(page)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("not ErrCorrupt: %v", err)
			}
			return
		}
		var again []byte
		switch p := v.(type) {
		case *mapLeaf:
			again = p.encode()
		case *mapInner:
			again = p.encode()
			_ = p.each(func(*mapEntry, int64, uint8) error { return nil })
		}
		if !bytes.Equal(page, again) {
			t.Fatal("a page is not what its decoding encodes to")
		}
	})
}

func FuzzMapValue(f *testing.F) {
	m := goldenMaps(f)["map"]
	f.Add(m)
	f.Add(make([]byte, MapSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := UnmarshalMap(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("not ErrCorrupt: %v", err)
			}
			return
		}
		if again := m.Marshal(); !bytes.Equal(b, again[:]) {
			t.Fatal("a map is not what its decoding encodes to")
		}
	})
}
