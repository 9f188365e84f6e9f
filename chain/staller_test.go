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

	"golang.org/x/sys/unix"
)

// staller writes to a volume of its own, one block at a time and without moving a byte, and notes how long it had to wait.
type staller struct {
	v    *Volume
	stop chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	longest stalled
	ran     time.Duration // the most that this process ran during one write
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
			s.ran = max(s.ran, min(w.ran, w.all))
			s.mu.Unlock()
			time.Sleep(20 * time.Microsecond)
		}
	})
	return s
}

// during runs fn, and returns the longest that the writer waited meanwhile, and a verdict on that.
func (s *staller) during(fn func()) (longest stalled, writes int, verdict string) {
	s.mu.Lock()
	s.longest, s.ran, s.writes = stalled{}, 0, 0
	s.mu.Unlock()
	fn()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.longest, s.writes, stallVerdict(s.longest.all, s.ran)
}

// stallGoal is how long a writer should wait at most, on an idle machine.
const stallGoal = 5 * time.Millisecond

// stallVerdict tells what a lock cost from what the scheduler took: who holds a lock and does not run lets others wait, and needs no
// mending. While the longest write took, all of this process ran no longer than ran; so the lock was held for no more.
func stallVerdict(longest, ran time.Duration) string {
	switch {
	case longest <= stallGoal:
		return fmt.Sprintf("goal %v: kept", stallGoal)
	case ran <= stallGoal:
		return fmt.Sprintf("goal %v: kept but for the scheduler: this process ran %v of that", stallGoal, ran.Round(time.Microsecond))
	}
	return fmt.Sprintf("goal %v: MISSED: this process ran %v of that", stallGoal, ran.Round(time.Microsecond))
}

func TestStallVerdict(t *testing.T) {
	for _, c := range []struct {
		longest, ran time.Duration
		want         string
	}{
		{stallGoal, stallGoal, "kept"},
		{2 * stallGoal, stallGoal, "kept but for"},
		{2 * stallGoal, stallGoal + 1, "MISSED"},
	} {
		if got := stallVerdict(c.longest, c.ran); !strings.Contains(got, ": "+c.want) {
			t.Errorf("%v, of which it ran %v: %s", c.longest, c.ran, got)
		}
	}
	start, ran := time.Now(), processRan()
	for time.Since(start) < time.Millisecond {
		continue // it runs
	}
	busy := processRan() - ran
	time.Sleep(20 * time.Millisecond)
	if idle := processRan() - ran - busy; busy <= 0 || idle < 0 {
		t.Errorf("this process ran %v, and %v while it slept", busy, idle)
	}
}

// stalled is how long a write took, and where.
type stalled struct {
	all    time.Duration
	lock   time.Duration                // until it had the plan lock, to be planned
	needs  [needFetch + 1]time.Duration // for what the plan needed
	commit time.Duration                // to be committed, with the wait for the plan lock
	ran    time.Duration                // how long this process ran meanwhile, all threads together
	lost   int64                        // how often a thread of this process lost its processor to another one
	gcs    uint64                       // garbage collections that ended meanwhile
}

// stallOne is planOne, with a clock.
func stallOne(v *Volume, lb int64) (w stalled, err error) {
	p := poolOf(v)
	start, ran, lost, gcs := time.Now(), processRan(), processorsLost(), collections()
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
	w.ran, w.lost, w.gcs = processRan()-ran, processorsLost()-lost, collections()-gcs
	return w, err
}

// causes says where a long write was.
func (w *stalled) causes() string {
	if w.all <= stallGoal {
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
	return fmt.Sprintf(" [%s; %d times a thread lost its processor, %d collections]", strings.Join(out, ", "), w.lost, w.gcs)
}

// processRan is how long the threads of this process have run.
func processRan() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
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
