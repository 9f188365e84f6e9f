package fault

import (
	"errors"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b Backoff
	const lastRetry = 512 * time.Second
	now := time.Unix(1000, 0)
	if b.Failing() || !b.Due(now) || b.Succeed() {
		t.Fatal("the zero value is not well")
	}
	for i := range 20 {
		wait := b.Fail(now, errors.New("EIO"), lastRetry)
		if want := min(time.Second<<i, lastRetry); wait != want {
			t.Fatalf("try %d: waits %v, want %v", i+1, wait, want)
		}
		if !b.Failing() || b.Due(now.Add(wait-1)) || !b.Due(now.Add(wait)) {
			t.Fatalf("try %d: failing %v, due before or not at its time", i+1, b.Failing())
		}
		now = now.Add(wait)
	}
	if !b.Succeed() || b.Failing() || b.Tries != 0 || !b.Due(time.Time{}) {
		t.Fatalf("after a success: %+v", b)
	}
}

// Who is tried again at a time is due at that time, to the microsecond; a whole one stays.
func TestOnGrid(t *testing.T) {
	for _, ns := range []int{0, 1, 500, 999, 1000, 1001, 999_999_999} {
		at := time.Unix(5, int64(ns))
		got := OnGrid(at)
		if got.Before(at) || got.Sub(at) >= time.Microsecond || got.Nanosecond()%1000 != 0 {
			t.Errorf("%v becomes %v", at, got)
		}
	}
}
