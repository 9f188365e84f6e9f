package chain

import (
	"context"
	"fmt"
	"runtime/metrics"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// staller writes to a volume of its own, one block at a time and without moving a byte, and notes how long it had to wait.
type staller struct {
	v    *Volume
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	longest stalled
	writes  int
	err     error
}

func startWriter(t testing.TB, p *Pool) *staller {
	t.Helper()
	s := &staller{v: mustVolume(t, p, "beside", 64*BlockSize), stop: make(chan struct{})}
	s.wg.Go(func() {
		for i := int64(0); s.err == nil; i++ {
			select {
			case <-s.stop:
				return
			default:
			}
			w, err := stallOne(s.v, i%64)
			s.mu.Lock()
			if s.writes, s.err = s.writes+1, err; w.all > s.longest.all {
				s.longest = w
			}
			s.mu.Unlock()
			time.Sleep(20 * time.Microsecond)
		}
	})
	return s
}

// during runs fn, and returns the longest that the writer waited meanwhile.
func (s *staller) during(fn func()) (longest stalled, writes int) {
	s.mu.Lock()
	s.longest, s.writes = stalled{}, 0
	s.mu.Unlock()
	fn()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest, s.writes
}

// stalled is how long a write took, and where.
type stalled struct {
	all    time.Duration
	lock   time.Duration                // until it had the plan lock, to be planned
	needs  [needFetch + 1]time.Duration // for what the plan needed
	commit time.Duration                // to be committed, with the wait for the plan lock
	lost   int64                        // how often a thread of this process lost its processor to another one
	gcs    uint64                       // garbage collections that ended meanwhile
}

// stallOne is planOne, with a clock.
func stallOne(v *Volume, lb int64) (w stalled, err error) {
	p := poolOf(v)
	start, lost, gcs := time.Now(), processorsLost(), collections()
	var pl Plan
	for {
		from := time.Now()
		p.mu.Lock()
		w.lock += time.Since(from)
		need, err := v.planCold(&pl, lb*BlockSize, BlockSize)
		p.mu.Unlock()
		if err != nil {
			return w, err
		}
		if need.None() {
			break
		}
		from = time.Now()
		if err := p.Fulfil(context.Background(), need); err != nil {
			return w, err
		}
		w.needs[need.kind] += time.Since(from)
	}
	from := time.Now()
	err = pl.Commit(pl.Len)
	w.commit, w.all = time.Since(from), time.Since(start)
	w.lost, w.gcs = processorsLost()-lost, collections()-gcs
	return w, err
}

// causes says where a long write was.
func (w *stalled) causes() string {
	if w.all < 5*time.Millisecond {
		return ""
	}
	var out []string
	add := func(what string, d time.Duration) {
		if d >= 100*time.Microsecond {
			out = append(out, fmt.Sprintf("%s %v", what, d.Round(time.Microsecond)))
		}
	}
	rest := w.all - w.lock - w.commit
	add("plan lock", w.lock)
	for kind, d := range w.needs {
		add(map[needKind]string{
			needPage: "page of a map", needPlan: "another plan", needBlocks: "clean blocks", needRoom: "room of the journal", needSpace: "space",
			needExtension: "growth", needStore: "pages", needFetch: "page",
		}[needKind(kind)], d)
		rest -= d
	}
	add("commit", w.commit)
	add("else", rest)
	return fmt.Sprintf(" [%s; %d times a thread lost its processor to another process, %d collections]", strings.Join(out, ", "), w.lost, w.gcs)
}

// processorsLost is how often threads of this process lost their processor to another one that wanted it.
func processorsLost() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Nivcsw
}

// collections is how many garbage collections have ended.
func collections() uint64 {
	s := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
