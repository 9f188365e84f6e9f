package main

import (
	"context"
	"strings"

	"slatefs/chain"
)

// jobs tells what waits to be erased.
func (s *service) jobs(context.Context, peer, none) (eraseInfo, error) {
	return eraseInfoOf(s.pool, s.eraser.Stats(), s.now()), nil
}

// drain makes all that is freed ready to be erased.
func (s *service) drain(ctx context.Context, _ peer, _ none) (none, error) {
	err := s.pool.EraseDrain(ctx)
	s.eraser.Hurry()
	return none{}, err
}

// check checks the pool while it is in use.
func (s *service) check(ctx context.Context, _ peer, _ none) (*chain.CheckReport, error) {
	return s.pool.Check(ctx)
}

// dump describes the pool while it is in use.
func (s *service) dump(ctx context.Context, _ peer, _ none) (string, error) {
	var b strings.Builder
	err := dumpPool(ctx, &b, s.pool)
	return b.String(), err
}
