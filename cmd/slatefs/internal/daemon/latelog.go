package daemon

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// LateLog is the log of a daemon as a writer that never holds who logs, and never fails: the disk that it lies on may be full
// or answer nothing, and who reads the other end of a pipe may rest or be gone. Lines that can't be written in time are
// lost, and counted in the next one that is.
type LateLog struct {
	w     io.Writer
	lines chan lateLine
	lost  atomic.Int64
}

// lateLine is a line, or done, which is closed when all before it is written.
type lateLine struct {
	text []byte
	done chan struct{}
}

// lateLines is how many lines wait to be written, at most, and lateEnd how long the end of the daemon waits for them.
const (
	lateLines = 1024
	lateEnd   = time.Second
)

// NewLateLog begins to write to w, until the end of the process.
func NewLateLog(w io.Writer) *LateLog {
	l := &LateLog{w: w, lines: make(chan lateLine, lateLines)}
	go l.run()
	return l
}

func (l *LateLog) run() {
	for line := range l.lines {
		if line.done != nil {
			close(line.done)
			continue
		}
		text, n := line.text, l.lost.Load()
		if n > 0 {
			text = append(fmt.Appendf(nil, "level=WARN msg=\"lines of the log are lost\" lines=%d\n", n), text...)
		}
		if _, err := l.w.Write(text); err != nil {
			n = -1
		}
		l.lost.Add(-n)
	}
}

// Write takes a line. It always succeeds.
func (l *LateLog) Write(line []byte) (int, error) {
	select {
	case l.lines <- lateLine{text: slices.Clone(line)}:
	default:
		l.lost.Add(1)
	}
	return len(line), nil
}

// Flush waits until what was logged before is written, but not for long.
func (l *LateLog) Flush() {
	t := time.NewTimer(lateEnd)
	defer t.Stop()
	mark := lateLine{done: make(chan struct{})}
	select {
	case l.lines <- mark:
	case <-t.C:
		return
	}
	select {
	case <-mark.done:
	case <-t.C:
	}
}
