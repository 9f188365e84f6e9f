package fs

import (
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/fs/death"
)

// slot is room for one request that the loop serves. It belongs to the loop, or to the goroutine that the loop gave it
// to, which gives it back by mail.
type slot struct {
	index   int
	in      []byte // the request, read to here
	data    []byte
	scratch []byte
	answer  *answer

	begun int64        // the moment of the turn in which it was received
	count *volumeMeter // whose request it is; nil: of no volume, or not known

	stage  stage
	src    planner       // of a READ
	vol    *chain.Volume // of a WRITE
	off    int64         // what was asked
	n      int
	append bool
	stable bool
	plan   chain.Plan
	done   int      // bytes of a WRITE that plans before this one have written
	from   int      // where in data this one's begin
	flush  bool     // what they wrote needs a flush to be durable
	tries  int      // needs of this plan
	ops    []op     // of this stage
	left   int      // of them that have not ended
	skip   [2]int64 // bytes in the scratch before what each Fill asks for
	err    error    // the first error of this stage
}

// begin makes a slot that of a READ or WRITE of n bytes, of which nothing is known yet.
func (s *slot) begin(what stage, n int) {
	s.stage, s.n, s.tries, s.done, s.from, s.flush = what, n, 0, 0, 0, false
}

// planner is what can be read: a volume or a snapshot.
type planner interface {
	PlanRead(pl *chain.Plan, off, n int64) (chain.Need, error)
}

// answer is what writev sends, in memory that is not the garbage collector's.
type answer struct {
	header fuse.OutHeader
	write  fuse.WriteOut
	entry  fuse.EntryOut
	attr   fuse.AttrOut
	stat   fuse.StatfsOut
	iov    [2]unix.Iovec
}

// makeSlots makes the slots.
func (l *eventLoop) makeSlots(n int) (err error) {
	if l.arena, err = newArena(n, l.log); err != nil {
		return err
	}
	for i := range n {
		m := l.arena.at(i)
		l.slots = append(l.slots, &slot{
			index: i, in: m[slotData-writeInBytes : slotScratch], data: m[slotData:slotScratch], scratch: m[slotScratch:],
			answer: (*answer)(unsafe.Pointer(&m[0])), plan: chain.Plan{Lane: l.lane},
		})
	}
	for i := range l.slots { // the last one that was used is the next, so that the first ones stay in the cache
		l.free = append(l.free, l.slots[n-1-i])
	}
	return nil
}

// release frees a slot. If there was none, requests may wait for it of which nobody tells any more.
func (l *eventLoop) release(s *slot) {
	if len(l.free) == 0 {
		l.room.Store(true)
		l.due, l.all = !l.gone, !l.gone
	}
	s.src, s.vol, s.err = nil, nil, nil
	l.free = append(l.free, s)
}

func (s *slot) header() *fuse.InHeader { return (*fuse.InHeader)(unsafe.Pointer(&s.in[0])) }
func (s *slot) readIn() *fuse.ReadIn   { return (*fuse.ReadIn)(unsafe.Pointer(&s.in[0])) }
func (s *slot) writeIn() *fuse.WriteIn { return (*fuse.WriteIn)(unsafe.Pointer(&s.in[0])) }

// fillAt is where a merging write reads its i-th Fill to.
func (s *slot) fillAt(i int) []byte { return s.scratch[i*blockSize : (i+1)*blockSize] }

// reply answers the request in a slot: an error, or body.
func (l *eventLoop) reply(s *slot, st fuse.Status, body []byte) {
	a := s.answer
	a.header = fuse.OutHeader{Length: uint32(headerBytes), Status: -int32(st), Unique: s.header().Unique}
	a.iov[0].Base = (*byte)(unsafe.Pointer(&a.header))
	a.iov[0].SetLen(headerBytes)
	parts := 1
	if st == fuse.OK && len(body) > 0 {
		parts = 2
		a.header.Length += uint32(len(body))
		a.iov[1].Base = &body[0]
		a.iov[1].SetLen(len(body))
	}
	death.Done(s.in[:headerInBytes])
	_, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(l.port), uintptr(unsafe.Pointer(&a.iov[0])), uintptr(parts))
	l.replied(a.header.Unique, e)
	l.note(s, st, len(body))
}

// note counts the request in a slot, which was answered with so many bytes.
func (l *eventLoop) note(s *slot, st fuse.Status, n int) {
	k, bytes := kindOf(s.header().Opcode), int64(0)
	switch {
	case st != fuse.OK:
	case k == KindRead:
		bytes = int64(n)
	case k == KindWrite:
		bytes = int64(s.answer.write.Size)
	}
	nanos := moment() - s.begun
	l.mine.took(k, nanos, bytes, st == fuse.EIO)
	s.count.took(k, nanos, bytes)
}

// written is the answer to a WRITE of n bytes.
func (s *slot) written(n int) []byte {
	s.answer.write = fuse.WriteOut{Size: uint32(n)}
	return (*[unsafe.Sizeof(fuse.WriteOut{})]byte)(unsafe.Pointer(&s.answer.write))[:]
}
