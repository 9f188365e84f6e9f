package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"testing"
)

var writeGolden = flag.Bool("write-golden", false, "make the golden file of a new version; never of an old one")

const goldenFile = "testdata/ring-v1.bin"

// golden is a ring of 6 units with batches 1 to 4, of which 1 is released and
// overwritten by 4, which wraps.
func golden(t *testing.T) (Config, *disk, Pos, [][]byte) {
	c := Config{Size: 6 * 512, Unit: 512, Salt: 0x0123456789abcdef}
	d := newDisk(c, rand.New(rand.NewPCG(0, 0)))
	clear(d.current)
	c.Dev = d
	j, _ := mustOpen(t, c, Pos{})
	first := mustAppend(t, j, []byte("first"))
	j.Release(first)
	payloads := [][]byte{
		bytes.Repeat([]byte("two."), 200),
		{},
		bytes.Repeat([]byte("four"), 250),
	}
	for _, p := range payloads {
		mustAppend(t, j, p)
	}
	return c, d, first, payloads
}

func TestGolden(t *testing.T) {
	c, d, from, payloads := golden(t)
	if *writeGolden {
		if err := os.WriteFile(goldenFile, d.current[:c.Size], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(d.current[:c.Size], want) {
		t.Fatal("the ring differs from the golden file: a version is never edited, only added")
	}
	if string(want[512:520]) != "slatejnl" || want[512+8] != 1 || want[512+12] != 0x20 || want[512+13] != 3 ||
		want[512+16] != 2 || string(want[512+48:512+52]) != "two." {
		t.Fatalf("header of batch 2: % x", want[512:512+52])
	}
	copy(d.current, want)
	_, got := mustOpen(t, c, from)
	wantBatches(t, got, 2, payloads)
}

func TestPosBinary(t *testing.T) {
	p := Pos{Seq: 0x0102030405060708, Off: 0x1112131415161718, Sum: 0xa1a2a3a4a5a6a7a8}
	b, err := p.MarshalBinary()
	want := []byte{
		8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
		0xa8, 0xa7, 0xa6, 0xa5, 0xa4, 0xa3, 0xa2, 0xa1,
	}
	if err != nil || !bytes.Equal(b, want) || len(b) != PosSize {
		t.Fatalf("% x, %v", b, err)
	}
	var q Pos
	if err := q.UnmarshalBinary(b); err != nil || q != p {
		t.Fatalf("%+v, %v", q, err)
	}
	b[15] |= 0x80
	for _, bad := range [][]byte{nil, b, b[:23], append(bytes.Clone(want), 0)} {
		if err := q.UnmarshalBinary(bad); !errors.Is(err, ErrCorrupt) || q != p {
			t.Fatalf("% x: %v", bad, err)
		}
	}
}

// FuzzOpen puts any bytes in the ring and, where they look like batches, makes the
// checksums right, so that the fuzzer gets behind them.
func FuzzOpen(f *testing.F) {
	for n := range 5 {
		c, d, pos, _ := written(f, Pos{}, n)
		f.Add(d.current[c.Off:c.Off+c.Size], uint64(0), uint16(0), uint64(0))
		f.Add(d.current[c.Off:c.Off+c.Size], pos[n].Seq, uint16(pos[n].Off/512), pos[n].Sum)
	}
	f.Fuzz(func(t *testing.T, data []byte, seq uint64, unit uint16, sum uint64) {
		const units = 16
		c := Config{Off: 512, Size: units * 512, Unit: 512, Salt: 0x5a17}
		d := newDisk(c, rand.New(rand.NewPCG(0, 0)))
		c.Dev = d
		place := d.current[c.Off : c.Off+c.Size]
		clear(place)
		copy(place, data)
		repairSums(place, c.Salt)
		from := Pos{Seq: seq, Off: int64(unit%units) * 512, Sum: sum}

		j, got, err := replayed(c, from)
		for i, b := range got {
			if b.Seq != seq+uint64(i)+1 || len(b.Payload) > units*512-headerSize {
				t.Fatalf("batch %d after %d: seq %d, %d bytes", i, seq, b.Seq, len(b.Payload))
			}
		}
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if j.Used() > j.Size() {
			t.Fatalf("used %d of %d", j.Used(), j.Size())
		}
		if j.Size()-j.Used() >= 512 && j.Pos().Seq+1 != 0 {
			mustAppend(t, j, fill(1, int(j.Room())))
			j2, again := mustOpen(t, c, from)
			if len(again) != len(got)+1 || j2.Pos() != j.Pos() {
				t.Fatalf("after an append: %d batches at %+v, want %d at %+v", len(again), j2.Pos(), len(got)+1, j.Pos())
			}
		}
	})
}

// repairSums recomputes the checksum of every batch in the ring that does not wrap,
// and chains each to the one before it.
func repairSums(place []byte, salt uint64) {
	prev := uint64(0)
	for off := 0; off < len(place); off += 512 {
		h, ok := decodeHeader(place[off:])
		if !ok || int64(h.length) > int64(len(place)-off-headerSize) {
			continue
		}
		b := place[off : off+headerSize+int(h.length)]
		if h.gen%2 == 0 {
			binary.LittleEndian.PutUint64(b[32:], prev)
		}
		prev = checksum(b, salt)
		binary.LittleEndian.PutUint64(b[sumOffset:], prev)
	}
}
