package chain

import (
	"errors"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Unix(1000, 0)
	if b.failing() || !b.due(now) || b.succeed() {
		t.Fatal("the zero value is not well")
	}
	for i := range 20 {
		wait := b.fail(now, errors.New("EIO"))
		if want := min(time.Second<<i, lastRetry); wait != want {
			t.Fatalf("try %d: waits %v, want %v", i+1, wait, want)
		}
		if !b.failing() || b.due(now.Add(wait-1)) || !b.due(now.Add(wait)) {
			t.Fatalf("try %d: failing %v, due before or not at its time", i+1, b.failing())
		}
		now = now.Add(wait)
	}
	if !b.succeed() || b.failing() || b.tries != 0 || !b.due(time.Time{}) {
		t.Fatalf("after a success: %+v", b)
	}
}
