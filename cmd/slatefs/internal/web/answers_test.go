package web

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
)

// TestShared has many ask the same, and many something else each: a daemon is asked once, and a few questions at a time. Who leaves takes
// the answer from nobody.
func TestShared(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	s := &answers{now: func() time.Time { return now }}
	var asked, atOnce, most atomic.Int64
	hold := make(chan struct{})
	ask := func(context.Context) (int64, error) {
		asked.Add(1)
		for n := atOnce.Add(1); n > most.Load(); {
			most.Store(n)
		}
		<-hold
		atOnce.Add(-1)
		return asked.Load(), nil
	}
	var all sync.WaitGroup
	gone, leave := context.WithCancel(t.Context())
	all.Go(func() {
		if _, err := shared(gone, s, question{uuid.UUID{1}, "erase", ""}, ask); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	for asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	leave()
	for range 50 {
		all.Go(func() {
			if _, err := shared(t.Context(), s, question{uuid.UUID{1}, "erase", ""}, ask); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 50 {
		all.Go(func() {
			if _, err := shared(t.Context(), s, question{uuid.UUID{1}, "volume", strconv.Itoa(i)}, ask); err != nil {
				t.Error(err)
			}
		})
	}
	for atOnce.Load() < questionsAtOnce {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	all.Wait()
	if asked.Load() != 51 || most.Load() != questionsAtOnce {
		t.Errorf("asked %d times, %d at once", asked.Load(), most.Load())
	}
	again := func() int64 {
		v, err := shared(t.Context(), s, question{uuid.UUID{1}, "erase", ""}, ask)
		if err != nil {
			t.Error(err)
		}
		return v
	}
	if again(); asked.Load() != 51 {
		t.Error("a fresh answer is asked for again")
	}
	s.forget(uuid.UUID{1})
	if again(); asked.Load() != 52 {
		t.Error("it is not asked for after something was done")
	}
	now = now.Add(freshFor)
	if again(); asked.Load() != 53 {
		t.Error("an old answer is kept")
	}
	if len(s.known) != 1 {
		t.Errorf("%d answers are kept", len(s.known))
	}
}

// TestQuietPage: who listens to a page on which nothing changes goes on listening.
func TestQuietPage(t *testing.T) {
	s := New(Options{
		Source: func(context.Context) ([]Pool, error) { return []Pool{{Name: "p"}}, nil }, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	s.patience = refreshTime / 2
	s.state.refresh(t.Context())
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	r, err := http.Get(srv.URL + "/live?view=overview")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	beats := 0
	for in := bufio.NewScanner(r.Body); beats < 3; {
		if !in.Scan() {
			t.Fatalf("it ended after %d: %v", beats, in.Err())
		}
		if strings.HasPrefix(in.Text(), ": here") {
			beats++
		}
	}
}
