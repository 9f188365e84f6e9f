// Package journal is an append-only log of opaque batches in a ring at a fixed
// place of a device.
//
// Invariants:
//
//   - One batch is in flight. Batch n+1 is written only after batch n is durable,
//     so a crash can damage the newest batch only.
//   - A batch starts at a multiple of the unit and is padded to it: no write
//     touches a unit that holds another batch which is still needed.
//   - Batches are chained: each carries its number and its predecessor's checksum,
//     under a checksum that begins with the pool's salt. A batch of an earlier lap,
//     of another pool, or from a future that a crash undid is never replayed.
//   - Replay hands out each batch after the checkpoint once, in order, and ends at
//     the first bad one. When a valid later batch is found beyond that place the
//     bad one had been durable: that is a hole, and the journal does not open.
//   - What replay handed out is durable when Open returns, even when the process
//     before died between its write and its sync.
//   - A failed write or sync is final: the journal takes nothing more.
//
// The order on disk of one Append: the batch (two writes where it wraps), Sync,
// then memory. Space is free again when the caller says, by Release, that a
// durable checkpoint holds the batches in it.
//
// The payload is metadata, never guest bytes; nothing here erases it.
package journal

import (
	"errors"
	"fmt"
	"math"
	"sync"
)

// Sentinels; compare with errors.Is.
var (
	// ErrCorrupt is wrapped when the ring, or the position it is opened at,
	// contradicts itself. See HoleError and VersionError.
	ErrCorrupt = errors.New("journal is corrupt")
	// ErrFull is wrapped when a payload does not fit in the free space. Nothing
	// was written; the journal remains usable.
	ErrFull = errors.New("journal is full")
	// ErrClosed is wrapped by an Append after Close.
	ErrClosed = errors.New("journal is closed")
)

// Device is what a journal needs of its device. Offsets and lengths are bytes,
// always multiples of the unit, and always inside the ring.
type Device interface {
	// ReadAt fills p, or returns an error.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p, or returns an error; then any part of p may have
	// been written. Not durable before Sync.
	WriteAt(p []byte, off int64) (int, error)
	// Sync makes every write that returned before it durable. After an error
	// nothing is known about them.
	Sync() error
}

// Config says where the ring is. It is the same at every Open of one pool.
type Config struct {
	// Dev is used, not owned: Close leaves it open.
	Dev Device
	// Off and Size are the place of the ring on the device, bytes, multiples of
	// Unit. Size is at most MaxSize.
	Off, Size int64
	// Unit is the alignment of batches in bytes, 512 or 4096. It must be no smaller
	// than what a write that loses power can damage on the device.
	Unit int
	// Salt is random for each pool.
	Salt uint64
}

// MaxSize bounds a ring, in bytes, and with it the memory that a bad length in a
// batch can ask for.
const MaxSize = 1 << 30

// Validate returns an error that names the first field which cannot be.
func (c Config) Validate() error {
	unit := int64(c.Unit)
	switch {
	case c.Dev == nil:
		return errors.New("no device")
	case unit != 512 && unit != 4096:
		return fmt.Errorf("unit %d is not 512 or 4096", unit)
	case c.Off < 0 || c.Off%unit != 0:
		return fmt.Errorf("offset %d is not a multiple of unit %d", c.Off, unit)
	case c.Size <= 0 || c.Size > MaxSize || c.Size%unit != 0:
		return fmt.Errorf("size %d is not a multiple of unit %d from 1 to %d bytes", c.Size, unit, MaxSize)
	case c.Off > math.MaxInt64-c.Size:
		return fmt.Errorf("offset %d and size %d overflow", c.Off, c.Size)
	}
	return nil
}

// Journal is an open ring. All methods may be called concurrently; only Append
// and Close wait for I/O.
type Journal struct {
	ring ring
	salt uint64

	// append is held through one Append: it guards buf and is taken before mu.
	append sync.Mutex
	buf    []byte

	mu       sync.Mutex // guards all below; never held during I/O
	start    Pos        // the last released position
	pos      Pos        // the last durable batch
	used     int64      // bytes of the durable batches after start
	inFlight int64      // bytes of the batch being written
	err      error      // why the journal takes nothing more
}

// Append writes payload, which may be empty, as the next batch and returns its position once it is
// durable. gen is the generation of the superblock that the batch follows. The
// payload is not kept. One Append runs at a time, others wait.
//
// ErrFull: nothing was written. After any other error the batch may or may not be
// found by the next Open, and every later Append returns that error.
func (j *Journal) Append(gen uint64, payload []byte) (Pos, error) {
	j.append.Lock()
	defer j.append.Unlock()

	prev, size, err := j.reserve(len(payload))
	if err != nil {
		return Pos{}, fmt.Errorf("journal: append: %w", err)
	}
	h := header{version: Version, length: uint32(len(payload)), seq: prev.Seq + 1, gen: gen, prev: prev.Sum}
	j.buf = grow(j.buf, size)
	h.sum = encode(j.buf, h, payload, j.salt)
	if err := j.write(prev.Off, j.buf); err != nil {
		err = fmt.Errorf("batch %d of %d bytes at ring offset %#x: %w", h.seq, size, prev.Off, err)
		j.die(err)
		return Pos{}, fmt.Errorf("journal: append: %w", err)
	}
	return j.publish(Pos{Seq: h.seq, Off: j.ring.add(prev.Off, size), Sum: h.sum}, size), nil
}

// reserve takes the space of a batch with length payload bytes, and returns the
// position that it follows and its size in the ring.
func (j *Journal) reserve(length int) (Pos, int64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return Pos{}, 0, j.err
	}
	if room := j.roomLocked(); int64(length) > room || j.freeLocked() < headerSize {
		return Pos{}, 0, fmt.Errorf("%d bytes, room for %d: %w", length, room, ErrFull)
	}
	j.inFlight = j.ring.batchSize(int64(length))
	return j.pos, j.inFlight, nil
}

// write makes the batch b durable at ring offset off.
func (j *Journal) write(off int64, b []byte) error {
	if err := j.ring.write(off, b); err != nil {
		return err
	}
	return j.ring.dev.Sync()
}

// publish ends an Append: the batch of size bytes at p is durable.
func (j *Journal) publish(p Pos, size int64) Pos {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pos = p
	j.used += size
	j.inFlight = 0
	return p
}

// die stops the journal for good; the first reason stays.
func (j *Journal) die(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
	}
}

// Release says that a durable checkpoint holds every batch up to p, which is a
// position that Open was given or Append returned: their space is free again. A
// position that was released before is ignored. Panics on one that never was.
func (j *Journal) Release(p Pos) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if p.Seq <= j.start.Seq {
		return
	}
	left := j.ring.distance(p.Off, j.pos.Off)
	switch {
	case p.Seq > j.pos.Seq, p.Seq == j.pos.Seq && p != j.pos,
		p.Seq < j.pos.Seq && (left == 0 || left >= j.used):
		panic(fmt.Sprintf("journal: release: %+v is not between %+v and %+v", p, j.start, j.pos))
	}
	j.start = p
	j.used = left
}

// Room returns the payload bytes that an Append may have now, behind the one that
// is being written.
func (j *Journal) Room() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.roomLocked()
}

// Takes returns the ring bytes that a batch with a payload of n bytes takes, header and padding included.
func (j *Journal) Takes(n int64) int64 { return j.ring.batchSize(n) }

// Durable returns the ring bytes of durable batches not released yet: Used without the one being written.
func (j *Journal) Durable() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.used
}

// Used returns the ring bytes of batches not released yet, headers and padding and
// the one being written included.
func (j *Journal) Used() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.used + j.inFlight
}

// Size returns the size of the ring in bytes.
func (j *Journal) Size() int64 { return j.ring.size }

// Pos returns the position of the last durable batch.
func (j *Journal) Pos() Pos {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pos
}

// Close waits for the Append that is running and ends the journal: later Appends
// return ErrClosed. The device stays open.
func (j *Journal) Close() {
	j.append.Lock()
	defer j.append.Unlock()
	j.die(ErrClosed)
}

func (j *Journal) freeLocked() int64 { return j.ring.size - j.used - j.inFlight }

func (j *Journal) roomLocked() int64 {
	return max(j.freeLocked()-headerSize, 0)
}
