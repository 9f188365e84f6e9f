package chain

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"slatefs/chain/blockdev"
	"slatefs/chain/super"
)

// Open opens the pool on dev: superblock, catalog rows of layers and jobs, group table, journal. It reads no map page
// and scans nothing. After a crash, what was claimed and not mapped becomes the job `recovery`.
//
// Errors: ErrNotPool, ErrVersion, ErrFeature, ErrCorrupt (with the place), or the device's.
func Open(dev blockdev.Device, o Options) (*Pool, error) {
	s, slot, err := super.Read(dev)
	if err != nil {
		return nil, wrapCorrupt(err)
	}
	if s.Size() > dev.Size() {
		return nil, fmt.Errorf("pool %s has %d bytes, its device %d: %w", s.Name, s.Size(), dev.Size(), ErrCorrupt)
	}
	if unknown := s.UnknownReadOnly(); unknown != 0 && !o.ReadOnly {
		return nil, fmt.Errorf("pool %s can only be opened read-only, features %s: %w", s.Name, s.Named(unknown), ErrFeature)
	}
	if err := o.mayHold(&s); err != nil {
		return nil, err
	}
	o.Logger = watchLog(o.Logger)
	p := newPool(dev, o, s, slot)
	if err := mount(p); err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.Name, err)
	}
	p.tree.settleFalls()
	resume(p)
	if o.ReadOnly {
		return p, nil
	}
	p.blocks.store.Distrust()
	p.blocks.prepareOwn()
	if o.Host != nil {
		if err := p.supers.setHost(*o.Host); err != nil {
			return nil, fmt.Errorf("pool %s: %w", s.Name, err)
		}
	}
	if err := p.recover(); err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.Name, err)
	}
	return p, nil
}

// mount brings to memory what the device has. Nobody else has the pool yet: the locks are held for those that ask for them.
func mount(p *Pool) error {
	p.structure.Lock()
	defer p.structure.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.persist.load()
	if err == nil {
		err = p.persist.replay()
	}
	if err != nil {
		return wrapCorrupt(err)
	}
	if p.space.ledger, err = p.space.buildLedger(); err != nil {
		return err
	}
	p.tree.placeSnaps()
	p.space.ledger.Seal(invariants)
	if p.persist.mends != nil {
		return p.persist.mends.replayed()
	}
	return nil
}

// asCorrupt is an error of a package below that is this one's as well. It says that something is corrupt, once.
type asCorrupt struct{ error }

func (e asCorrupt) Unwrap() []error { return []error{ErrCorrupt, e.error} }

func (e asCorrupt) Error() string {
	if text := e.error.Error(); strings.Contains(text, ErrCorrupt.Error()) {
		return text
	}
	return ErrCorrupt.Error() + ": " + e.error.Error()
}

// loadAlone is load for who only looks at a pool that nobody else has.
func loadAlone(p *Pool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.persist.load()
}

// recover ends what the last process left: claims that it had, snapshots and files that it held open. When it returns all that was
// replayed is durable, the records of the tail, too: who asks whether one is counts from there.
func (p *Pool) recover() error {
	err := p.works.changeIn(credit{bytes: 48, frees: true}, func(now time.Time) error {
		if !p.origins.begun {
			if err := p.commits.do(&recBegin{p.tree.nextLayer + 1, p.names.nextIno}); err != nil {
				return err
			}
		}
		if p.blocks.alloc.Counts().Claimed == 0 {
			return nil
		}
		return p.commits.do(&recRecover{now})
	})
	if err == nil {
		err = p.removal.destroyOrphans()
	}
	if err == nil {
		err = p.removal.reapWaiting()
	}
	if errors.Is(err, ErrNoSpace) { // what nobody uses any more stays: a full pool opens, so that something can be deleted
		p.log.Warn("what the last mount left is not taken away: there is no space for it", "pool", p.name, "error", err)
		err = nil
	}
	if err != nil {
		return err
	}
	return p.Flush()
}

// Close takes a last checkpoint with nothing claimed and makes the pool unusable. It does not close the device. All
// plans must be closed.
func (p *Pool) Close() error {
	return closeBy(p, func() error {
		err := p.supers.leave()
		p.blocks.store.BreakPin() // words in pages that it keeps would stay
		for range super.Slots {   // the second one has nothing to write, and overwrites the names that the first one freed
			if err == nil {
				err = p.Checkpoint()
			}
		}
		return err
	})
}

// HandOver is Close for a successor on this host that opens the pool at once, while users of both wait: it costs one checkpoint, and
// what has changed since the last one. Pages that are free are not looked at for words that are left in them, which the successor's
// checkpoints do, as after a crash. The pool stays this host's: no other one can open it in between.
func HandOver(p *Pool) error {
	return closeBy(p, func() error {
		p.commits.workMu.Lock()
		p.persist.heir = true
		p.commits.workMu.Unlock()
		return p.Checkpoint()
	})
}

// closeBy makes a pool unusable, after its last checkpoints where it can be written to.
func closeBy(p *Pool, checkpoints func() error) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	if p.opt.ReadOnly || p.failed != nil {
		err := p.failed
		p.mu.Unlock()
		return errors.Join(err, p.shut())
	}
	p.mu.Unlock()
	err := p.blocks.unclaimAll()
	if err == nil {
		err = checkpoints()
	}
	return errors.Join(err, p.shut())
}

// shut makes the pool unusable.
func (p *Pool) shut() error {
	p.mu.Lock()
	p.closed = true
	t := p.mu.tail
	p.mu.tail = nil
	p.mu.Unlock()
	p.commits.journal.Close()
	return t.Close()
}
