package daemon

import (
	"fmt"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Info is what the pool and its eraser say of the pool's state. The daemon adds what it knows of itself.
func (s *Service) Info() control.PoolInfo {
	u := s.Pool.Usage()
	i := control.PoolInfo{Usage: UsageOf(u), Reading: s.Pool.ReadOnly()}
	if err := s.Pool.Failed(); err != nil {
		i.Failed = err.Error()
	}
	if !i.Reading {
		i.Late = lateOf(outlooksOf(s.Pool, s.Eraser.Stats(), s.Now()), nil)
	}
	if u.HostShort != nil {
		i.HostShort = fmt.Sprintf("writes that need new blocks are refused since %s: %v", show.FormatTime(u.HostSince), u.HostShort)
	}
	return i
}
