package daemon

import (
	"fmt"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Info is what the pool and its eraser say of the pool's state. The daemon adds what it knows of itself.
func (s *Service) Info() control.PoolInfo {
	u := s.Pool.Usage()
	i := control.PoolInfo{Usage: UsageOf(u), Reading: s.Pool.ReadOnly(), Asked: s.Now()}
	if err := s.Pool.Failed(); err != nil {
		i.Failed = err.Error()
	}
	if !i.Reading {
		e := s.Eraser.Stats()
		if i.Late = lateOf(outlooksOf(s.Pool, e, i.Asked), nil); e.Trouble != nil && i.Failed == "" {
			i.EraseTrouble = e.Trouble.Error()
		}
	}
	if s.Signer != nil {
		i.LogTrouble = s.Signer.Trouble()
	}
	if u.HostShort != nil {
		i.HostShort = fmt.Sprintf("writes that need new blocks are refused since %s: %v", show.FormatTime(u.HostSince), u.HostShort)
	}
	return i
}

// LostOf tells what superblocks the device of a pool has lost that is open, and not mounted.
func LostOf(p *chain.Pool) []string { return chain.LostSuperblocks(p.Device(), p.UUID()) }
