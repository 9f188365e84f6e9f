package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A helper that fails ends nothing: it is started again, told of once, and well after it has run for a while.
func TestHelperIsStartedAgain(t *testing.T) {
	var log bytes.Buffer
	runs, well := 0, make(chan struct{})
	h := &helper{name: "odd", log: slog.New(slog.NewTextHandler(&log, nil)), wait: time.Millisecond}
	h.run = func(ctx context.Context) error {
		switch runs++; {
		case runs <= 3:
			return errors.New("boom")
		case runs == 4:
			return nil
		}
		if why, times := h.trouble(); times == 4 && why != errByItself.Error() {
			t.Errorf("trouble: %s, %d times", why, times)
		}
		for why, _ := h.trouble(); why != "" && ctx.Err() == nil; why, _ = h.trouble() {
			time.Sleep(time.Millisecond)
		}
		close(well)
		<-ctx.Done()
		return nil
	}
	end := part{"mount", func(ctx context.Context) error {
		<-well
		return errOver
	}}
	if err := supervise(t.Context(), []part{{h.name, h.keep}, end}); err != nil || runs != 5 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if n := strings.Count(log.String(), "boom"); n != 1 || strings.Count(log.String(), "ended by itself") != 1 {
		t.Errorf("the log:\n%s", log.String())
	}
}

// The end does not wait for a helper that rests, and keeps the error of its end.
func TestHelperEnds(t *testing.T) {
	rests := &helper{name: "rests", log: slog.New(slog.DiscardHandler), wait: time.Hour, run: func(context.Context) error { return errors.New("boom") }}
	late := &helper{name: "late", log: rests.log, wait: time.Hour, run: func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("sync failed")
	}}
	over := part{"mount", func(ctx context.Context) error {
		for why, _ := rests.trouble(); why == "" && ctx.Err() == nil; why, _ = rests.trouble() {
			time.Sleep(time.Millisecond)
		}
		return errOver
	}}
	if err := supervise(t.Context(), []part{{rests.name, rests.keep}, {late.name, late.keep}, over}); err == nil || err.Error() != "late: sync failed" {
		t.Errorf("supervise returns %v", err)
	}
}
