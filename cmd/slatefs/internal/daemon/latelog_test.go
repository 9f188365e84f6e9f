package daemon

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// oddWriter fails or holds who writes.
type oddWriter struct {
	mu   sync.Mutex
	text strings.Builder
	fail bool
	hold chan struct{} // nil: nobody is held
	held chan struct{}
}

func (w *oddWriter) Write(b []byte) (int, error) {
	if w.hold != nil {
		w.held <- struct{}{}
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail {
		return 0, errors.New("no space left on device")
	}
	return w.text.Write(b)
}

// A log that can't be written to holds nobody, and says later what it lost.
func TestLogNeverHolds(t *testing.T) {
	w := &oddWriter{hold: make(chan struct{}), held: make(chan struct{})}
	l := NewLateLog(w)
	fmt.Fprintln(l, "first")
	<-w.held
	for i := range 2 * lateLines {
		fmt.Fprintln(l, "line", i)
	}
	l.Flush() // in vain, but not for ever
	go func() {
		for range w.held {
		}
	}()
	close(w.hold)
	l.Flush()
	fmt.Fprintln(l, "last")
	l.Flush()
	w.mu.Lock()
	defer w.mu.Unlock()
	text := w.text.String()
	if !strings.HasPrefix(text, "first\nlevel=WARN msg=\"lines of the log are lost\" lines=1024\nline 0\n") || !strings.HasSuffix(text, "\nlast\n") {
		t.Errorf("the log:\n%.200s…", text)
	}
}

func TestLogOnAFullDisk(t *testing.T) {
	w := &oddWriter{fail: true}
	l := NewLateLog(w)
	for range 3 {
		if _, err := fmt.Fprintln(l, "lost"); err != nil {
			t.Error(err)
		}
	}
	l.Flush()
	w.mu.Lock()
	w.fail = false
	w.mu.Unlock()
	fmt.Fprintln(l, "kept")
	l.Flush()
	if got := w.text.String(); got != "level=WARN msg=\"lines of the log are lost\" lines=3\nkept\n" {
		t.Errorf("the log:\n%s", got)
	}
}
