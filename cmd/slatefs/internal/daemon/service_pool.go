package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// jobs tells what waits to be erased.
func (s *Service) jobs(context.Context, control.Peer, control.None) (control.EraseInfo, error) {
	i := eraseInfoOf(s.Pool, s.Eraser.Stats(), s.Now())
	i.PagesHeld = s.pagesHeld()
	return i, nil
}

// drain makes all that is freed ready to be erased, and tells what was erased so far: what is counted from then on is
// what is done from then on.
func (s *Service) drain(ctx context.Context, _ control.Peer, _ control.None) (control.None, error) {
	return control.None{}, errors.Join(s.Pool.EraseDrain(ctx), s.Eraser.Flush(ctx))
}

// check checks the pool while it is in use, at a rate; one at a time.
func (s *Service) check(ctx context.Context, _ control.Peer, args control.CheckArgs, tell func(control.Progress) error,
) (control.CheckReport, error) {
	if !s.checking.TryLock() {
		return control.CheckReport{}, fmt.Errorf("pool %s: is being checked already", s.Pool.Name())
	}
	defer s.checking.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at, limit := teller{tell: tell, failed: cancel}, newPacer(args.Rate)
	r, err := s.Pool.CheckOnline(ctx, chain.Pace{Rest: limit.rest, Progress: at.set})
	if err != nil {
		return control.CheckReport{}, err
	}
	at.last()
	return control.CheckReport(*r), nil
}

// pacer spreads what is read over time.
type pacer struct {
	rate  int64 // bytes per second; 0: unlimited
	start time.Time
	read  int64 // bytes since
}

func newPacer(rate int64) *pacer { return &pacer{rate: rate, start: time.Now()} }

// rest waits until so many bytes more may have been read.
func (p *pacer) rest(ctx context.Context, bytes int64) error {
	if p.read += bytes; p.rate <= 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(p.read) / float64(p.rate) * float64(time.Second))
	left := due - time.Since(p.start)
	if left < restTime {
		return ctx.Err()
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// restTime is the shortest rest: what is less is made up for by the next one.
const restTime = 2 * time.Millisecond

// dump describes the pool while it is in use.
func (s *Service) dump(ctx context.Context, _ control.Peer, _ control.None) (string, error) {
	var b strings.Builder
	err := Dump(ctx, &b, s.Pool)
	return b.String(), err
}
