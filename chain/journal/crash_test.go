package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// world is a journal with what it must hold: the superblock's position and all
// payloads after it.
type world struct {
	t        *testing.T
	config   Config
	disk     *disk
	rng      *rand.Rand
	from     Pos      // durable in the superblock
	payloads [][]byte // acknowledged after from
	inFlight []byte   // the batch whose Append returned an error, nil for none
}

// run does a workload of n steps until the power goes; true when it did not.
func (w *world) run(j *Journal, n int) bool {
	for range n {
		if w.rng.IntN(5) == 0 {
			w.from, w.payloads = j.Pos(), nil
			j.Release(w.from)
		}
		payload := fill(w.rng.IntN(1<<30), w.rng.IntN(3*512))
		_, err := j.Append(payloadGen(payload), payload)
		switch {
		case err == nil:
			w.payloads = append(w.payloads, payload)
		case errors.Is(err, ErrFull):
			w.from, w.payloads = j.Pos(), nil
			j.Release(w.from)
		case errors.Is(err, errCrashed):
			w.inFlight = payload
			return false
		default:
			w.t.Fatal(err)
		}
	}
	return true
}

// reopen replays on the disk d; nil when the power goes in Open.
func (w *world) reopen(d *disk, crashAt int) *Journal {
	w.t.Helper()
	w.disk = d
	d.crashAt = crashAt
	w.config.Dev = d
	j, got, err := replayed(w.config, w.from)
	if err != nil && !errors.Is(err, errCrashed) {
		w.t.Fatal(err)
	}
	if w.inFlight != nil && len(got) == len(w.payloads)+1 {
		w.payloads = append(w.payloads, w.inFlight)
	}
	if err == nil {
		w.inFlight = nil
	}
	wantBatches(w.t, got, w.from.Seq+1, w.payloads)
	if err != nil {
		return nil
	}
	return j
}

// The power goes at every write and sync; then again at each of the next ones, at
// the same place of the ring; and the journal goes on after that.
func TestCrashAtEveryOp(t *testing.T) {
	const steps = 25
	lost, kept := 0, 0
	for k := 1; ; k++ {
		finished := false
		for second := 1; second <= 4; second++ {
			seed := uint64(k*10 + second)
			rng := rand.New(rand.NewPCG(seed, 3))
			c := Config{Off: 4096, Size: 16 * 512, Unit: 512, Salt: seed}
			w := &world{t: t, config: c, rng: rng}
			name := fmt.Sprintf("k=%d second=%d seed=%d", k, second, seed)

			ok := false
			if j := w.reopen(newDisk(c, rng), k); j != nil {
				ok = w.run(j, steps)
			}
			if ok {
				finished = true
				break
			}
			acked, hadInFlight := len(w.payloads), w.inFlight != nil
			if j := w.reopen(w.disk.powerLoss(), second); j != nil && w.run(j, steps) {
				t.Fatalf("%s: the second crash did not come", name)
			}
			if hadInFlight && len(w.payloads) > acked {
				kept++
			} else {
				lost++
			}
			j := w.reopen(w.disk.powerLoss(), 0)
			if !w.run(j, steps) {
				t.Fatalf("%s: no third life", name)
			}
			w.reopen(w.disk.powerLoss(), 0)
		}
		if finished {
			if k < 2*steps {
				t.Fatalf("the workload has %d ops only", k)
			}
			break
		}
	}
	if lost == 0 || kept == 0 {
		t.Fatalf("in-flight batches lost %d, kept %d: the disk does not tear", lost, kept)
	}
}

// A process dies between a batch's write and its sync. The next process reads the
// batch; from then on no power loss takes it away, and none makes a hole.
func TestReplayedBatchIsDurable(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 4))
		c, d := testRing(512, 16)
		d.rng = rng
		j, _ := mustOpen(t, c, Pos{})
		payloads := [][]byte{fill(0, 700), fill(1, 1700), fill(2, 900)}
		mustAppend(t, j, payloads[0])
		d.fail = func(kind string) error {
			if kind == "sync" {
				return errCrashed
			}
			return nil
		}
		if _, err := j.Append(payloadGen(payloads[1]), payloads[1]); !errors.Is(err, errCrashed) {
			t.Fatal(err)
		}

		d = d.killed()
		c.Dev = d
		j, got := mustOpen(t, c, Pos{})
		wantBatches(t, got, 1, payloads[:2])
		d.crashAt = d.ops + 1 + int(seed%2)
		if _, err := j.Append(payloadGen(payloads[2]), payloads[2]); !errors.Is(err, errCrashed) {
			t.Fatal(err)
		}
		c.Dev = d.powerLoss()
		_, got = mustOpen(t, c, Pos{})
		wantBatches(t, got, 1, payloads[:min(max(len(got), 2), 3)])
	}
}
