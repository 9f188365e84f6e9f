package daemon

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestSharesOfMemory(t *testing.T) {
	for memory := int64(LeastMemory); memory <= 64<<30; memory += memory / 3 {
		s := sharesOf(memory)
		tail := s.cache * 3 / 16 // of three quarters of the cache, which may be dirty, a quarter: chain's pendingMem
		if all := programMemory + s.buffers + s.runtime + tail; all > memory {
			t.Errorf("of %d MiB: %+v and %d are %d MiB", memory>>20, s, tail>>20, all>>20)
		}
		if s.buffers < 8<<20 || s.cache < 8<<20 || 2*s.cache > s.runtime {
			t.Errorf("of %d MiB: %+v", memory>>20, s)
		}
	}
}

func TestDefaultMemory(t *testing.T) {
	const gib = int64(1) << 30
	for _, c := range []struct {
		host  int64
		pools int
		want  int64
	}{
		{gib / 2, 1, 128 << 20},
		{gib / 4, 1, 64 << 20},
		{gib, 0, 256 << 20},
		{gib, 1, 256 << 20},
		{8 * gib, 1, 256 << 20},
		{8 * gib, 10, 204 << 20},
		{8 * gib, 40, 64 << 20},
		{64 * gib, 40, 256 << 20},
		{gib / 16, 3, 64 << 20},
	} {
		if got := defaultOf(c.host, c.pools); got != c.want {
			t.Errorf("host with %d MiB and %d pools: %d MiB, want %d", c.host>>20, c.pools, got>>20, c.want>>20)
		}
	}
	if n := DefaultMemory(1); n < LeastMemory || n > MostByDefault {
		t.Errorf("here: %d", n)
	}
}

// What the environment says of Go's memory holds where it is less.
func TestBoundRuntime(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, c := range []struct{ was, want int64 }{
		{math.MaxInt64, sharesOf(LeastMemory).runtime}, {20 << 20, 20 << 20}, {1 << 40, sharesOf(LeastMemory).runtime},
	} {
		debug.SetMemoryLimit(c.was)
		if boundRuntime(LeastMemory); debug.SetMemoryLimit(-1) != c.want {
			t.Errorf("%d was set: %d, want %d", c.was, debug.SetMemoryLimit(-1), c.want)
		}
	}
}
