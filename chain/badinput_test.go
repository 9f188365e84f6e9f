package chain

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
)

// editSuper changes bytes of a superblock slot and makes its checksum right again.
func editSuper(t testing.TB, d *devtest.Disk, slot int, edit func(b []byte)) {
	t.Helper()
	b := blockdev.Aligned(BlockSize)
	copy(b, d.Peek(int64(slot)*BlockSize, BlockSize))
	edit(b)
	clear(b[16:24])
	binary.LittleEndian.PutUint64(b[16:], xxhash.Sum64(b))
	if _, err := d.WriteAt(b, int64(slot)*BlockSize); err != nil {
		t.Fatal(err)
	}
}

// closedPool is a closed pool with one volume of 64 KiB of 'a', and the slot of its newest superblock.
func closedPool(t testing.TB, checkpoints ...int) (*devtest.Disk, int) {
	t.Helper()
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	write(t, mustVolume(t, p, "disk.raw", 1<<20), fill('a', 64<<10), 0)
	for range checkpoints {
		if err := p.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return d, p.supers.slot
}

func TestNotPool(t *testing.T) {
	garbage := devtest.New(1<<20, 512)
	b := blockdev.Aligned(1 << 20)
	for i := range b {
		b[i] = byte(i*i>>3 + i)
	}
	if _, err := garbage.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*devtest.Disk{
		"empty": devtest.New(0, 512), "one block": devtest.New(BlockSize, 512), "zeros": devtest.New(1<<20, 512), "garbage": garbage,
	} {
		for _, o := range []Options{readOnly(), {Now: newClock().now}} {
			if _, err := Open(d, o); !errors.Is(err, ErrNotPool) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestLaterProgram: what a later program wrote is not passed over for an older superblock.
func TestLaterProgram(t *testing.T) {
	le := binary.LittleEndian
	version := func(b []byte) { le.PutUint32(b[8:], super.Version+1) }
	feature := func(b []byte) { le.PutUint64(b[64:], 0x50) }
	named := func(b []byte) {
		feature(b)
		b[640] = byte(copy(b[641:], "wide runs"))
	}
	for _, c := range []struct {
		name  string
		slots func(newest int) []int
		edit  func([]byte)
		want  error
		text  string
	}{
		{"version", func(n int) []int { return []int{n} }, version, ErrVersion, "version 2"},
		{"version in both", func(n int) []int { return []int{n, 1 - n} }, version, ErrVersion, "version 2"},
		{"feature", func(n int) []int { return []int{n} }, feature, ErrFeature, "0x50"},
		{"feature in both", func(n int) []int { return []int{n, 1 - n} }, feature, ErrFeature, "0x50"},
		{"feature with a name", func(n int) []int { return []int{n} }, named, ErrFeature, `features 0x50 (of "wide runs"): `},
		{"version of the older", func(n int) []int { return []int{1 - n} }, version, nil, ""},
		{"feature of the older", func(n int) []int { return []int{1 - n} }, feature, nil, ""},
	} {
		for _, more := range [][]int{nil, {1}} { // the newest in either slot
			d, newest := closedPool(t, more...)
			for _, slot := range c.slots(newest) {
				editSuper(t, d, slot, c.edit)
			}
			ops := d.Ops()
			p, err := Open(d, readOnly())
			switch {
			case !errors.Is(err, c.want):
				t.Errorf("%s, newest in slot %d: %v", c.name, newest, err)
			case err != nil && !strings.Contains(err.Error(), c.text):
				t.Errorf("%s: %v does not say %s", c.name, err, c.text)
			case err == nil:
				v, err := p.Resolve("disk.raw")
				if err != nil || v.Size != 1<<20 {
					t.Errorf("%s: %+v, %v", c.name, v, err)
				}
			case d.Ops() != ops:
				t.Errorf("%s: the refused pool was written to", c.name)
			}
		}
	}
}

func TestReadOnlyFeature(t *testing.T) {
	d, newest := closedPool(t)
	editSuper(t, d, newest, func(b []byte) {
		b[48], b[56] = 0x81, 0x24 // an unknown compatible feature changes nothing
	})
	ops := d.Ops()
	if _, err := Open(d, Options{Now: newClock().now}); !errors.Is(err, ErrFeature) || !strings.Contains(err.Error(), "0x24") {
		t.Fatalf("open for writing: %v", err)
	}
	p, err := Open(d, readOnly())
	if err != nil {
		t.Fatal(err)
	}
	v := existing(t, p, "disk.raw")
	expect(t, v, 0, fill('a', 64<<10))
	if _, err := v.WriteAt(fill('b', 4096), 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("write: %v", err)
	}
	if err := p.Snapshot(Req{}, []Ino{v.ino}, "no"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("snapshot: %v", err)
	}
	if r, err := p.Check(context.Background()); err != nil || len(r.Errors)+len(r.Leaks) > 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if n := d.Ops() - ops; n > 2 { // the journal syncs when it is opened
		t.Errorf("%d operations on a pool that is read-only", n)
	}
}

func TestCompatibleFeature(t *testing.T) {
	d, newest := closedPool(t)
	editSuper(t, d, newest, func(b []byte) {
		b[48] = 0x81
		b[640] = byte(copy(b[641:], "of later"))
	})
	p := openPool(t, d)
	expect(t, existing(t, p, "disk.raw"), 0, fill('a', 64<<10))
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if b := d.Peek(int64(p.supers.slot)*BlockSize, BlockSize); b[48] != 0x81 || string(b[640:650]) != "\x08of later\x00" {
		t.Errorf("the unknown compatible feature became %#x", b[48])
	}
}

// short is a disk that ends earlier than it did.
type short struct {
	*devtest.Disk
	size int64
}

func (s short) Size() int64 { return s.size }

func (s short) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > s.size {
		return 0, io.ErrUnexpectedEOF
	}
	return s.Disk.ReadAt(p, off)
}

func TestShortDevice(t *testing.T) {
	d, _ := closedPool(t)
	for size := int64(0); size < 4<<20; size += 128 << 10 {
		for _, s := range []int64{size, size + BlockSize, 4<<20 - 1 - size} {
			want := ErrCorrupt
			if s < super.Slots*BlockSize {
				want = ErrNotPool
			}
			if _, err := Open(short{d, s}, readOnly()); !errors.Is(err, want) {
				t.Errorf("device of %d bytes: %v", s, err)
			}
		}
	}
	// A device that says its size and does not have it.
	for size := int64(super.Slots * BlockSize); size < 4<<20; size += 64 << 10 {
		p, err := Open(liar{short{d, size}}, readOnly())
		if err != nil {
			continue
		}
		got := make([]byte, 64<<10)
		if n, err := existing(t, p, "disk.raw").ReadAt(got, 0); err == nil && !bytes.Equal(got[:n], fill('a', n)) {
			t.Errorf("truncated to %d: wrong data", size)
		}
	}
}

type liar struct{ short }

func (l liar) Size() int64 { return l.Disk.Size() }

// TestGeometry: numbers of a superblock that is whole but absurd.
func TestGeometry(t *testing.T) {
	le := binary.LittleEndian
	for name, edit := range map[string]func([]byte){
		"no blocks":             func(b []byte) { le.PutUint64(b[72:], 0) },
		"2^41 blocks":           func(b []byte) { le.PutUint64(b[72:], 1<<41) },
		"2^40 blocks":           func(b []byte) { le.PutUint64(b[72:], 1<<40) },
		"2^64-1 blocks":         func(b []byte) { le.PutUint64(b[72:], ^uint64(0)) },
		"less than there are":   func(b []byte) { le.PutUint64(b[72:], 64) },
		"group of 8":            func(b []byte) { le.PutUint32(b[80:], 8) },
		"group of 100":          func(b []byte) { le.PutUint32(b[80:], 100) },
		"another group":         func(b []byte) { le.PutUint32(b[80:], 512) },
		"group of 2^31":         func(b []byte) { le.PutUint32(b[80:], 1<<31) },
		"extent of 0":           func(b []byte) { le.PutUint32(b[84:], 0) },
		"extent of 1000":        func(b []byte) { le.PutUint32(b[84:], 1000) },
		"ring elsewhere":        func(b []byte) { le.PutUint64(b[88:], 4096) },
		"ring of 2^40":          func(b []byte) { le.PutUint64(b[96:], 1<<40) },
		"ring of 0":             func(b []byte) { le.PutUint64(b[96:], 0) },
		"unit of 0":             func(b []byte) { le.PutUint32(b[104:], 0) },
		"unit of 2^31":          func(b []byte) { le.PutUint32(b[104:], 1<<31) },
		"no window":             func(b []byte) { le.PutUint32(b[108:], 0) },
		"journal outside":       func(b []byte) { le.PutUint64(b[120:], 1<<40) },
		"journal negative":      func(b []byte) { le.PutUint64(b[120:], 1<<63) },
		"journal misaligned":    func(b []byte) { b[120]++ },
		"store root outside":    func(b []byte) { le.PutUint64(b[136:], 1<<50); le.PutUint64(b[144:], 1<<50) },
		"store root none":       func(b []byte) { clear(b[136:168]) },
		"table of height 200":   func(b []byte) { b[168+32] = 200 },
		"table one level up":    func(b []byte) { b[168+32]++ },
		"table as catalog":      func(b []byte) { copy(b[224:280], b[168:224]) },
		"catalog as table":      func(b []byte) { copy(b[168:224], b[224:280]) },
		"catalog of 2^60":       func(b []byte) { le.PutUint64(b[224+40:], 1<<60) },
		"layers above 2^48":     func(b []byte) { le.PutUint64(b[280:], 1<<48) },
		"layer number forgot":   func(b []byte) { le.PutUint64(b[280:], 0) },
		"job number above 2^48": func(b []byte) { le.PutUint64(b[288:], 1<<63) },
		"inode number above":    func(b []byte) { le.PutUint64(b[296:], 1<<56) },
		"inode number forgot":   func(b []byte) { le.PutUint64(b[296:], 1) },
		"long name":             func(b []byte) { b[312] = 255 },
		"no name":               func(b []byte) { b[312] = 0 },
		"name ..":               func(b []byte) { b[312] = 2; copy(b[313:], "..") },
		"name with slash":       func(b []byte) { b[314] = '/' },
	} {
		d, newest := closedPool(t)
		editSuper(t, d, newest, edit)
		editSuper(t, d, 1-newest, func(b []byte) { b[0] = 0 })
		refused(t, name, d)
	}
}
