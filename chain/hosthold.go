package chain

import (
	"fmt"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/super"
)

// A pool that several hosts can reach is held by one of them: who opened it for writing stands in both superblocks, from
// before the first record of its own until it is closed. Another host refuses it, unless it is told to take it over. The
// one that lost it, which may have been frozen all the while, finds out before it acknowledges a flush: each commit, and
// each checkpoint before its superblock, reads the superblocks again.
//
// That names mistakes and keeps an honest loser honest. It is no fence: what it wrote or had in flight before it looked is
// on the device. Only the device or the cluster can keep a host from writing.

// Host says who holds a pool.
type Host = super.Host

// mayHold refuses a pool that another host holds.
func (o Options) mayHold(s *super.Block) error {
	switch {
	case o.ReadOnly, o.TakeOver:
		return nil
	case o.Host == nil:
		return s.MayHold([16]byte{})
	}
	return s.MayHold(o.Host.Machine)
}

// holder is what the next superblock says. The plan lock is held.
func (p *Pool) holder() Host {
	if p.opt.Host == nil || p.leaving {
		return Host{}
	}
	return *p.opt.Host
}

// leave makes sure that the pool is this host's still, before its last checkpoints say that it is nobody's.
func (p *Pool) leave() error {
	if err := p.mustHold(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = true
	return nil
}

// setHost writes into both superblocks that this host has the pool, or (the zero Host) that nobody has. All else in them stays.
func (p *Pool) setHost(h Host) error {
	for range super.Slots {
		s := p.super
		s.Generation++
		s.Host = h
		if err := p.writeSuper(&s); err != nil {
			return err
		}
	}
	return nil
}

// writeSuper writes a superblock into the older slot, durably, and makes it the pool's. Nobody else may change it meanwhile.
func (p *Pool) writeSuper(s *super.Block) error {
	b, err := s.Marshal()
	if err != nil {
		return err
	}
	slot := 1 - p.slot
	if _, err := p.dev.WriteAt(b, int64(slot)*BlockSize); err != nil {
		return fmt.Errorf("superblock %d: %w", slot, err)
	}
	if err := p.dev.Sync(); err != nil {
		return fmt.Errorf("superblock %d: sync of the device: %w", slot, err)
	}
	p.super, p.slot = *s, slot
	return nil
}

// mustHold fails the pool when it is another host's now. That it cannot be read whose it is fails nothing: who wanted to
// know must not go on, and may ask again.
func (p *Pool) mustHold() (err error) {
	for range holdTries {
		if err = p.stillHeld(); fault.Of(err) != fault.Transient {
			break
		}
	}
	if err != nil && fault.Of(err) != fault.Transient {
		return p.fail(err)
	}
	return err
}

// holdTries is how often the superblocks are read before nobody knows whose the pool is.
const holdTries = 3

// stillHeld reads the superblocks again: an error when another host has taken the pool over. Both were this host's when it
// opened the pool, so one that is not is a successor's.
func (p *Pool) stillHeld() error {
	p.mu.Lock()
	look := p.opt.Host != nil && !p.leaving
	p.mu.Unlock()
	if !look {
		return nil
	}
	b := blockdev.Aligned(super.Slots * BlockSize)
	if _, err := p.dev.ReadAt(b, 0); err != nil {
		return fmt.Errorf("who holds the pool cannot be read: %w", err)
	}
	for i := range super.Slots {
		var s super.Block
		if s.Unmarshal(b[i*BlockSize:(i+1)*BlockSize]) != nil {
			continue // this host may be writing it just now
		}
		switch {
		case s.UUID != p.uuid:
			return fmt.Errorf("there is another pool on the device, %s: %w", s.Name, ErrHeld)
		case s.Host.None():
			return fmt.Errorf("another host took the pool over, and has closed it again: %w", ErrHeld)
		case !s.Host.Same(*p.opt.Host):
			return fmt.Errorf("the pool was taken over by host %v: %w", s.Host, ErrHeld)
		}
	}
	return nil
}
