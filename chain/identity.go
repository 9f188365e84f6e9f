package chain

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/blockdev"
	"slatefs/chain/super"
)

// A pool is known by its UUID; its name is for people, and where it lies may change. Both stand in the superblocks, and
// nowhere else: what follows from them (the UUIDs of volumes and layers, the salt of the journal) is computed.

// Identity is what a superblock says of its pool.
type Identity struct {
	Name       string
	UUID       uuid.UUID
	Bytes      int64
	Generation uint64
	Made       time.Time
	Host       Host // that holds it
}

// Identify reads the superblocks on dev, and nothing else. Errors are those of Open.
func Identify(dev super.Reader) (Identity, error) {
	s, _, err := super.Read(dev)
	return Identity{s.Name, s.UUID, s.Size(), s.Generation, s.Made, s.Host}, wrapCorrupt(err)
}

// LostSuperblocks tells of each superblock of a pool that its device has lost why that is; a pool opens by the other one. What
// somebody is writing just then may be called lost: who looks at a pool in use looks again.
func LostSuperblocks(dev super.Reader, id uuid.UUID) []string { return super.Lost(dev, id) }

// Relabel gives the pool on dev another name or UUID; what is empty or zero stays. The pool is opened for that, as Open does,
// and closed: then all of it is in its pages, and no batch of the journal counts, whose salt is the UUID's. Both superblocks
// are written, one after the other; the newer one counts, so that a crash leaves the pool with the old label or the new one.
//
// Errors: those of Open, and ErrInvalid for the name.
func Relabel(dev blockdev.Device, o Options, name string, id uuid.UUID) error {
	if name != "" {
		if err := CheckPoolName(name); err != nil {
			return err
		}
	}
	p, err := Open(dev, o)
	if err != nil {
		return err
	}
	if err := p.Close(); err != nil {
		return err
	}
	for range super.Slots {
		s := p.supers.super
		s.Generation++
		if name != "" {
			s.Name = name
		}
		if id != uuid.Nil {
			s.UUID = id
		}
		if err := p.supers.writeSuper(&s); err != nil {
			return fmt.Errorf("pool %s: %w", p.name, err)
		}
	}
	return nil
}
