package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"slatefs/chain"
)

// The pool property that limits erasing, and its default: 10 MiB/s, as Proxmox's.
const (
	propThroughput    = "erase_throughput"
	defaultThroughput = int64(10 << 20)
)

// throughput is the rate of erasing that a pool is set to, in bytes/s; set tells it from the default.
func throughput(p *chain.Pool) (rate int64, set bool, err error) {
	text, set := p.GetProp(propThroughput)
	if !set {
		return defaultThroughput, false, nil
	}
	rate, err = strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, true, fmt.Errorf("pool %s: property %s=%q: %w", p.Name(), propThroughput, text, err)
	}
	return rate, true, nil
}

// parseThroughput reads a rate in bytes/s; 0 and none are unlimited, and -50M is 50M, as cstream takes it.
func parseThroughput(s string) (int64, error) {
	if s == "none" {
		return 0, nil
	}
	n, err := parseSize(strings.TrimPrefix(s, "-"))
	if err != nil {
		return 0, usagef("%s=%s: want a size per second as 50M, or 0 for unlimited", propThroughput, s)
	}
	return n, nil
}

// checkProp refuses properties that this program does not have.
func checkProp(key string) error {
	if key == propThroughput {
		return nil
	}
	return hinted(usagef("property %q is unknown", key), "the only property so far is %s, of a pool", propThroughput)
}

// setProp sets a property of the pool; it takes effect at once.
func (s *service) setProp(_ context.Context, who peer, args propArgs) (none, error) {
	if err := checkProp(args.Key); err != nil {
		return none{}, err
	}
	rate, err := parseThroughput(args.Value)
	if err != nil {
		return none{}, err
	}
	if err := s.pool.SetProp(who.req(opSetProp), args.Key, strconv.FormatInt(rate, 10)); err != nil {
		return none{}, err
	}
	if err := s.pool.Flush(); err != nil {
		return none{}, err
	}
	s.eraser.SetRate(rate)
	return none{}, nil
}

// getProp reads a property of the pool.
func (s *service) getProp(_ context.Context, _ peer, args propArgs) (propResult, error) {
	if err := checkProp(args.Key); err != nil {
		return propResult{}, err
	}
	rate, set, err := throughput(s.pool)
	return propResult{strconv.FormatInt(rate, 10), set}, err
}

// jobs tells what waits to be erased.
func (s *service) jobs(context.Context, peer, none) (eraseInfo, error) {
	return eraseInfoOf(s.pool, s.eraser.Stats()), nil
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
