package fs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// mail is what a goroutine tells the loop, most of it of a slot.
type mail struct {
	kind mailKind
	s    *slot
	op   int // of mailOp, with its outcome
	n    int
	err  error         // of mailOp, mailFulfilled and mailCommitted
	pong chan struct{} // of mailPing and mailPause
	in   []byte        // of mailInterrupt
}

type mailKind uint8

const (
	mailDone      mailKind = iota + 1 // it was answered
	mailFulfilled                     // the need of its plan was seen to
	mailCommitted                     // its plan has ended, by a goroutine
	mailOp                            // one operation has ended
	mailPause                         // the loop receives nothing more, and closes pong when no slot is in use; no pong: it goes on
	mailPing                          // the loop is asked whether it runs: it closes pong
	mailLook                          // another loop has no room: all that waits is to be received
	mailInterrupt                     // another loop has read an INTERRUPT of what may be this one's
)

// mailbox is how goroutines reach the loop.
type mailbox struct {
	mu     sync.Mutex
	full   []mail // guarded by mu
	spare  []mail // the loop's
	asleep atomic.Bool
	bell   int // eventfd; readable when something was posted to a loop that sleeps
}

func (m *mailbox) open() (err error) {
	m.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return err
}

func (m *mailbox) close() error { return unix.Close(m.bell) }

// post leaves a mail. It may be called from any goroutine.
func (m *mailbox) post(e mail) {
	m.mu.Lock()
	m.full = append(m.full, e)
	m.mu.Unlock()
	if m.asleep.Load() {
		one := [8]byte{1}
		_, _ = unix.Write(m.bell, one[:]) //nolint:errcheck // EAGAIN: it rings already
	}
}

// take returns what was posted since the last call. It is valid until the next one.
func (m *mailbox) take() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.spare)
	m.spare, m.full = m.full, m.spare[:0]
	return m.spare
}

// sleepy announces sleep, and tells whether there is nothing to stay awake for. From then on post rings the bell.
func (m *mailbox) sleepy() bool {
	m.asleep.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.full) == 0
}

// awake ends what sleepy began.
func (m *mailbox) awake() { m.asleep.Store(false) }

// hush stops the bell.
func (m *mailbox) hush() {
	var count [8]byte
	_, _ = unix.Read(m.bell, count[:]) //nolint:errcheck // EAGAIN: it was silent
}
