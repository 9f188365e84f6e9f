package chain

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// TestSaidUnderThePlanLock: what is said with the plan lock held is written when it is given up, in order, also where many
// say something at once and the log stalls; what is too much is counted.
func TestSaidUnderThePlanLock(t *testing.T) {
	var m planLock
	var out bytes.Buffer
	entered, stall := make(chan struct{}, 1), make(chan struct{})
	log := slog.New(stalling{slog.NewTextHandler(&out, nil), entered, stall})
	m.Lock()
	m.say(log, slog.LevelInfo, "first", "n", 1)
	if out.Len() > 0 {
		t.Error("a line is written with the lock held")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-entered // the first line is being written, and stalls
		m.Lock()
		m.say(log, slog.LevelInfo, "second")
		m.Unlock() // who writes is stalled: nobody else is
	}()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		<-done
		m.Lock()
		for range maxLater + 7 {
			m.say(log, slog.LevelInfo, "more")
		}
		m.Unlock()
		close(stall)
	}()
	m.Unlock()
	wg.Wait()
	text := out.String()
	if n := strings.Count(text, "\n"); n != 1+maxLater+1 {
		t.Errorf("%d lines are written", n)
	}
	if i, j := strings.Index(text, "first n=1"), strings.Index(text, "second"); i < 0 || j < i {
		t.Error("the lines are not in order")
	}
	if !strings.Contains(text, "lines=8") {
		t.Error("what is lost is not counted")
	}
}

// stalling tells when a line comes, and waits with it.
type stalling struct {
	slog.Handler
	entered chan struct{}
	stall   chan struct{}
}

func (s stalling) Enabled(ctx context.Context, l slog.Level) bool {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.stall
	return s.Handler.Enabled(ctx, l)
}
