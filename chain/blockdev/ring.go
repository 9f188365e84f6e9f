package blockdev

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/io_uring.h.
const (
	opPollAdd = 6
	opRead    = 22
	opWrite   = 23

	setupCoop      = 1 << 8
	setupSingle    = 1 << 12
	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	enterGetevents = 1

	mmapRings = 0
	mmapSQEs  = 0x10000000
)

// ErrRingFull is the answer of Push when the kernel takes no more before
// completions are taken.
var ErrRingFull = errors.New("ring full: take completions first")

// SQE is one request to a Ring: struct io_uring_sqe. Make it with ReadSQE,
// WriteSQE or PollSQE.
//
//	 0  opcode u8, flags u8, ioprio u16, fd i32
//	 8  offset u64
//	16  address of the buffer u64
//	24  length u32, flags of the operation u32
//	32  user data u64
//	40  buffer index u16, personality u16, and 20 bytes that stay zero
type SQE struct {
	op         uint8
	_          [3]byte
	fd         int32
	off, addr  uint64
	len, opArg uint32
	user       uint64
	_          [24]byte
}

// Completion is the end of one request: struct io_uring_cqe.
type Completion struct {
	User  uint64 // as given to the request
	Res   int32  // bytes done (maybe fewer than asked), poll events, or a negated errno
	Flags uint32
}

// Err is the errno of a request that failed, else nil.
func (c Completion) Err() error {
	if c.Res < 0 {
		return unix.Errno(-c.Res)
	}
	return nil
}

// ReadSQE reads into p from byte off of fd. p must stay reachable, on the heap,
// and aligned as O_DIRECT wants it, until the completion. That holds for
// WriteSQE too.
func ReadSQE(fd int, p []byte, off int64, user uint64) SQE {
	return SQE{op: opRead, fd: int32(fd), off: uint64(off), addr: uint64(addr(p)), len: uint32(len(p)), user: user}
}

// WriteSQE writes p at byte off of fd; with dsync these bytes are durable when
// it completes.
func WriteSQE(fd int, p []byte, off int64, dsync bool, user uint64) SQE {
	e := SQE{op: opWrite, fd: int32(fd), off: uint64(off), addr: uint64(addr(p)), len: uint32(len(p)), user: user}
	if dsync {
		e.opArg = unix.RWF_DSYNC
	}
	return e
}

// PollSQE completes once when fd has one of events (unix.POLLIN, ...). With unix.EPOLLEXCLUSIVE what happens at fd wakes only one of
// those that poll it so.
func PollSQE(fd int, events uint32, user uint64) SQE {
	return SQE{op: opPollAdd, fd: int32(fd), opArg: events, user: user}
}

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags uint32
	_, _                        uint32 // cpu and idle time of a polling thread
	features                    uint32
	_                           [4]uint32
	sq                          sqOffsets
	cq                          cqOffsets
}

// sqOffsets is struct io_sqring_offsets: bytes from the start of the mapping.
type sqOffsets struct {
	head, tail, mask uint32
	_, _, _          uint32 // entries, flags, dropped
	array            uint32
	_                [3]uint32
}

// cqOffsets is struct io_cqring_offsets.
type cqOffsets struct {
	head, tail, mask uint32
	_, _             uint32 // entries, overflow
	cqes             uint32
	_                [4]uint32
}

// Ring is a queue of I/O to the kernel (io_uring). It belongs to one OS thread:
// NewRing and all methods are called on it, locked with runtime.LockOSThread.
type Ring struct {
	fd      int
	rings   []byte // both rings, mapped
	entries []byte // the SQEs, mapped

	sqHead, sqTail, cqHead, cqTail *uint32 // in rings; the kernel moves sqHead and cqTail
	sqMask, cqMask                 uint32
	sqes                           []SQE
	cqes                           []Completion
	pending                        uint32 // pushed, not yet submitted
}

// NewRing makes a ring for n requests between two Enters (rounded up to a power
// of two) and twice as many completions. An error means that this kernel or
// sandbox refuses io_uring: use the File instead.
func NewRing(n uint32) (*Ring, error) {
	p := ringParams{flags: setupCoop | setupSingle}
	fd, err := ringSetup(n, &p)
	if errors.Is(err, unix.EINVAL) { // Linux below 6.0
		p = ringParams{}
		fd, err = ringSetup(n, &p)
	}
	if err != nil {
		return nil, fmt.Errorf("blockdev: ring: setup: %d entries: %w", n, err)
	}
	r := &Ring{fd: fd}
	if p.features&featSingleMmap == 0 || p.features&featNoDrop == 0 {
		err = fmt.Errorf("features %#x: %w", p.features, unix.ENOSYS)
	} else {
		err = r.mapRings(&p)
	}
	if err != nil {
		return nil, fmt.Errorf("blockdev: ring: setup: %w", errors.Join(err, r.Close()))
	}
	return r, nil
}

func ringSetup(n uint32, p *ringParams) (int, error) {
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(n), uintptr(unsafe.Pointer(p)), 0)
	if e != 0 {
		return -1, e
	}
	return int(fd), nil
}

// mapRings maps what the kernel laid out as p says, and makes entry i of the
// submission array name SQE i for ever.
func (r *Ring) mapRings(p *ringParams) (err error) {
	const prot, how = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(Completion{})))
	if r.rings, err = unix.Mmap(r.fd, mmapRings, int(size), prot, how); err != nil {
		return err
	}
	size = p.sqEntries * uint32(unsafe.Sizeof(SQE{}))
	if r.entries, err = unix.Mmap(r.fd, mmapSQEs, int(size), prot, how); err != nil {
		return err
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }
	array := unsafe.Slice(at(p.sq.array), p.sqEntries)
	for i := range array {
		array[i] = uint32(i)
	}
	r.sqHead, r.sqTail, r.sqMask = at(p.sq.head), at(p.sq.tail), *at(p.sq.mask)
	r.cqHead, r.cqTail, r.cqMask = at(p.cq.head), at(p.cq.tail), *at(p.cq.mask)
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&r.entries[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*Completion)(unsafe.Pointer(&r.rings[p.cq.cqes])), p.cqEntries)
	return nil
}

// Push queues e; a full queue is submitted first. ErrRingFull when the kernel
// then takes nothing: take completions and push again.
func (r *Ring) Push(e SQE) error {
	tail := *r.sqTail
	if tail-atomic.LoadUint32(r.sqHead) == uint32(len(r.sqes)) {
		if err := r.Enter(0); err != nil {
			return err
		}
		if tail-atomic.LoadUint32(r.sqHead) == uint32(len(r.sqes)) {
			return ErrRingFull
		}
	}
	r.sqes[tail&r.sqMask] = e
	atomic.StoreUint32(r.sqTail, tail+1)
	r.pending++
	return nil
}

// Pending is the number of requests that the next Enter submits.
func (r *Ring) Pending() uint32 { return r.pending }

// Enter submits what was pushed and waits until at least wait completions can
// be taken. A signal or a kernel short of memory may end it earlier, without an
// error: what is still Pending is submitted by the next Enter. Only a waiting
// call tells the Go scheduler, so that goroutines and the collector go on.
func (r *Ring) Enter(wait uint32) error {
	var n uintptr
	var e unix.Errno
	if wait == 0 {
		n, _, e = unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.pending), 0, enterGetevents, 0, 0)
	} else {
		n, _, e = unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.pending), uintptr(wait), enterGetevents, 0, 0)
	}
	if e == 0 {
		r.pending -= uint32(n)
		return nil
	}
	if e == unix.EINTR || e == unix.EAGAIN || e == unix.EBUSY { // nothing was submitted; the next call tries again
		return nil
	}
	return fmt.Errorf("blockdev: ring: enter: %d requests: %w", r.pending, e)
}

// Ready tells whether Next has a completion.
func (r *Ring) Ready() bool { return *r.cqHead != atomic.LoadUint32(r.cqTail) }

// Next takes one completion; false: there is none.
func (r *Ring) Next() (Completion, bool) {
	head := *r.cqHead
	if head == atomic.LoadUint32(r.cqTail) {
		return Completion{}, false
	}
	c := r.cqes[head&r.cqMask]
	atomic.StoreUint32(r.cqHead, head+1)
	return c, true
}

// Close frees the ring. Requests in flight must have completed: the kernel may
// use their buffers after it.
func (r *Ring) Close() error {
	var errs []error
	for _, m := range [][]byte{r.entries, r.rings} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	errs = append(errs, unix.Close(r.fd))
	return errors.Join(errs...)
}
