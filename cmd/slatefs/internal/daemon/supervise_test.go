package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// order notes who ended when.
type order struct {
	mu   sync.Mutex
	list []string
}

func (o *order) part(name string) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.list = append(o.list, name)
		return nil
	}}
}

func TestSuperviseStopsInReverseOrder(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		end  error
		want string // in the error; empty: none
	}{
		{errOver, ""}, {boom, "c: boom"}, {nil, "c: ended by itself"},
	} {
		var o order
		err := supervise(t.Context(), []part{o.part("a"), o.part("b"), {"c", func(context.Context) error { return c.end }}, o.part("d")})
		if !slices.Equal(o.list, []string{"d", "b", "a"}) {
			t.Errorf("%v: stopped in the order %v", c.end, o.list)
		}
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: supervise returns %v, want %q", c.end, err, c.want)
		}
	}
}

// A part that fails while it is stopped is told of, if nothing was wrong before.
func TestSuperviseErrorAtTheEnd(t *testing.T) {
	late := part{"late", func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("sync failed")
	}}
	over := part{"over", func(context.Context) error { return errOver }}
	if err := supervise(t.Context(), []part{late, over}); err == nil || !strings.Contains(err.Error(), "late: sync failed") {
		t.Errorf("supervise returns %v", err)
	}
}

// The end of the caller's context stops nothing: a drain may take its time.
func TestSuperviseOutlivesContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := make(chan struct{})
	p := part{"p", func(ctx context.Context) error {
		select {
		case <-release:
			return errOver
		case <-ctx.Done():
			return errors.New("stopped")
		}
	}}
	done := make(chan error)
	go func() { done <- supervise(ctx, []part{p}) }()
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
