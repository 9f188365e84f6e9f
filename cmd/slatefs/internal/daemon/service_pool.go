package daemon

import (
	"context"
	"errors"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
)

// jobs tells what waits to be erased.
func (s *Service) jobs(context.Context, control.Peer, control.None) (control.EraseInfo, error) {
	return eraseInfoOf(s.Pool, s.Eraser.Stats(), s.Now()), nil
}

// drain makes all that is freed ready to be erased, and tells what was erased so far: what is counted from then on is
// what is done from then on.
func (s *Service) drain(ctx context.Context, _ control.Peer, _ control.None) (control.None, error) {
	return control.None{}, errors.Join(s.Pool.EraseDrain(ctx), s.Eraser.Flush(ctx))
}

// check checks the pool while it is in use.
func (s *Service) check(ctx context.Context, _ control.Peer, _ control.None) (control.CheckReport, error) {
	r, err := s.Pool.Check(ctx)
	if err != nil {
		return control.CheckReport{}, err
	}
	return control.CheckReport(*r), nil
}

// dump describes the pool while it is in use.
func (s *Service) dump(ctx context.Context, _ control.Peer, _ control.None) (string, error) {
	var b strings.Builder
	err := Dump(ctx, &b, s.Pool)
	return b.String(), err
}
