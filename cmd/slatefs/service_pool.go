package main

import (
	"context"
	"errors"
	"strings"

	"slatefs/cmd/slatefs/internal/control"
)

// jobs tells what waits to be erased.
func (s *service) jobs(context.Context, control.Peer, control.None) (control.EraseInfo, error) {
	return eraseInfoOf(s.pool, s.eraser.Stats(), s.now()), nil
}

// drain makes all that is freed ready to be erased, and tells what was erased so far: what is counted from then on is
// what is done from then on.
func (s *service) drain(ctx context.Context, _ control.Peer, _ control.None) (control.None, error) {
	return control.None{}, errors.Join(s.pool.EraseDrain(ctx), s.eraser.Flush(ctx))
}

// check checks the pool while it is in use.
func (s *service) check(ctx context.Context, _ control.Peer, _ control.None) (control.CheckReport, error) {
	r, err := s.pool.Check(ctx)
	if err != nil {
		return control.CheckReport{}, err
	}
	return control.CheckReport(*r), nil
}

// dump describes the pool while it is in use.
func (s *service) dump(ctx context.Context, _ control.Peer, _ control.None) (string, error) {
	var b strings.Builder
	err := dumpPool(ctx, &b, s.pool)
	return b.String(), err
}
