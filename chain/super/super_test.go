package super

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
)

// whole is a superblock in which every field has a value of its own.
func whole() Block {
	tree := func(n uint64) meta.Tree {
		return meta.Tree{Root: meta.Ptr{Addr: alloc.BlockID(100 + n), Twin: alloc.BlockID(200 + n), Sum: n}, Height: 2, Entries: 300 + n}
	}
	return Block{
		Generation: 7, UUID: [16]byte{0: 0xaa, 15: 0xbb}, Compatible: 0xc0,
		Geometry:  Geometry{Blocks: 2048, GroupBlocks: 256, ExtentBlocks: 16, RingOff: 8192, Ring: 65536, Unit: 512, Window: 64},
		At:        journal.Pos{Seq: 11, Off: 512, Sum: 13},
		StoreRoot: meta.Ptr{Addr: 21, Twin: 22, Sum: 23}, GroupTable: tree(1), Catalog: tree(2),
		LastLayer: 10, LastJob: 9, LastIno: 12, Made: time.Unix(0, 1_700_000_000_123_456_789), Name: "golden",
		Host: Host{Machine: [16]byte{3}, Since: time.Unix(1_700_000_000, 5), Name: "host"}, FeatureNames: "one, two",
	}
}

func marshal(t testing.TB, s Block) []byte {
	t.Helper()
	b, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seal makes the checksum of an edited block right again.
func seal(b []byte) []byte {
	clear(b[16:24])
	binary.LittleEndian.PutUint64(b[16:], xxhash.Sum64(b))
	return b
}

// device is two slots.
type device struct{ *bytes.Reader }

func slots(blocks ...[]byte) device { return device{bytes.NewReader(bytes.Join(blocks, nil))} }

// The newest superblock is found, a damaged one passed over, and a whole one of a later program never passed over for an
// older one.
func TestRead(t *testing.T) {
	older, newer := whole(), whole()
	newer.Generation, newer.Name = 8, "newer"
	a, b, zero := marshal(t, older), marshal(t, newer), make([]byte, alloc.BlockSize)
	edit := func(s Block, off int) []byte {
		b := marshal(t, s)
		b[off] ^= 0x40
		return b
	}
	for _, c := range []struct {
		name string
		dev  device
		want string // name of the one that is found
		slot int
		err  error
	}{
		{"newer first", slots(b, a), "newer", 0, nil},
		{"newer second", slots(a, b), "newer", 1, nil},
		{"newer damaged", slots(a, edit(newer, 300)), "golden", 0, nil},
		{"older damaged", slots(edit(older, 300), b), "newer", 1, nil},
		{"one only", slots(zero, b), "newer", 1, nil},
		{"both damaged", slots(edit(older, 300), edit(newer, 300)), "", 0, ErrCorrupt},
		{"one damaged, one gone", slots(zero, edit(newer, 300)), "", 0, ErrCorrupt},
		{"none", slots(zero, zero), "", 0, ErrNotPool},
		{"too short", slots(b), "", 0, ErrNotPool},
		{"newer of a later version", slots(a, seal(edit(newer, 8))), "", 0, ErrVersion},
		{"newer with a feature", slots(seal(edit(newer, 64)), a), "", 0, ErrFeature},
		{"older of a later version", slots(seal(edit(older, 8)), b), "newer", 1, nil},
		{"later version, damaged", slots(a, edit(newer, 8)), "golden", 0, nil},
	} {
		s, slot, err := Read(c.dev)
		if !errors.Is(err, c.err) || s.Name != c.want || slot != c.slot {
			t.Errorf("%s: %q in slot %d, %v; want %q in %d, %v", c.name, s.Name, slot, err, c.want, c.slot, c.err)
		}
	}
	if ids := Remains(slots(zero, edit(newer, 300))); len(ids) != 1 || ids[0] != newer.UUID {
		t.Errorf("remains: %x", ids)
	}
}

// Numbers that would size something are bounded, and names and hosts that no program writes refused.
func TestUnmarshalRefuses(t *testing.T) {
	le := binary.LittleEndian
	for name, edit := range map[string]func([]byte){
		"no blocks":      func(b []byte) { le.PutUint64(b[72:], 0) },
		"too many":       func(b []byte) { le.PutUint64(b[72:], MaxBlocks+1) },
		"group of 8":     func(b []byte) { le.PutUint32(b[80:], 8) },
		"group of 257":   func(b []byte) { le.PutUint32(b[80:], 257) },
		"extent of 1":    func(b []byte) { le.PutUint32(b[84:], 1) },
		"ring elsewhere": func(b []byte) { le.PutUint64(b[88:], 4096) },
		"ring of 1":      func(b []byte) { le.PutUint64(b[96:], 1) },
		"unit of 0":      func(b []byte) { le.PutUint32(b[104:], 0) },
		"no window":      func(b []byte) { le.PutUint32(b[108:], 0) },
		"job above 2^48": func(b []byte) { le.PutUint64(b[288:], MaxNumber+1) },
		"long name":      func(b []byte) { b[312] = MaxName + 1 },
		"name ..":        func(b []byte) { b[312] = 2; copy(b[313:], "..") },
		"host's name":    func(b []byte) { b[hostAt+24] = MaxHostName + 1 },
	} {
		b := marshal(t, whole())
		edit(b)
		var s Block
		if err := s.Unmarshal(seal(b)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHost(t *testing.T) {
	h := whole().Host
	again := h
	again.Since = h.Since.UTC()
	if !h.Same(again) || h.None() || !(Host{}).None() {
		t.Error("one opening of one machine is not told")
	}
	again.Since = h.Since.Add(1)
	if h.Same(again) {
		t.Error("another opening is the same")
	}
	s := whole()
	s.Host.Name = strings.Repeat("n", MaxHostName+9)
	var back Block
	if err := back.Unmarshal(marshal(t, s)); err != nil || back.Host.Name != s.Host.Name[:MaxHostName] || !back.Host.Same(s.Host) {
		t.Errorf("%v, %v", back.Host, err)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "9", "vg-lv_1.x:y", strings.Repeat("n", MaxName)} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "-a", ".a", ":a", "a b", "a/b", "ä", "a\n", strings.Repeat("n", MaxName+1)} {
		if err := CheckName(name); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzSuper: the checksum is made right, so that what lies behind it is reached. What is accepted is bounded, and
// says the same when it is written again.
func FuzzSuper(f *testing.F) {
	s := whole()
	b, err := s.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:600])
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		b := blockdev.Aligned(alloc.BlockSize)
		copy(b, in)
		clear(b[16:24])
		binary.LittleEndian.PutUint64(b[16:], xxhash.Sum64(b))
		var s Block
		if err := s.Unmarshal(b); err != nil {
			if !errors.Is(err, ErrNotPool) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrFeature) && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		again, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var back Block
		if err := back.Unmarshal(again); err != nil || back != s {
			t.Fatalf("%+v\nwritten and read: %+v, %v", s, back, err)
		}
	})
}
