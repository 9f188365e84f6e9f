// Package tail keeps the records of a pool that were made and are not in its journal yet, in memory that outlives the process:
// a memfd, of which somebody else holds the file as well. What was acknowledged and not flushed is lost with the host, as a
// disk loses its cache; but whoever goes on using the pool after its daemon has died must find it. A successor replays the
// journal, and then what is here.
//
// What holds here:
//
//   - What was published is there, whole, at whichever instant the process ends; of what was not published nothing is.
//     Records of one hold of the plan lock are published together, as a batch of the journal has them together.
//   - A batch that was cut is here until it is known to be in the journal. Whether it is, the journal says: the tail knows the
//     batch before, so it is the next one, or it is not there.
//   - What does not continue the journal is never replayed: ErrForeign.
//
// # Layout
//
// Little-endian words of 64 bits. The process that dies in the middle of a change leaves the state before it or the one after:
// bytes come before the length that shows them, and a state of several words is written beside the one that holds, and then
// selected by one word.
//
//	0     magic "slatetai", which comes last when a tail is made
//	8     version
//	16    bytes of an area
//	24    checksum of the pool's UUID: salt of its journal
//	32    selected state, 0 or 1
//	40    bytes that are published in area 0
//	48    the same of area 1
//	64    state 0: number of the journal batch before this; its checksum; 1 if a batch was cut; area that is added to;
//	      bytes of the batch that was cut, which is in the other area
//	128   state 1
//	4096  area 0, then area 1
package tail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"slatefs/chain/fault"
	"slatefs/chain/journal"
)

const (
	version = 1
	areas   = 4096 // where they begin
)

// magic in the order of bytes of a file.
var magic = binary.LittleEndian.Uint64([]byte("slatetai"))

// Words of the header, by index.
const (
	wMagic = iota
	wVersion
	wArea
	wSalt
	wState
	wLen
)

// Words of a state, behind its begin.
const (
	sSeq = iota
	sSum
	sCut
	sInto
	sCutLen
	sWords
)

var (
	// ErrForeign is for a tail that does not continue the journal it is opened with: somebody else has written to the pool.
	ErrForeign = errors.New("the records that wait do not continue the journal")
	// ErrFormat is for a memory that holds no tail, or one of another version.
	ErrFormat = errors.New("no tail of a pool, or of another version")
)

// state is what one of the two states says.
type state struct {
	base   journal.Pos // Off is not kept
	cut    bool
	into   uint64 // the area that records are added to
	cutLen uint64 // in the other one
}

// Tail is one tail. Its methods are called under the lock that records are made under; a nil Tail does nothing.
type Tail struct {
	mem   []byte
	area  uint64
	state state
	n     uint64 // bytes in the area that is added to
	shown uint64 // of them, published
}

// Create makes a tail in a memory file, for a pool whose journal is at a position. What the file held is lost. Ring bounds the
// bytes that wait at any time.
func Create(f *os.File, ring int64, salt uint64, at journal.Pos) (*Tail, error) {
	t := &Tail{area: (uint64(ring) + 2*areas - 1) / areas * areas}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("tail: %w", err)
	}
	if err := f.Truncate(areas + 2*int64(t.area)); err != nil {
		return nil, fmt.Errorf("tail: %w", err)
	}
	if err := t.mapFile(f); err != nil {
		return nil, err
	}
	*t.word(wVersion), *t.word(wArea), *t.word(wSalt) = version, t.area, salt
	t.set(state{base: at})
	atomic.StoreUint64(t.word(wMagic), magic)
	return t, nil
}

// Open opens the tail that another process has left, in a file that Create was given.
func Open(f *os.File, salt uint64) (*Tail, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("tail: %w", err)
	}
	if st.Size() < areas || st.Size()%areas != 0 {
		return nil, fmt.Errorf("tail: memory of %d bytes: %w", st.Size(), ErrFormat)
	}
	t := &Tail{area: uint64(st.Size()-areas) / 2}
	if err := t.mapFile(f); err != nil {
		return nil, err
	}
	if *t.word(wMagic) != magic || *t.word(wVersion) != version || *t.word(wArea) != t.area || *t.word(wState) > 1 {
		return nil, errors.Join(fmt.Errorf("tail: %w", ErrFormat), t.Close())
	}
	if *t.word(wSalt) != salt {
		return nil, errors.Join(fmt.Errorf("tail: of another pool: %w", ErrForeign), t.Close())
	}
	t.state = t.stored()
	t.n = *t.word(wLen + int(t.state.into))
	if t.shown = t.n; t.n > t.area || t.state.cutLen > t.area || t.state.into > 1 {
		return nil, errors.Join(fmt.Errorf("tail: lengths %d and %d of %d: %w", t.n, t.state.cutLen, t.area, ErrFormat), t.Close())
	}
	return t, nil
}

func (t *Tail) mapFile(f *os.File) (err error) {
	size := areas + 2*int(t.area)
	if t.mem, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("tail: %d bytes: %w", size, err)
	}
	return nil
}

// Close gives the memory back, of this process. What is in the file stays.
func (t *Tail) Close() error {
	if t == nil || t.mem == nil {
		return nil
	}
	m := t.mem
	t.mem = nil
	return unix.Munmap(m)
}

// Join finds out what waits, of a tail that was opened: the journal ends at a position, with a last batch (nil: it is the
// superblock's). What it returns is to be replayed, and waits still; it is valid until Add.
func (t *Tail) Join(at journal.Pos, last []byte) ([]byte, error) {
	cut := t.data(1 - t.state.into)[:t.state.cutLen]
	switch {
	case at.Seq == t.state.base.Seq && at.Sum == t.state.base.Sum:
		t.Undo()
	case t.state.cut && at.Seq == t.state.base.Seq+1 && bytes.Equal(last, cut):
		t.Done(at)
	default:
		return nil, fmt.Errorf("tail: after batch %d, the journal ends with %d: %w", t.state.base.Seq, at.Seq, ErrForeign)
	}
	return t.data(t.state.into)[:t.n], nil
}

// Add adds a record that was just made. It is not published.
func (t *Tail) Add(rec []byte) {
	if t == nil {
		return
	}
	if t.n+uint64(len(rec)) > t.area {
		fault.Misuse("tail: %d bytes wait, %d more, room for %d", t.n, len(rec), t.area)
	}
	t.n += uint64(copy(t.data(t.state.into)[t.n:], rec))
}

// Publish shows what was added to a successor.
func (t *Tail) Publish() {
	if t == nil || t.n == t.shown {
		return
	}
	t.show(t.n)
}

// Cut says that all that waits is about to become the next batch of the journal.
func (t *Tail) Cut() {
	if t == nil {
		return
	}
	t.Publish()
	s := state{base: t.state.base, cut: true, into: 1 - t.state.into, cutLen: t.n}
	atomic.StoreUint64(t.word(wLen+int(s.into)), 0)
	t.set(s)
	t.n, t.shown = 0, 0
}

// Done says that what was cut is in the journal, which ends at a position now.
func (t *Tail) Done(at journal.Pos) {
	if t == nil || !t.state.cut && at.Seq == t.state.base.Seq {
		return
	}
	t.set(state{base: at, into: t.state.into})
	t.trim(1 - t.state.into)
}

// Undo says that what was cut did not become a batch: it waits again, before what was made since.
func (t *Tail) Undo() {
	if t == nil || !t.state.cut {
		return
	}
	into, first := 1-t.state.into, t.state.cutLen
	if first+t.n > t.area {
		fault.Misuse("tail: %d bytes were cut, %d wait, room for %d", first, t.n, t.area)
	}
	copy(t.data(into)[first:], t.data(t.state.into)[:t.n])
	atomic.StoreUint64(t.word(wLen+int(into)), first+t.n) // of no meaning before the state is another
	t.set(state{base: t.state.base, into: into})
	t.n += first
	t.shown = t.n
}

// keepBytes of an area stay when it is empty: what a busy pool makes between two flushes.
const keepBytes = 1 << 20

// trim gives the memory of an area back that holds nothing any more.
func (t *Tail) trim(area uint64) {
	if *t.word(wLen + int(area)) > keepBytes {
		_ = unix.Madvise(t.data(area)[keepBytes:], unix.MADV_REMOVE) //nolint:errcheck // it stays in use
		atomic.StoreUint64(t.word(wLen+int(area)), 0)
	}
}

func (t *Tail) show(n uint64) {
	atomic.StoreUint64(t.word(wLen+int(t.state.into)), n)
	t.shown = n
}

// set makes a state the one that holds.
func (t *Tail) set(s state) {
	other := 1 - *t.word(wState)
	w := unsafe.Slice(t.word(t.stateAt(other)), sWords)
	w[sSeq], w[sSum], w[sCut], w[sInto], w[sCutLen] = s.base.Seq, s.base.Sum, 0, s.into, s.cutLen
	if s.cut {
		w[sCut] = 1
	}
	atomic.StoreUint64(t.word(wState), other)
	t.state = s
}

// stored is the state that holds.
func (t *Tail) stored() state {
	w := unsafe.Slice(t.word(t.stateAt(*t.word(wState))), sWords)
	return state{base: journal.Pos{Seq: w[sSeq], Sum: w[sSum]}, cut: w[sCut] == 1, into: w[sInto], cutLen: w[sCutLen]}
}

func (*Tail) stateAt(n uint64) int { return 8 + 8*int(n) }

func (t *Tail) word(i int) *uint64 { return (*uint64)(unsafe.Pointer(&t.mem[8*i])) }

func (t *Tail) data(area uint64) []byte {
	from := areas + area*t.area
	return t.mem[from : from+t.area : from+t.area]
}
