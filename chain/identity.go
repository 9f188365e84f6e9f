package chain

import (
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/blockdev"
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
func Identify(dev superReader) (Identity, error) {
	s, _, err := readSuper(dev)
	return Identity{s.name, s.uuid, s.geometry.blocks * BlockSize, s.generation, s.made, s.host}, err
}

// Remains are the UUIDs that the superblocks on dev have where one has the magic, though it may be damaged, or of a later
// program. They tell whose remains these are, and no more: nothing else in such a block can be believed.
func Remains(dev io.ReaderAt) (ids []uuid.UUID) {
	b := blockdev.Aligned(BlockSize)
	for i := range superSlots {
		if n, err := dev.ReadAt(b, int64(i)*BlockSize); n == len(b) && (err == nil || err == io.EOF) && string(b[:8]) == superMagic {
			ids = append(ids, uuid.UUID(b[32:48]))
		}
	}
	return ids
}

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
	for range superSlots {
		s := p.super
		s.generation++
		if name != "" {
			s.name = name
		}
		if id != uuid.Nil {
			s.uuid = id
		}
		if err := p.writeSuper(&s); err != nil {
			return fmt.Errorf("pool %s: %w", p.name, err)
		}
	}
	return nil
}
