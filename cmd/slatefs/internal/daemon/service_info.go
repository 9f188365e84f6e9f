package daemon

import (
	"fmt"
	"path"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// Info is what the pool and its eraser say of the pool's state. The daemon adds what it knows of itself.
func (s *Service) Info() control.PoolInfo {
	u := s.Pool.Usage()
	i := control.PoolInfo{Usage: UsageOf(u), Reading: s.Pool.ReadOnly(), Asked: s.Now()}
	if err := s.Pool.Failed(); err != nil {
		i.Failed = show.ErrorText(err) // in one line
	}
	if !i.Reading {
		e := s.Eraser.Stats()
		if i.Late = lateOf(outlooksOf(s.Pool, e, i.Asked), nil); e.Trouble != nil && i.Failed == "" {
			i.EraseTrouble = e.Trouble.Error()
		}
	}
	i.PagesHeld = s.pagesHeld()
	if s.Signer != nil {
		i.LogTrouble, i.KeyTrouble = s.Signer.Trouble(), s.Signer.KeyTrouble()
	}
	i.LogCut = s.cutText()
	if u.HostShort != nil {
		i.HostShort = fmt.Sprintf("writes that need new blocks are refused since %s: %v", show.FormatTime(u.HostSince), u.HostShort)
	}
	return i
}

// pagesHeld is the snapshot whose pages the kernel does not give up; nil: there is none.
func (s *Service) pagesHeld() *control.HeldInfo {
	h, held := s.View.PagesHeld()
	if !held {
		return nil
	}
	i := &control.HeldInfo{Since: h.Since, All: h.All, Kept: h.Kept, More: h.More}
	if h.Was.Snap != "" {
		i.Snapshot = h.Was.File + "@" + h.Was.Snap
		if h.Was.Dir != 0 {
			i.Snapshot = path.Join(s.abs(h.Was.Dir), i.Snapshot)
		}
	}
	if h.Err != nil {
		i.Error = h.Err.Error()
	}
	return i
}

// cutText tells of records that left the erase log and were not exported: since the mount, or ever where none are exported still.
func (s *Service) cutText() string {
	cut := s.Pool.Log().State().Cut
	lost := cut.Records() - cut.Exported
	if lost <= s.cutBefore && (lost == 0 || hostWord(s.Own, chain.PropLogExport) != "none") {
		return ""
	}
	return fmt.Sprintf("%d records left the erase log and were not exported, of what was freed or zeroed from %s to %s: only sums of them are known",
		lost, show.FormatTime(cut.From), show.FormatTime(cut.To))
}

// LostOf tells what superblocks the device of a pool has lost that is open, and not mounted.
func LostOf(p *chain.Pool) []string { return chain.LostSuperblocks(p.Device(), p.UUID()) }
