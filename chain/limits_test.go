package chain

import (
	"errors"
	"testing"
)

// TestMaxSize: what a volume accepts a map must be able to hold, else the next checkpoint fails.
func TestMaxSize(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "big", MaxSize)
	write(t, v, fill('z', 8192), MaxSize-8192)
	if _, err := v.WriteAt(fill('z', 8192), MaxSize-4096); !errors.Is(err, ErrTooBig) {
		t.Errorf("write over the end: %v", err)
	}
	if err := v.Truncate(MaxSize + 1); !errors.Is(err, ErrTooBig) {
		t.Errorf("truncate over the end: %v", err)
	}
	if err := p.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	expect(t, v, MaxSize-8192, fill('z', 8192))
	expect(t, v, MaxSize-12288, fill(0, 4096))
}
