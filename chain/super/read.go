package super

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
)

// Reader is what superblocks are read from: a device, or a file that may be one.
type Reader interface {
	io.ReaderAt
	Size() int64 // bytes
}

// Read returns the newest superblock and its slot. A slot that is damaged is passed over; whether its pool may
// still be opened by the older one the journal decides. A whole one that a later program wrote is not: if it is the
// newest, its error is returned.
func Read(dev Reader) (s Block, slot int, err error) {
	if dev.Size() < Slots*alloc.BlockSize {
		return s, 0, fmt.Errorf("device of %d bytes: %w", dev.Size(), ErrNotPool)
	}
	var errs [Slots]error
	var unknown uint64 // generation of a whole one of a later program
	found := false
	for i := range Slots {
		var one Block
		if one, errs[i] = ReadSlot(dev, i); errs[i] != nil {
			if errors.Is(errs[i], ErrVersion) || errors.Is(errs[i], ErrFeature) {
				unknown = max(unknown, one.Generation)
			}
			continue
		}
		if !found || one.Generation > s.Generation {
			s, slot, found = one, i, true
		}
	}
	if found && unknown < s.Generation {
		return s, slot, nil
	}
	for _, e := range errs { // the error that says most
		if e != nil && !errors.Is(e, ErrNotPool) {
			return Block{}, 0, e
		}
	}
	return Block{}, 0, errs[0]
}

// ReadSlot returns the superblock in one slot, from 0 on. Errors are the device's, or those of Unmarshal, with what it has read.
func ReadSlot(dev io.ReaderAt, slot int) (s Block, err error) {
	b := blockdev.Aligned(alloc.BlockSize)
	if _, err := dev.ReadAt(b, int64(slot)*alloc.BlockSize); err != nil {
		return s, err
	}
	return s, s.Unmarshal(b)
}

// Lost tells of each slot on dev that has not, whole, a superblock of the pool why that is: by a name for people, as
// "superblock 1 of 2: …". A pool opens by the other one; but what it says may be older, and there is no third.
func Lost(dev Reader, pool uuid.UUID) (lost []string) {
	for i := range Slots {
		s, err := ReadSlot(dev, i)
		if err == nil && s.UUID != pool {
			err = fmt.Errorf("it is of another pool, %v", s.UUID)
		}
		if err != nil {
			text := strings.TrimPrefix(err.Error(), "superblock: ")
			if errors.Is(err, ErrNotPool) {
				text = "it is overwritten"
			}
			lost = append(lost, fmt.Sprintf("superblock %d of %d: %s", i+1, Slots, text))
		}
	}
	return lost
}

// Remains are the UUIDs that the superblocks on dev have where one has the magic, though it may be damaged, or of a later
// program. They tell whose remains these are, and no more: nothing else in such a block can be believed.
func Remains(dev io.ReaderAt) (ids []uuid.UUID) {
	b := blockdev.Aligned(alloc.BlockSize)
	for i := range Slots {
		if n, err := dev.ReadAt(b, int64(i)*alloc.BlockSize); n == len(b) && (err == nil || err == io.EOF) && string(b[:8]) == magic {
			ids = append(ids, uuid.UUID(b[32:48]))
		}
	}
	return ids
}

// Wipe overwrites the superblocks on dev with zeros, durably: there is no pool any more. It erases nothing else.
func Wipe(dev blockdev.Device) error {
	if err := dev.Zero(0, Bytes, blockdev.Overwrite); err != nil {
		return err
	}
	return dev.Sync()
}
