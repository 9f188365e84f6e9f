package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/fs/death"
)

// stage is what a request in a slot waits for.
type stage uint8

const (
	reading stage = iota + 1 // a READ for its bytes
	filling                  // a WRITE for what it is merged with
	writing                  // a WRITE for its bytes
)

// maxTries is how many needs of a plan are fulfilled before the request goes the synchronous way.
const maxTries = 16

// read begins a READ. Whole blocks are read, so that every span begins at one.
func (l *eventLoop) read(s *slot) {
	in := s.readIn()
	if in.Size > maxWrite {
		l.fail(s, "read", chain.ErrInvalid)
		return
	}
	s.begin(reading, int(in.Size))
	o, off, err := l.fs.readable(l.now, in)
	if err != nil { // it is told there, or all is read first that it takes to tell
		l.synchronous(s)
		return
	}
	s.src, s.count, s.off = o.data, o.count, off
	l.makePlan(s)
}

// write begins a WRITE whose request is n bytes long.
func (l *eventLoop) write(s *slot, n int) {
	death.By(s.in[:n])
	in := s.writeIn()
	if n < writeInBytes || n-writeInBytes != int(in.Size) || in.Size > maxWrite {
		l.fail(s, "write", fmt.Errorf("request of %d bytes: %w", n, chain.ErrInvalid))
		return
	}
	s.begin(writing, int(in.Size))
	c, err := l.fs.writable(l.now, in, int(in.Size))
	if err != nil {
		l.synchronous(s)
		return
	}
	s.vol, s.count, s.off, s.n, s.append, s.stable = c.vol, c.count, c.off, c.n, c.append, c.stable
	if s.n == 0 || c.kill || mayBeZeros(s.data[:s.n], s.off) {
		l.synchronous(s)
		return
	}
	l.makePlan(s)
}

// probe is the distance in bytes of the blocks at which mayBeZeros looks.
const probe = 16 * blockSize

var zeros [blockSize]byte

// mayBeZeros tells whether a payload seems to hold zeros that need not be written. Whether they do is up to chain.
func mayBeZeros(b []byte, off int64) bool {
	for i := int(-off & (blockSize - 1)); i+blockSize <= len(b); i += probe {
		if b[i] == 0 && bytes.Equal(b[i:i+blockSize], zeros[:]) {
			return true
		}
	}
	return false
}

// makePlan makes the plan of a slot, now or when its need is fulfilled. An error is left to the synchronous way.
func (l *eventLoop) makePlan(s *slot) {
	var need chain.Need
	var err error
	known := true
	switch {
	case s.stage == reading:
		from := s.off &^ (blockSize - 1)
		need, err = s.src.PlanRead(&s.plan, from, s.off-from+int64(s.n))
	case s.append:
		need, known, err = s.vol.PlanAppend(&s.plan, s.off+int64(s.done), int64(s.n-s.done))
	default:
		need, err = s.vol.PlanWrite(&s.plan, s.off+int64(s.done), int64(s.n-s.done))
	}
	switch {
	case !known:
		l.synchronous(s)
	case err == nil && need.None():
		l.begin(s)
	case err != nil || s.tries == maxTries:
		l.synchronous(s)
	default:
		l.fulfil(s, need)
	}
}

// fulfil sees to the need of a plan on a goroutine, since it blocks.
func (l *eventLoop) fulfil(s *slot, need chain.Need) {
	s.tries++
	go func() { l.mail.post(mail{kind: mailFulfilled, s: s, err: l.pool.Fulfil(l.ctx, need)}) }()
}

// fulfilled goes on with a plan. What could not be fulfilled is tried the synchronous way, which knows what that means.
func (l *eventLoop) fulfilled(s *slot, err error) {
	switch {
	case err == nil:
		l.makePlan(s)
	case l.gone:
		s.plan.Quit()
		l.fail(s, "plan", err)
	default:
		l.synchronous(s)
	}
}

// synchronous serves a request as the classic transport does, on a goroutine that has the slot until it is answered.
// Its plan gives up its place: the request gets another one there.
func (l *eventLoop) synchronous(s *slot) {
	s.plan.Quit()
	if s.count == nil {
		s.count = l.fs.countOf(s.header().NodeId)
	}
	go func() {
		switch {
		case s.stage == reading:
			res, st := l.fs.Read(nil, s.readIn(), s.data[:s.n])
			n := 0
			if st == fuse.OK {
				n = res.Size()
			}
			l.reply(s, st, s.data[:n])
		case s.done > 0:
			l.reply(s, l.fs.status("write", s.header(), l.writeRest(s)), s.written(s.n))
		default:
			n, st := l.fs.Write(nil, s.writeIn(), s.data[:s.writeIn().Size])
			l.reply(s, st, s.written(int(n)))
		}
		l.mail.post(mail{kind: mailDone, s: s})
	}()
}

// writeRest writes what the plans of a WRITE have not written yet.
func (l *eventLoop) writeRest(s *slot) error {
	c := change{vol: s.vol, off: s.off + int64(s.done), n: s.n - s.done, append: s.append, stable: s.stable}
	if _, err := c.write(s.data[s.from:][:c.n]); err != nil || !s.flush {
		return err
	}
	return l.pool.Flush()
}

// begin starts the I/O of a plan.
func (l *eventLoop) begin(s *slot) {
	s.ops, s.err = s.ops[:0], nil
	switch {
	case s.stage == reading:
		at := int64(0)
		for _, p := range s.plan.Spans {
			if p.Dev < 0 {
				clear(s.data[at : at+p.Len])
			} else { // the rest of the last block, past the end of the volume, is read too and not shown
				s.ops = append(s.ops, op{opRead, s.data[at : at+wholeBlocks(p.Len)], p.Dev})
			}
			at += p.Len
		}
	case len(s.plan.Fill) > 0:
		s.stage = filling
		for i, f := range s.plan.Fill {
			if f.Dev < 0 {
				s.skip[i] = 0
				clear(s.fillAt(i))
				continue
			}
			from := f.Dev / l.sector * l.sector
			to := (f.Dev + f.Len + l.sector - 1) / l.sector * l.sector
			s.skip[i] = f.Dev - from
			s.ops = append(s.ops, op{opRead, s.fillAt(i)[:to-from], from})
		}
	default:
		l.beginWriting(s)
	}
	l.start(s)
}

// wholeBlocks rounds bytes up.
func wholeBlocks(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

// merge lays what was read first around the payload.
func (s *slot) merge() {
	data := s.data[s.from:]
	copy(data[s.off+int64(s.done)-s.plan.Off:], data[:s.n-s.done])
	for i, f := range s.plan.Fill {
		copy(data[f.At:f.At+f.Len], s.fillAt(i)[s.skip[i]:])
	}
}

// beginWriting makes the operations that write the data of a slot.
func (l *eventLoop) beginWriting(s *slot) {
	s.stage, s.ops = writing, s.ops[:0]
	kind := opWrite
	if s.stable && s.plan.InPlace {
		kind = opDsync
	}
	at := int64(s.from)
	for _, p := range s.plan.Spans {
		s.ops = append(s.ops, op{kind, s.data[at : at+p.Len], p.Dev})
		at += p.Len
	}
}

// start hands the operations of a stage to the queue; without any, the stage is at its end.
func (l *eventLoop) start(s *slot) {
	s.left = len(s.ops)
	for i := range s.ops {
		l.todo = append(l.todo, opRef{s, i})
	}
	if s.left == 0 {
		l.stageDone(s)
	}
}

// opDone takes the outcome of an operation: n bytes, or an error. What was done in part is continued.
func (l *eventLoop) opDone(s *slot, i, n int, err error) {
	o := &s.ops[i]
	again := false
	switch {
	case err != nil:
		again = errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)
	case n == 0:
		err = io.ErrUnexpectedEOF
	case n < len(o.buf):
		o.buf, o.off, again = o.buf[n:], o.off+int64(n), true
	}
	if again {
		l.todo = append(l.todo, opRef{s, i})
		return
	}
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("device: %v of %d bytes at %#x: %w", o.kind, len(o.buf), o.off, err)
		if o.kind == opDsync && l.syncLost(err) {
			s.err = l.pool.FailSync(s.err)
		}
	}
	if s.left--; s.left == 0 {
		l.stageDone(s)
	}
}

// syncLost tells whether the error of an opDsync leaves unknown what is durable.
func (l *eventLoop) syncLost(err error) bool {
	dev, ok := l.pool.Device().(interface{ DsyncIsFinal(err error) bool })
	return !ok || dev.DsyncIsFinal(err)
}

// stageDone goes on when all operations of a stage have ended.
func (l *eventLoop) stageDone(s *slot) {
	switch s.stage {
	case reading:
		l.endRead(s)
	case filling:
		if s.err != nil {
			l.abort(s, "write")
			return
		}
		s.merge()
		l.beginWriting(s)
		l.start(s)
	case writing:
		l.endWrite(s)
	}
}

func (l *eventLoop) endRead(s *slot) {
	if s.err != nil {
		l.abort(s, "read")
		return
	}
	from, n := s.off-s.plan.Off, s.plan.Len
	s.plan.Abort() // which is how a read ends in either case
	var out []byte
	if n > from {
		out = s.data[from:min(n, from+int64(s.n))]
	}
	l.copied += len(out)
	l.reply(s, fuse.OK, out)
	l.release(s)
}

// endWrite ends a plan, on a goroutine if a page must be read for that.
func (l *eventLoop) endWrite(s *slot) {
	if s.err != nil {
		l.abort(s, "write")
		return
	}
	if ended, err := s.plan.CommitNow(); ended {
		l.committed(s, err)
		return
	}
	go func() { l.mail.post(mail{kind: mailCommitted, s: s, err: s.plan.Commit(s.plan.Len)}) }()
}

// committed goes on when a plan has ended. Where it ended before the request does, another one follows; an error then is one of
// all of it.
func (l *eventLoop) committed(s *slot, err error) {
	s.flush = s.flush || s.stable && !s.plan.InPlace
	covers, end := int(s.plan.Covers()), s.from+int(s.plan.Len)
	switch {
	case err != nil:
		l.fail(s, "write", err)
	case s.done+covers < s.n:
		s.done, s.from, s.tries = s.done+covers, end, 0
		l.makePlan(s)
	case s.flush:
		go func() {
			st := l.fs.status("write", s.header(), l.pool.Flush())
			l.reply(s, st, s.written(s.n))
			l.mail.post(mail{kind: mailDone, s: s})
		}()
	default:
		l.reply(s, fuse.OK, s.written(s.n))
		l.release(s)
	}
}

// abort ends a plan whose I/O failed, and answers with that: on a goroutine, since the claims of a write have to be given up.
func (l *eventLoop) abort(s *slot, what string) {
	go func() {
		s.plan.Abort()
		l.failed(s, what, s.err)
	}()
}

// fail answers a request with an error, on a goroutine: the message has a path, which may have to be read.
func (l *eventLoop) fail(s *slot, what string, err error) { go l.failed(s, what, err) }

func (l *eventLoop) failed(s *slot, what string, err error) {
	l.reply(s, l.fs.status(what, s.header(), err), nil)
	l.mail.post(mail{kind: mailDone, s: s})
}
