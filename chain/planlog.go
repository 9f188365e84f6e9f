package chain

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// laterLog is what was said under the plan lock: a log may stall, so its lines wait until the lock is given up. Who gives it
// up writes them, in the order in which they were said, whoever said them; no two do at once.
type laterLog struct {
	said atomic.Bool // there are lines

	mu    sync.Mutex // guards the rest; nothing is taken behind it
	lines []laterLine
	lost  int
	busy  bool // somebody writes
}

type laterLine struct {
	log *slog.Logger
	rec slog.Record
}

// maxLater bounds the lines that wait while the log stalls; of those beyond only the number is told.
const maxLater = 1024

// say writes a line to the log when the plan lock is given up, by the caller who holds it, or by the next who does. What the
// arguments refer to may not change.
func (m *planLock) say(log *slog.Logger, level slog.Level, msg string, args ...any) {
	var pc [1]uintptr
	runtime.Callers(2, pc[:])
	rec := slog.NewRecord(time.Now(), level, msg, pc[0]) //nolint:forbidigo // a line has the time at which it was said, as slog gives it
	rec.Add(args...)
	m.later.add(laterLine{log, rec})
}

func (l *laterLog) add(line laterLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said.Store(true)
	if len(l.lines) >= maxLater {
		l.lost++
		return
	}
	l.lines = append(l.lines, line)
}

// take is what is to be written, if nobody else writes.
func (l *laterLog) take(was bool) (lines []laterLine, lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was {
		l.busy = false
	}
	if l.busy || len(l.lines) == 0 {
		return nil, 0
	}
	lines, lost = l.lines, l.lost
	l.lines, l.lost, l.busy = nil, 0, true
	l.said.Store(false)
	return lines, lost
}

// write writes what was said. The plan lock is not held.
func (l *laterLog) write() {
	for lines, lost := l.take(false); len(lines) > 0; lines, lost = l.take(true) {
		for _, line := range lines {
			if h := line.log.Handler(); h.Enabled(context.Background(), line.rec.Level) {
				_ = h.Handle(context.Background(), line.rec) //nolint:errcheck // as slog does
			}
		}
		if lost > 0 {
			lines[0].log.Warn("lines of the log are lost: it stalled", "lines", lost)
		}
	}
}
