package park

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"slatefs/chain/fault"
)

// Memory is a mapped memory file. The process may end between any two stores: a change of several words is first written down
// as a whole, and done again by who finds it (redo). Words are native, of 64 bits, by index:
//
//	0       magic
//	1       version
//	2       takeovers
//	3       which of the two lists of lives is this process's
//	4, 5    entries in each
//	8       1: a change of the counts is under way: 9 its request, 10 slot, 11 node, 12 readers and writers, 13 place in the ring
//	14      requests in the ring, ever
//	512     the ring: the last requests that changed the counts
//	…       two lists of lives: request, and deaths << 1 | begun
//	…       slots: node, and readers | writers << 32
type Memory struct {
	words []uint64
	raw   []byte
	slot  map[uint64]int // of a node that is open
	free  []int          // slots below next
	next  int
	lives lives
}

const (
	wMagic = iota
	wVersion
	wTakeovers
	wLives
	wLivesLen
	wRedo   = 8
	wKey    = wRedo + 1
	wSlot   = wRedo + 2
	wNode   = wRedo + 3
	wCounts = wRedo + 4
	wAt     = wRedo + 5
	wRing   = wRedo + 6

	memoryMagic   = 0x6e65706f65746173 // "sateopen" in the order of the bytes
	memoryVersion = 1

	ringAt   = 512
	ringLen  = 4096
	livesAt  = ringAt + ringLen
	livesLen = 8192 // entries of a list
	slotsAt  = livesAt + 4*livesLen
	// MaxOpen is how many volumes and snapshots can be open at once.
	MaxOpen    = 1 << 20
	memoryLen  = slotsAt + 2*MaxOpen
	memorySize = 8 * memoryLen
)

// Open is a node that is open, and how often.
type Open struct {
	Node             uint64
	Readers, Writers int
}

// NewMemory makes a memory in an empty file. It takes what is used of it.
func NewMemory(f *os.File) (*Memory, error) {
	if err := f.Truncate(memorySize); err != nil {
		return nil, fmt.Errorf("%s: %w", OpensName, err)
	}
	m, err := mapMemory(f)
	if err == nil {
		m.words[wMagic], m.words[wVersion] = memoryMagic, memoryVersion
	}
	return m, err
}

// OpenMemory goes on with the memory that another process has left.
func OpenMemory(f *os.File) (*Memory, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", OpensName, err)
	}
	if st.Size() != memorySize {
		return nil, fmt.Errorf("%s: %d bytes: %w", OpensName, st.Size(), ErrFormat)
	}
	m, err := mapMemory(f)
	if err != nil {
		return nil, err
	}
	if m.words[wMagic] != memoryMagic || m.words[wVersion] != memoryVersion || m.words[wLives] > 1 ||
		m.words[wRedo] == 1 && (m.words[wSlot] >= MaxOpen || m.words[wAt] >= ringLen) {
		return nil, fmt.Errorf("%s: %w", OpensName, ErrFormat)
	}
	if m.words[wRedo] == 1 {
		m.redo()
	}
	for i := range MaxOpen {
		switch s := m.at(i); {
		case s[1] != 0:
			m.slot[s[0]], m.next = i, i+1
		case s[0] == 0: // never used
			return m, nil
		default:
			m.free, m.next = append(m.free, i), i+1
		}
	}
	return m, nil
}

func mapMemory(f *os.File) (*Memory, error) {
	raw, err := unix.Mmap(int(f.Fd()), 0, memorySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", OpensName, err)
	}
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&raw[0])), memoryLen)
	return &Memory{raw: raw, words: words, slot: map[uint64]int{}}, nil
}

func (m *Memory) at(slot int) []uint64 { return m.words[slotsAt+2*slot:][:2] }

// All is what is open.
func (m *Memory) All() (all []Open) {
	for _, node := range slices.Sorted(maps.Keys(m.slot)) {
		n := m.at(m.slot[node])[1]
		all = append(all, Open{node, int(uint32(n)), int(n >> 32)})
	}
	return all
}

// Set says how often a node is open, as a request has changed it. Unless there are too many (false) a successor finds it so, and
// Changed is true of the request. The caller takes care that there is one at a time; a nil Memory takes no notice.
func (m *Memory) Set(request, node uint64, readers, writers int) bool {
	if m == nil {
		return true
	}
	if node == 0 || readers < 0 || writers < 0 {
		fault.Misuse("node %d is open %d times for reading and %d for writing", node, readers, writers)
	}
	slot, ok := m.slot[node]
	switch {
	case ok:
	case len(m.free) > 0:
		slot = m.free[len(m.free)-1]
		m.free = m.free[:len(m.free)-1]
	case m.next == MaxOpen:
		return false
	default:
		slot = m.next
		m.next++
	}
	m.words[wKey], m.words[wSlot], m.words[wNode] = request, uint64(slot), node
	m.words[wCounts], m.words[wAt] = uint64(readers)|uint64(writers)<<32, m.words[wRing]%ringLen
	atomic.StoreUint64(&m.words[wRedo], 1)
	m.redo()
	if m.slot[node] = slot; readers+writers == 0 {
		delete(m.slot, node)
		m.free = append(m.free, slot)
	}
	return true
}

// redo does the change that is written down. Doing it twice is the same.
func (m *Memory) redo() {
	s := m.at(int(m.words[wSlot]))
	s[0] = m.words[wNode]
	atomic.StoreUint64(&s[1], m.words[wCounts])
	if m.words[wKey] != 0 && m.words[wRing]%ringLen == m.words[wAt] {
		m.words[ringAt+m.words[wAt]] = m.words[wKey]
		atomic.AddUint64(&m.words[wRing], 1)
	}
	atomic.StoreUint64(&m.words[wRedo], 0)
}

// Changed tells whether a request has changed the counts already: of the last ones, which those are that may be sent again.
func (m *Memory) Changed(request uint64) bool {
	return m != nil && slices.Contains(m.words[ringAt:ringAt+ringLen], request)
}

// Takeovers counts the processes that went on where another ended, this one included.
func (m *Memory) Takeovers() int {
	if m == nil {
		return 0
	}
	return int(atomic.LoadUint64(&m.words[wTakeovers]))
}
