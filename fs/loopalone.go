package fs

import (
	"sync/atomic"
	"time"

	"slatefs/chain/blockdev"
)

const (
	small   = 64 << 10 // bytes of a write that the loop's thread carries out itself
	crowd   = 64       // lone writes that the ring gets after one that was not alone until its end, or took long
	tooLong = 10 * time.Millisecond
)

// baton is what the thread has that runs a loop. There are two of them, so that one can wait for the device.
//
// A write to a pool file that a ring carries out ends in two steps: the file system ends it on a thread of the kernel, which must
// be scheduled before the loop can be. One that a thread waits for ends on that thread. So a write that comes alone is a call of
// the loop's own thread (writeAlone), at two thirds of the CPU time, and where the machine is busy in a third of the time. What
// waits for such a write waits for all who use the loop; so the other thread looks, while there are such writes, whether one
// takes longer than tooLong, and then goes on with the loop in its place. The outcome comes by mail. There is no second one
// meanwhile: a write is alone when no other slot is in use.
//
// Reads end where the interrupt is, and so does all I/O of a block device: there is nothing to be gained.
type baton struct {
	file    ringFile      // const; nil: nothing is written so
	crowded int           // lone writes that are still the ring's; of who has the baton
	turn    atomic.Uint64 // odd: a thread that has the baton is in pwrite. Who makes it even has the baton
	rests   atomic.Bool   // the watcher sleeps until begun
	begun   chan struct{}
	over    chan struct{}
}

// init tells whether there is something to watch.
func (b *baton) init(dev blockdev.Device) bool {
	file, ok := dev.(ringFile)
	b.begun, b.over = make(chan struct{}, 1), make(chan struct{})
	if !ok || file.IsBlockDevice() {
		return false
	}
	b.file = file
	return true
}

// end tells the other thread that the loop is at its end.
func (b *baton) end() { close(b.over) }

// await returns when who has the baton waits for the device for long: then it is the caller's. false: the loop is at its end.
func (b *baton) await() bool {
	clock := time.NewTicker(tooLong)
	defer clock.Stop()
	for seen := b.turn.Load(); ; {
		select {
		case <-clock.C:
		case <-b.over:
			return false
		}
		now := b.turn.Load()
		switch {
		case now != seen:
		case now%2 == 0:
			if !b.rest(clock, now) {
				return false
			}
		case b.turn.CompareAndSwap(now, now+1):
			b.crowded = crowd
			return true
		}
		seen = now
	}
}

// rest sleeps until a write begins after that of a turn.
func (b *baton) rest(clock *time.Ticker, turn uint64) (more bool) {
	clock.Stop()
	defer clock.Reset(tooLong)
	b.rests.Store(true)
	if b.turn.Load() != turn { // it may not have seen that
		return true
	}
	select {
	case <-b.begun:
		return true
	case <-b.over:
		return false
	}
}

// enter is called before a write.
func (b *baton) enter() (turn uint64) {
	turn = b.turn.Add(1)
	if b.rests.Load() {
		b.rests.Store(false)
		select { // full: it is awake
		case b.begun <- struct{}{}:
		default:
		}
	}
	return turn
}

// alone tells whether all that is to be done is a small write that the loop may carry out itself.
func (l *eventLoop) alone() bool {
	if l.baton.file == nil || len(l.todo) != 1 || l.inWork() != 1 || !l.queue.straight(&l.todo[0].s.ops[l.todo[0].op]) {
		return false
	}
	if l.baton.crowded > 0 {
		l.baton.crowded--
		return false
	}
	return true
}

// writeAlone carries the write out. false: it took long, and another thread has the loop. Who sent it is the one who would send the
// next; if there is one before it is answered, others come beside it, and have the ring.
func (l *eventLoop) writeAlone() bool {
	s, i, b := l.todo[0].s, l.todo[0].op, &l.baton
	l.todo = l.todo[:0]
	o := s.ops[i]
	turn := b.enter()
	n, err := b.file.Pwrite(o.buf, o.off)
	if !b.turn.CompareAndSwap(turn, turn+1) {
		l.mail.post(mail{kind: mailOp, s: s, op: i, n: n, err: err})
		return false
	}
	if !l.gone && l.pausing == nil {
		l.receive()
	}
	if l.inWork() > 1 {
		b.crowded = crowd
	}
	l.opDone(s, i, n, err)
	return true
}
