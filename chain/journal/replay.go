package journal

import "fmt"

// Batch is what replay hands out.
type Batch struct {
	Seq     uint64 // its number
	Gen     uint64 // generation of the superblock that it follows
	Payload []byte // valid during the call only, not to be changed
}

// HoleError says that batch Seq, which belongs at ring offset Off, is bad although
// a later batch is valid: it was durable once. Wraps ErrCorrupt.
type HoleError struct {
	Seq      uint64 // the first batch that is missing
	Off      int64  // its ring offset, bytes
	LaterSeq uint64 // a valid batch, at least Seq (then it does not continue the chain)
	LaterOff int64  // its ring offset, bytes
}

func (e *HoleError) Error() string {
	return fmt.Sprintf("batch %d at ring offset %#x is bad, batch %d at %#x is valid: %v",
		e.Seq, e.Off, e.LaterSeq, e.LaterOff, ErrCorrupt)
}

// Unwrap returns ErrCorrupt.
func (e *HoleError) Unwrap() error { return ErrCorrupt }

// VersionError says that the next batch of the chain is whole, its checksum
// included, but of a version this program does not know. Wraps ErrCorrupt.
type VersionError struct {
	Seq     uint64
	Off     int64 // ring offset, bytes
	Version uint32
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("batch %d at ring offset %#x has version %d, want %d: %v",
		e.Seq, e.Off, e.Version, Version, ErrCorrupt)
}

// Unwrap returns ErrCorrupt.
func (e *VersionError) Unwrap() error { return ErrCorrupt }

// Open replays every batch after from, the position in the superblock, through fn:
// once each, in order. It then looks for later batches in the rest of the ring,
// syncs the device, and returns a journal that goes on behind the last batch. The
// space of the replayed batches stays in use until Release. fn must not keep the
// payload; its error ends Open.
//
// On a HoleError or VersionError fn has seen the batches before that place. A read
// error is never taken for the end of the journal. On any error there is no
// journal; Open has written nothing.
func Open(c Config, from Pos, fn func(b Batch) error) (*Journal, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("journal: open: %w", err)
	}
	if from.Off < 0 || from.Off >= c.Size || from.Off%int64(c.Unit) != 0 {
		return nil, fmt.Errorf("journal: open: ring offset %#x of batch %d in a ring of %d bytes: %w",
			from.Off, from.Seq+1, c.Size, ErrCorrupt)
	}
	j := &Journal{
		ring:  ring{dev: c.Dev, base: c.Off, size: c.Size, unit: int64(c.Unit)},
		salt:  c.Salt,
		start: from,
		pos:   from,
	}
	w := &window{ring: j.ring}
	if err := j.replay(w, fn); err != nil {
		return nil, fmt.Errorf("journal: replay: %w", err)
	}
	if err := j.lookForLater(w); err != nil {
		return nil, fmt.Errorf("journal: replay: %w", err)
	}
	// The last batch may have been written by a process that died before its sync.
	// If it is not durable before the next one is written, a power loss can keep
	// the next and drop this one: a hole.
	if err := c.Dev.Sync(); err != nil {
		return nil, fmt.Errorf("journal: open: sync: %w", err)
	}
	return j, nil
}

// replay moves j.pos behind the last good batch.
func (j *Journal) replay(w *window, fn func(b Batch) error) error {
	for {
		off := j.pos.Off
		next := func(h header) bool { return h.seq == j.pos.Seq+1 && h.prev == j.pos.Sum }
		h, payload, ok, err := j.load(w, off, j.ring.size-j.used, next)
		if err != nil {
			return fmt.Errorf("batch %d at ring offset %#x: %w", j.pos.Seq+1, off, err)
		}
		if !ok {
			return nil
		}
		if h.version != Version {
			return &VersionError{Seq: h.seq, Off: off, Version: h.version}
		}
		if err := fn(Batch{Seq: h.seq, Gen: h.gen, Payload: payload}); err != nil {
			return fmt.Errorf("batch %d at ring offset %#x: %w", h.seq, off, err)
		}
		size := j.ring.batchSize(int64(h.length))
		j.pos = Pos{Seq: h.seq, Off: j.ring.add(off, size), Sum: h.sum}
		j.used += size
	}
}

// lookForLater returns a HoleError when a valid batch younger than j.pos begins
// anywhere outside the replayed part of the ring.
func (j *Journal) lookForLater(w *window) error {
	later := func(h header) bool { return h.seq > j.pos.Seq }
	for d := int64(0); d < j.ring.size-j.used; d += j.ring.unit {
		off := j.ring.add(j.pos.Off, d)
		h, _, ok, err := j.load(w, off, j.ring.size, later)
		if err != nil {
			return fmt.Errorf("batches after %d: %w", j.pos.Seq, err)
		}
		if ok {
			return &HoleError{Seq: j.pos.Seq + 1, Off: j.pos.Off, LaterSeq: h.seq, LaterOff: off}
		}
	}
	return nil
}

// load returns the batch at off when there is one with a good checksum that takes
// at most limit bytes and that want, asked before the payload is read, accepts.
// The checksum comes before the version: without it the version means nothing.
func (j *Journal) load(w *window, off, limit int64, want func(header) bool) (header, []byte, bool, error) {
	if limit < j.ring.unit {
		return header{}, nil, false, nil
	}
	b, err := w.at(off, j.ring.unit)
	if err != nil {
		return header{}, nil, false, err
	}
	h, ok := decodeHeader(b)
	if !ok || !want(h) || j.ring.batchSize(int64(h.length)) > limit {
		return header{}, nil, false, nil
	}
	b, err = w.at(off, j.ring.batchSize(int64(h.length)))
	if err != nil {
		return header{}, nil, false, err
	}
	b = b[:headerSize+int64(h.length)]
	if checksum(b, j.salt) != h.sum {
		return header{}, nil, false, nil
	}
	return h, b[headerSize:], true, nil
}
