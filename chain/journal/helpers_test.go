package journal

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// testRing is a ring of units at an odd place of a fresh disk full of noise.
func testRing(unit, units int) (Config, *disk) {
	c := Config{Off: 3 * 4096, Size: int64(unit * units), Unit: unit, Salt: 0x5a17}
	d := newDisk(c, rand.New(rand.NewPCG(1, 2)))
	c.Dev = d
	return c, d
}

// replayed opens and returns copies of the batches that fn was given.
func replayed(c Config, from Pos) (*Journal, []Batch, error) {
	var got []Batch
	j, err := Open(c, from, func(b Batch) error {
		b.Payload = bytes.Clone(b.Payload)
		got = append(got, b)
		return nil
	})
	return j, got, err
}

func mustOpen(t testing.TB, c Config, from Pos) (*Journal, []Batch) {
	t.Helper()
	j, got, err := replayed(c, from)
	if err != nil {
		t.Fatal(err)
	}
	return j, got
}

func mustAppend(t testing.TB, j *Journal, payload []byte) Pos {
	t.Helper()
	p, err := j.Append(payloadGen(payload), payload)
	if err != nil {
		t.Fatal(err)
	}
	if p != j.Pos() {
		t.Fatalf("Append returned %+v, Pos is %+v", p, j.Pos())
	}
	return p
}

// payloadGen ties the generation to the payload, so that a mix-up shows.
func payloadGen(payload []byte) uint64 { return uint64(len(payload)) + 7 }

// fill returns n bytes that differ for every i.
func fill(i, n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
	for k := range b {
		b[k] = byte(rng.Uint32())
	}
	return b
}

// wantBatches compares what replay gave with payloads, the first of which has
// number first.
func wantBatches(t testing.TB, got []Batch, first uint64, payloads [][]byte) {
	t.Helper()
	if len(got) != len(payloads) {
		t.Fatalf("replayed %d batches, want %d", len(got), len(payloads))
	}
	for i, b := range got {
		if b.Seq != first+uint64(i) || b.Gen != payloadGen(payloads[i]) || !bytes.Equal(b.Payload, payloads[i]) {
			t.Fatalf("batch %d: seq %d gen %d %d bytes, want seq %d gen %d %d bytes", i, b.Seq, b.Gen,
				len(b.Payload), first+uint64(i), payloadGen(payloads[i]), len(payloads[i]))
		}
	}
}

func mustPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	f()
}
