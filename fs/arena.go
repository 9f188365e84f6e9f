package fs

import (
	"fmt"
	"log/slog"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Sizes of what comes before a payload, in bytes.
const (
	headerInBytes = int(unsafe.Sizeof(fuse.InHeader{}))
	writeInBytes  = int(unsafe.Sizeof(fuse.WriteIn{})) // with the header
	headerBytes   = int(unsafe.Sizeof(fuse.OutHeader{}))
)

// A slot is this much of the arena, in bytes; every part begins at a page:
//
//	0     the answer's header, at its end the request's: a payload begins at the next page
//	4096  maxWrite and two blocks: payload of a WRITE, what a READ has read
//	…     two blocks: what a merging write reads first
const (
	slotData    = blockSize
	dataBytes   = maxWrite + 2*blockSize
	slotScratch = slotData + dataBytes
	slotBytes   = slotScratch + 2*blockSize
)

// arena is the memory of slots. It is no part of a core dump, nor of a child: these are guests' bytes.
type arena struct {
	mem   []byte
	ready []bool // by slot: populate was called
}

func newArena(slots int, log *slog.Logger) (arena, error) {
	const prot, how = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_NORESERVE
	mem, err := unix.Mmap(-1, 0, slots*slotBytes, prot, how)
	if err != nil {
		return arena{}, fmt.Errorf("buffers: %d bytes: %w", slots*slotBytes, err)
	}
	for _, advice := range []int{unix.MADV_DONTDUMP, unix.MADV_DONTFORK} {
		if err := unix.Madvise(mem, advice); err != nil {
			log.Debug("fs: buffers", "advice", advice, "error", err)
		}
	}
	return arena{mem, make([]bool, slots)}, nil
}

// at is the memory of a slot.
func (a arena) at(slot int) []byte { return a.mem[slot*slotBytes : (slot+1)*slotBytes] }

// populate brings a slot to memory, before a request is first read to it. A process that is killed while the kernel copies a
// request to it must not fail the request for a page that is not there: it is answered EIO then, by the kernel. Where nobody takes
// over there is no need. A slot belongs to one goroutine at a time.
func (a arena) populate(slot int) {
	if !a.ready[slot] {
		a.ready[slot] = true
		_ = unix.Madvise(a.at(slot)[:slotScratch], unix.MADV_POPULATE_WRITE) //nolint:errcheck // before Linux 5.14 it is as it was
	}
}

func (a arena) free() error { return unix.Munmap(a.mem) }
