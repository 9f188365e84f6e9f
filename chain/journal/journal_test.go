package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestAppendAndReplay(t *testing.T) {
	for _, unit := range []int{512, 4096} {
		c, _ := testRing(unit, 64)
		j, got := mustOpen(t, c, Pos{})
		wantBatches(t, got, 1, nil)
		var payloads [][]byte
		var middle Pos
		for i, n := range []int{0, 1, unit - headerSize, unit - headerSize + 1, 5 * unit, 17} {
			payloads = append(payloads, fill(i, n))
			p := mustAppend(t, j, payloads[i])
			if i == 2 {
				middle = p
			}
		}
		if want := int64((1 + 1 + 1 + 2 + 6 + 1) * unit); j.Used() != want || j.Size() != c.Size {
			t.Fatalf("used %d of %d, want %d", j.Used(), j.Size(), want)
		}
		j2, got := mustOpen(t, c, Pos{})
		wantBatches(t, got, 1, payloads)
		if j2.Pos() != j.Pos() || j2.Used() != j.Used() || j2.Room() != j.Room() {
			t.Fatalf("reopened: %+v used %d, want %+v used %d", j2.Pos(), j2.Used(), j.Pos(), j.Used())
		}
		_, got = mustOpen(t, c, middle)
		wantBatches(t, got, 4, payloads[3:])
	}
}

// Every start offset, with batches of every size up to the whole ring.
func TestWrapAtAllOffsets(t *testing.T) {
	const units = 7
	for start := range units {
		for length := range units {
			c, _ := testRing(512, units)
			from := Pos{Seq: 41, Off: int64(start) * 512, Sum: 99}
			j, _ := mustOpen(t, c, from)
			var payloads [][]byte
			for i := 0; ; i++ {
				payload := fill(i, length*512+100)
				if j.Room() < int64(len(payload)) {
					break
				}
				payloads = append(payloads, payload)
				mustAppend(t, j, payload)
			}
			if j.Room() >= 0 && j.Size()-j.Used() >= 512 {
				payloads = append(payloads, fill(77, int(j.Room())))
				mustAppend(t, j, payloads[len(payloads)-1])
			}
			if j.Used() != j.Size() || j.Room() != 0 {
				t.Fatalf("start %d length %d: used %d, room %d", start, length, j.Used(), j.Room())
			}
			j2, got := mustOpen(t, c, from)
			wantBatches(t, got, 42, payloads)
			if j2.Pos() != j.Pos() || j2.Used() != j.Used() {
				t.Fatalf("start %d length %d: reopened at %+v, want %+v", start, length, j2.Pos(), j.Pos())
			}
		}
	}
}

func TestRoomIsExact(t *testing.T) {
	c, d := testRing(512, 8)
	for n := range 8 {
		j, _ := mustOpen(t, c, Pos{Off: 5 * 512})
		for i := range n {
			mustAppend(t, j, fill(i, 10))
		}
		room, ops := j.Room(), d.ops
		if want := int64(8-n)*512 - headerSize; room != want {
			t.Fatalf("%d batches: room %d, want %d", n, room, want)
		}
		if _, err := j.Append(1, make([]byte, room+1)); !errors.Is(err, ErrFull) || d.ops != ops {
			t.Fatalf("%d batches: one byte too many: %v, %d ops", n, err, d.ops-ops)
		}
		mustAppend(t, j, make([]byte, room))
		if _, err := j.Append(1, nil); !errors.Is(err, ErrFull) {
			t.Fatalf("an empty batch in a full ring: %v", err)
		}
		d = newDisk(c, d.rng)
		c.Dev = d
	}
}

func TestRelease(t *testing.T) {
	c, _ := testRing(512, 4)
	j, _ := mustOpen(t, c, Pos{})
	var pos [4]Pos
	for i := range pos {
		pos[i] = mustAppend(t, j, fill(i, 9))
	}
	steps := []struct {
		p    Pos
		used int64
	}{{Pos{}, 4}, {pos[0], 3}, {pos[2], 1}, {pos[1], 1}, {pos[2], 1}, {pos[3], 0}, {pos[3], 0}}
	for i, s := range steps {
		j.Release(s.p)
		if j.Used() != s.used*512 {
			t.Fatalf("step %d: used %d, want %d units", i, j.Used(), s.used)
		}
	}
	// The full ring in one batch, released whole: same offset, other number.
	p := mustAppend(t, j, make([]byte, j.Room()))
	if p.Off != pos[3].Off || j.Used() != j.Size() {
		t.Fatalf("one batch of the whole ring: %+v used %d", p, j.Used())
	}
	j.Release(p)
	if j.Used() != 0 {
		t.Fatalf("used %d after the release of everything", j.Used())
	}
	mustPanic(t, func() { j.Release(Pos{Seq: p.Seq + 1}) })
	p = mustAppend(t, j, nil)
	mustPanic(t, func() { j.Release(Pos{Seq: p.Seq, Off: p.Off, Sum: p.Sum + 1}) })
	mustAppend(t, j, nil)
	mustPanic(t, func() { j.Release(Pos{Seq: p.Seq, Off: p.Off + 512}) })
	j.Release(p)
	if j.Used() != 512 {
		t.Fatalf("used %d, want one unit", j.Used())
	}
}

func TestClose(t *testing.T) {
	c, _ := testRing(512, 4)
	j, _ := mustOpen(t, c, Pos{})
	mustAppend(t, j, nil)
	j.Close()
	if _, err := j.Append(1, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after Close: %v", err)
	}
	if j.Pos().Seq != 1 {
		t.Fatalf("Close moved the position to %+v", j.Pos())
	}
}

// An Append that fails is the last one, and the next Open finds its batch whole or
// not at all.
func TestFailedAppendIsFinal(t *testing.T) {
	for _, kind := range []string{"write", "sync"} {
		for seed := range uint64(20) {
			c, d := testRing(512, 16)
			d.rng = rand.New(rand.NewPCG(seed, 0))
			j, _ := mustOpen(t, c, Pos{Off: 14 * 512})
			payloads := [][]byte{fill(0, 100), fill(1, 2000)}
			mustAppend(t, j, payloads[0])
			boom := errors.New("boom")
			d.fail = func(k string) error {
				if k == kind {
					return boom
				}
				return nil
			}
			_, err := j.Append(payloadGen(payloads[1]), payloads[1])
			if !errors.Is(err, boom) {
				t.Fatalf("%s: %v", kind, err)
			}
			d.fail = nil
			ops := d.ops
			if _, err := j.Append(1, nil); !errors.Is(err, boom) || d.ops != ops {
				t.Fatalf("%s: the next append: %v, %d ops", kind, err, d.ops-ops)
			}
			j.Close()
			if _, err := j.Append(1, nil); !errors.Is(err, boom) {
				t.Fatalf("%s: Close hides the reason: %v", kind, err)
			}
			c.Dev = d.powerLoss()
			_, got := mustOpen(t, c, Pos{Off: 14 * 512})
			wantBatches(t, got, 1, payloads[:min(max(len(got), 1), 2)])
		}
	}
}

// shortDisk transfers less than it was asked for and says nothing.
type shortDisk struct{ *disk }

func (s shortDisk) WriteAt(p []byte, off int64) (int, error) {
	n, err := s.disk.WriteAt(p, off)
	return n - 1, err
}

func TestShortWriteIsAnError(t *testing.T) {
	c, d := testRing(512, 4)
	c.Dev = shortDisk{d}
	j, _ := mustOpen(t, c, Pos{})
	if _, err := j.Append(1, nil); err == nil {
		t.Fatal("a short write was taken for a whole one")
	}
}

func TestConcurrentAppends(t *testing.T) {
	c, _ := testRing(512, 512)
	j, _ := mustOpen(t, c, Pos{})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				p, err := j.Append(uint64(g), fmt.Appendf(nil, "%d/%d", g, i))
				if err != nil {
					t.Error(err)
					return
				}
				if i%10 == 0 {
					j.Release(p)
				}
				if j.Used()+j.Room() > j.Size() || j.Pos().Seq < p.Seq {
					t.Errorf("used %d room %d at %+v", j.Used(), j.Room(), j.Pos())
				}
			}
		})
	}
	wg.Wait()
	if j.Pos().Seq != 400 {
		t.Fatalf("400 appends ended at %+v", j.Pos())
	}
	_, got := mustOpen(t, c, Pos{})
	next := map[uint64]int{}
	for i, b := range got {
		want := fmt.Sprintf("%d/%d", b.Gen, next[b.Gen])
		if b.Seq != uint64(i+1) || string(b.Payload) != want {
			t.Fatalf("batch %d: seq %d %q, want %q", i, b.Seq, b.Payload, want)
		}
		next[b.Gen]++
	}
	if len(got) != 400 {
		t.Fatalf("replayed %d batches", len(got))
	}
}
