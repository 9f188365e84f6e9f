package erase

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/atomic"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

// What the queue does not take is kept, and reported when it does; nothing is zeroed twice, and other jobs go on.
func TestReportThatFailsIsTriedAgain(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		var well atomic.Bool
		b.q.fault = func(job uint64) error {
			if job == 1 && !well.Load() {
				return fault.Mark(fault.Transient, errFake)
			}
			return nil
		}
		b.q.add(1, ext(0, 100))
		b.start(t)
		synctest.Wait()
		b.q.add(2, ext(1000, 100))
		time.Sleep(10 * time.Second)
		s := b.Stats()
		if s.Background != 100*blockBytes || s.Kept != 100*blockBytes || s.Pending != s.Kept || !errors.Is(s.Trouble, errFake) {
			t.Errorf("%+v", s)
		}
		if n := s.Errors.Report; n < 3 || n > 6 { // at 0, 1, 3 and 7 s
			t.Errorf("%d reports failed in 10 s", n)
		}
		if n := b.dev.total(); n != 200*blockBytes {
			t.Errorf("%d bytes zeroed: something twice", n)
		}
		well.Store(true)
		time.Sleep(lastRetry)
		if s := b.Stats(); s.Background != 200*blockBytes || s.Kept+s.Pending != 0 || s.Trouble != nil {
			t.Errorf("after the trouble: %+v", s)
		}
		if n := b.dev.total(); n != 200*blockBytes {
			t.Errorf("%d bytes zeroed: something twice", n)
		}
		if err := b.stop(); err != nil || len(b.q.out) != 0 {
			t.Errorf("Run: %v; handed out still: %v", err, b.q.out)
		}
	})
}

// No more is zeroed than may be kept while no report is taken, in the background and on demand; Now says why.
func TestKeptIsBounded(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		var well atomic.Bool
		b.q.fault = func(uint64) error {
			if !well.Load() {
				return fault.Mark(fault.Transient, errFake)
			}
			return nil
		}
		b.q.add(1, blockdev.Extent{Len: 4 * flushBytes})
		b.start(t)
		time.Sleep(time.Hour)
		if n := b.dev.total(); n < flushBytes || n > flushBytes+maxStepBytes {
			t.Errorf("%d bytes zeroed for nothing", n)
		}
		if n, err := b.Now(t.Context(), blockBytes); n != 0 || !errors.Is(err, errFake) {
			t.Errorf("Now = %d, %v", n, err)
		}
		if n := b.dev.total(); n > flushBytes+maxStepBytes {
			t.Errorf("%d bytes zeroed for nothing", n)
		}
		well.Store(true)
		if n, err := b.Now(t.Context(), blockBytes); n < flushBytes || err != nil { // before its time: somebody waits
			t.Errorf("Now = %d, %v", n, err)
		}
		b.drained(t, 4*flushBytes)
	})
}

// What the queue will never take is given back.
func TestReportThatIsRefusedIsGivenBack(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Refused, fault.Object} {
		bubble(t, Config{}, func(t *testing.T, b *bench) {
			b.q.fault = func(job uint64) error {
				if job == 1 {
					return fault.Mark(kind, errFake)
				}
				return nil
			}
			b.q.add(1, ext(0, 100))
			b.q.add(2, ext(1000, 100))
			b.start(t)
			time.Sleep(time.Minute)
			b.q.with(func() {
				if len(b.q.back) != 1 || b.q.back[0].job != 1 || total(b.q.back[0].zeroed) != 100*blockBytes || len(b.q.out) != 0 {
					t.Errorf("%v: given back %+v, handed out still %v", kind, b.q.back, b.q.out)
				}
			})
			if s := b.Stats(); s.Background != 100*blockBytes || s.Kept+s.Pending != 0 || s.Errors.Report != 1 {
				t.Errorf("%v: %+v", kind, s)
			}
		})
	}
}

// A queue that cannot say what is next is asked again; what was taken before is reported meanwhile.
func TestNextThatFailsIsTriedAgain(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Refused, fault.Transient, fault.Object} {
		bubble(t, Config{Rate: 10 * mib}, func(t *testing.T, b *bench) {
			b.q.add(1, blockdev.Extent{Len: 100 * mib})
			b.start(t)
			time.Sleep(500*time.Millisecond + 1)
			var well atomic.Bool
			b.q.with(func() {
				b.q.next = func() error {
					if !well.Load() {
						return fault.Mark(kind, errFake)
					}
					return nil
				}
			})
			time.Sleep(10 * time.Second)
			s := b.Stats()
			if s.Background == 0 || s.Pending != 0 || !errors.Is(s.Trouble, errFake) || s.Errors.Next < 3 || s.Errors.Next > 6 {
				t.Errorf("%v: %+v", kind, s)
			}
			if n, err := b.Now(t.Context(), 1); n != 0 || !errors.Is(err, errFake) {
				t.Errorf("%v: Now = %d, %v", kind, n, err)
			}
			well.Store(true)
			b.drained(t, 100*mib)
			if s := b.Stats(); s.Trouble != nil {
				t.Errorf("%v: %v", kind, s.Trouble)
			}
			if err := b.stop(); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// The pool's end is the eraser's: it rests, and says why, whichever call told it.
func TestPoolErrorsAreFinal(t *testing.T) {
	for what, set := range map[string]func(*fakeQueue, error){
		"next":   func(q *fakeQueue, err error) { q.next = func() error { return err } },
		"report": func(q *fakeQueue, err error) { q.fault = func(uint64) error { return err } },
		"flush":  func(q *fakeQueue, err error) { q.stop = func() error { return err } },
	} {
		bubble(t, Config{}, func(t *testing.T, b *bench) {
			set(b.q, fault.Mark(fault.Pool, errFake))
			b.q.add(1, ext(0, 100))
			b.start(t)
			time.Sleep(time.Minute)
			select {
			case <-b.done:
				t.Fatalf("%s: Run returned before its context ended", what)
			default:
			}
			writes := len(b.dev.log())
			b.q.with(func() { b.q.next, b.q.fault, b.q.stop = nil, nil, nil }) // too late
			b.q.add(2, ext(1000, 100))
			time.Sleep(time.Hour)
			b.q.with(func() {
				if len(b.dev.log()) != writes || len(b.q.reports) != 0 {
					t.Errorf("%s: it goes on", what)
				}
			})
			if _, err := b.Now(t.Context(), 1); !errors.Is(err, errFake) || !errors.Is(b.Stats().Trouble, errFake) {
				t.Errorf("%s: Now: %v, %+v", what, err, b.Stats())
			}
			if err := b.stop(); !errors.Is(err, errFake) {
				t.Errorf("%s: Run: %v", what, err)
			}
		})
	}
}

// A Flush that fails for a while leaves nothing behind, and what was taken is not reported twice.
func TestFlushThatFailsIsTriedAgain(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, b *bench) {
		b.q.stop = func() error { return fault.Mark(fault.Transient, io.ErrUnexpectedEOF) }
		b.q.add(1, ext(0, 100))
		b.start(t)
		time.Sleep(time.Minute)
		if s := b.Stats(); s.Background != 0 || s.Kept != 100*blockBytes {
			t.Errorf("%+v", s)
		}
		b.q.with(func() { b.q.stop = nil })
		time.Sleep(2 * lastRetry)
		b.q.with(func() {
			if s := b.Stats(); s.Background != 100*blockBytes || s.Kept+s.Pending != 0 || len(b.q.reports) != 1 {
				t.Errorf("%+v, %d reports", s, len(b.q.reports))
			}
		})
	})
}
