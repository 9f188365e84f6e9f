package chain

import (
	"fmt"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
	"slatefs/chain/super"
)

// superblocks are the two slots on the device, and who holds the pool by what stands there.
type superblocks struct {
	*core

	super   super.Block // workMu, mu: as it is on the device
	slot    int         // workMu, mu: where it lies
	written int64       // mu: bytes of the last checkpoint
	leaving bool        // mu: checkpoints say that nobody holds the pool
}

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
func (sb *superblocks) holder() Host {
	sb.mu.assertHeld()
	if sb.opt.Host == nil || sb.leaving {
		return Host{}
	}
	return *sb.opt.Host
}

// leave makes sure that the pool is this host's still, before its last checkpoints say that it is nobody's.
func (sb *superblocks) leave() error {
	if err := sb.mustHold(); err != nil {
		return err
	}
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.leaving = true
	return nil
}

// setHost writes into both superblocks that this host has the pool, or (the zero Host) that nobody has. All else in them stays.
func (sb *superblocks) setHost(h Host) error {
	for range super.Slots {
		s := sb.super
		s.Generation++
		s.Host = h
		if err := sb.writeSuper(&s); err != nil {
			return err
		}
	}
	return nil
}

// writeSuper writes a superblock into the older slot, durably, and makes it the pool's. Nobody else may change it meanwhile.
func (sb *superblocks) writeSuper(s *super.Block) error {
	b, err := s.Marshal()
	if err != nil {
		return err
	}
	slot := 1 - sb.slot
	if _, err := sb.dev.WriteAt(b, int64(slot)*BlockSize); err != nil {
		return fmt.Errorf("superblock %d: %w", slot, err)
	}
	if err := sb.dev.Sync(); err != nil {
		return fmt.Errorf("superblock %d: sync of the device: %w", slot, err)
	}
	sb.super, sb.slot = *s, slot
	return nil
}

// mustHold fails the pool when it is another host's now. That it cannot be read whose it is fails nothing: who wanted to
// know must not go on, and may ask again.
func (sb *superblocks) mustHold() (err error) {
	for range holdTries {
		if err = sb.stillHeld(); fault.Of(err) != fault.Transient {
			break
		}
	}
	if err != nil && fault.Of(err) != fault.Transient {
		return sb.fail(err)
	}
	return err
}

// holdTries is how often the superblocks are read before nobody knows whose the pool is.
const holdTries = 3

// stillHeld reads the superblocks again: an error when another host has taken the pool over. Both were this host's when it
// opened the pool, so one that is not is a successor's.
func (sb *superblocks) stillHeld() error {
	sb.mu.Lock()
	look := sb.opt.Host != nil && !sb.leaving
	sb.mu.Unlock()
	if !look {
		return nil
	}
	b := blockdev.Aligned(super.Slots * BlockSize)
	if _, err := sb.dev.ReadAt(b, 0); err != nil {
		return fmt.Errorf("who holds the pool cannot be read: %w", err)
	}
	for i := range super.Slots {
		var s super.Block
		if s.Unmarshal(b[i*BlockSize:(i+1)*BlockSize]) != nil {
			continue // this host may be writing it just now
		}
		switch {
		case s.UUID != sb.uuid:
			return fmt.Errorf("there is another pool on the device, %s: %w", s.Name, ErrHeld)
		case s.Host.None():
			return fmt.Errorf("another host took the pool over, and has closed it again: %w", ErrHeld)
		case !s.Host.Same(*sb.opt.Host):
			return fmt.Errorf("the pool was taken over by host %v: %w", s.Host, ErrHeld)
		}
	}
	return nil
}
