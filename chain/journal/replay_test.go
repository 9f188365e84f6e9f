package journal

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// written returns a ring with n batches behind from, and the position after each.
func written(t testing.TB, from Pos, n int) (Config, *disk, []Pos, [][]byte) {
	t.Helper()
	c, d := testRing(512, 16)
	j, _ := mustOpen(t, c, from)
	pos := []Pos{from}
	var payloads [][]byte
	for i := range n {
		payloads = append(payloads, fill(i, 100+300*i))
		pos = append(pos, mustAppend(t, j, payloads[i]))
	}
	return c, d, pos, payloads
}

// Every byte of every batch rots in turn.
func TestRottenBatch(t *testing.T) {
	from := Pos{Seq: 8, Off: 13 * 512, Sum: 5}
	c, d, pos, payloads := written(t, from, 5)
	for i := range payloads {
		size := headerSize + len(payloads[i])
		for k := 0; k < size+1; k++ {
			at := c.Off + (pos[i].Off+int64(k))%c.Size
			d.current[at] ^= 0x10
			_, got, err := replayed(c, from)
			d.current[at] ^= 0x10
			var hole *HoleError
			switch {
			case k == size: // padding
				if err != nil || len(got) != len(payloads) {
					t.Fatalf("batch %d: rotten padding: %v, %d batches", i, err, len(got))
				}
				continue
			case i == len(payloads)-1:
				if err != nil {
					t.Fatalf("last batch, byte %d: %v", k, err)
				}
			case !errors.As(err, &hole) || !errors.Is(err, ErrCorrupt):
				t.Fatalf("batch %d byte %d: %v, want a hole", i, k, err)
			case *hole != HoleError{pos[i].Seq + 1, pos[i].Off, pos[i].Seq + 2, pos[i+1].Off}:
				t.Fatalf("batch %d byte %d: %v", i, k, err)
			}
			wantBatches(t, got, from.Seq+1, payloads[:i])
		}
	}
}

// A valid batch with the right number that does not continue the chain.
func TestBrokenChain(t *testing.T) {
	c, _, pos, _ := written(t, Pos{}, 3)
	bad := pos[1]
	bad.Sum++
	_, got, err := replayed(c, bad)
	var hole *HoleError
	if !errors.As(err, &hole) || hole.Seq != 2 || hole.LaterSeq != 2 || len(got) != 0 {
		t.Fatalf("%d batches, %v", len(got), err)
	}
}

// A batch that continues the chain by its predecessor's checksum, not by its number.
func TestWrongNumber(t *testing.T) {
	c, _, _, _ := written(t, Pos{}, 1)
	j, got := mustOpen(t, c, Pos{Seq: 5})
	wantBatches(t, got, 6, nil)
	if j.Pos() != (Pos{Seq: 5}) {
		t.Fatalf("%+v", j.Pos())
	}
}

// The later batch stands in the last unit before the bad one, going round.
func TestLaterBatchInLastUnit(t *testing.T) {
	c, _, _, _ := written(t, Pos{}, 1)
	_, _, err := replayed(c, Pos{Off: 512})
	var hole *HoleError
	if !errors.As(err, &hole) || *hole != (HoleError{Seq: 1, Off: 512, LaterSeq: 1, LaterOff: 0}) {
		t.Fatal(err)
	}
}

// A superblock older than the journal's oldest batch.
func TestOverwrittenStart(t *testing.T) {
	c, _ := testRing(512, 8)
	j, _ := mustOpen(t, c, Pos{})
	for i := range 50 {
		p := mustAppend(t, j, fill(i, 600))
		j.Release(p)
	}
	for from := range uint64(45) {
		_, got, err := replayed(c, Pos{Seq: from, Off: int64(from) * 1024 % c.Size})
		var hole *HoleError
		if !errors.As(err, &hole) || hole.Seq != from+1 || len(got) != 0 {
			t.Fatalf("from %d: %d batches, %v", from, len(got), err)
		}
	}
}

// Batches of earlier laps stand at the very place and do not count.
func TestOldLaps(t *testing.T) {
	c, _ := testRing(512, 6)
	j, _ := mustOpen(t, c, Pos{})
	for i := range 40 {
		j.Release(mustAppend(t, j, fill(i, 100+i%2*512)))
		j2, got := mustOpen(t, c, j.Pos())
		wantBatches(t, got, 0, nil)
		if j2.Pos() != j.Pos() || j2.Used() != 0 {
			t.Fatalf("lap %d: %+v used %d", i, j2.Pos(), j2.Used())
		}
	}
}

func TestOtherSaltIsIgnored(t *testing.T) {
	c, _, _, _ := written(t, Pos{}, 4)
	c.Salt++
	j, got := mustOpen(t, c, Pos{})
	wantBatches(t, got, 1, nil)
	payload := fill(9, 50)
	mustAppend(t, j, payload)
	_, got = mustOpen(t, c, Pos{})
	wantBatches(t, got, 1, [][]byte{payload})
}

func TestOtherVersion(t *testing.T) {
	c, d, pos, payloads := written(t, Pos{}, 2)
	b := d.current[c.Off+pos[1].Off:][:headerSize+len(payloads[1])]
	binary.LittleEndian.PutUint32(b[8:], 2)
	if _, got, err := replayed(c, Pos{}); err != nil || len(got) != 1 {
		t.Fatalf("bad checksum: %d batches, %v", len(got), err)
	}
	binary.LittleEndian.PutUint64(b[sumOffset:], checksum(b, c.Salt))
	_, got, err := replayed(c, Pos{})
	var version *VersionError
	if !errors.As(err, &version) || !errors.Is(err, ErrCorrupt) || len(got) != 1 {
		t.Fatalf("good checksum: %d batches, %v", len(got), err)
	}
	if *version != (VersionError{Seq: 2, Off: pos[1].Off, Version: 2}) || !strings.Contains(err.Error(), "version 2, want 1") {
		t.Fatal(err)
	}
}

func TestErrorsEndOpen(t *testing.T) {
	c, d, pos, _ := written(t, Pos{}, 3)
	boom := errors.New("boom")
	calls := 0
	_, err := Open(c, Pos{}, func(b Batch) error {
		if calls++; b.Seq == 2 {
			return boom
		}
		return nil
	})
	if !errors.Is(err, boom) || errors.Is(err, ErrCorrupt) || calls != 2 {
		t.Fatalf("fn: %v after %d calls", err, calls)
	}
	for _, kind := range []string{"read", "sync"} {
		d.fail = func(k string) error {
			if k == kind {
				return boom
			}
			return nil
		}
		if _, _, err := replayed(c, Pos{}); !errors.Is(err, boom) || errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	d.fail = nil
	for _, off := range []int64{-512, 1, c.Size, c.Size + 512} {
		if _, _, err := replayed(c, Pos{Seq: 3, Off: off, Sum: pos[3].Sum}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("offset %d: %v", off, err)
		}
	}
	if d.violated != nil {
		t.Fatal(d.violated)
	}
}

func TestReadErrorWhileLookingForLater(t *testing.T) {
	c := Config{Off: 0, Size: 3 * windowSize, Unit: 4096}
	d := newDisk(c, rand.New(rand.NewPCG(1, 1)))
	c.Dev = d
	boom := errors.New("boom")
	for bad := 1; bad <= 3; bad++ {
		d.reads = 0
		d.fail = func(kind string) error {
			if kind == "read" && d.reads == bad {
				return boom
			}
			return nil
		}
		if _, _, err := replayed(c, Pos{}); !errors.Is(err, boom) {
			t.Fatalf("read %d: %v", bad, err)
		}
	}
}

func TestBadConfig(t *testing.T) {
	good, _ := testRing(512, 4)
	for want, change := range map[string]func(*Config){
		"no device": func(c *Config) { c.Dev = nil },
		"unit":      func(c *Config) { c.Unit = 1024 },
		"offset":    func(c *Config) { c.Off = 100 },
		"offset -":  func(c *Config) { c.Off = -512 },
		"size":      func(c *Config) { c.Size = 0 },
		"size 7":    func(c *Config) { c.Size = 700 },
		"size 1":    func(c *Config) { c.Size = MaxSize + 512 },
		"overflow":  func(c *Config) { c.Off = 1<<63 - 512 },
	} {
		c := good
		change(&c)
		if _, _, err := replayed(c, Pos{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Open reads the ring in large pieces however small the batches are, also where a
// batch straddles two pieces or is larger than one.
func TestOpenReadsLargePieces(t *testing.T) {
	c := Config{Off: 4096, Size: 8 << 20, Unit: 512, Salt: 3}
	d := newDisk(c, rand.New(rand.NewPCG(5, 5)))
	c.Dev = d
	from := Pos{Off: 5<<20 + 512}
	j, _ := mustOpen(t, c, from)
	var payloads [][]byte
	for i := 0; j.Used() < 6<<20; i++ {
		n := 100 + i%5*400
		if i == 100 {
			n = windowSize + 12345
		}
		payloads = append(payloads, fill(i, n))
		mustAppend(t, j, payloads[i])
	}
	d.reads = 0
	_, got := mustOpen(t, c, from)
	wantBatches(t, got, 1, payloads)
	if d.reads > 14 {
		t.Fatalf("%d reads for a ring of 8 MiB with %d batches", d.reads, len(payloads))
	}
}
