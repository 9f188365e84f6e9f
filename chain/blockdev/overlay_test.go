package blockdev_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// An overlay does what a device does, and the device below keeps what it has.
func TestOverlay(t *testing.T) {
	const size = 1 << 20
	base := devtest.New(size, 512)
	want := pattern(size, 3)
	must(t, second(base.WriteAt(want, 0)))
	below := bytes.Clone(want)
	ops := base.Ops()
	o := blockdev.NewOverlay(base)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		off := rng.Int64N(size/512) * 512
		n := min(size-off, (1+rng.Int64N(40))*512)
		switch i % 4 {
		case 0, 1:
			b := pattern(int(n), byte(i))
			must(t, second(o.WriteAt(b, off)))
			copy(want[off:], b)
		case 2:
			if i%8 == 2 {
				off, n = off/4096*4096, n/4096*4096
			}
			must(t, o.Zero(off, n, blockdev.Overwrite))
			clear(want[off : off+n])
		default:
			b := make([]byte, n)
			must(t, second(o.ReadAt(b, off)))
			if !bytes.Equal(b, want[off:off+n]) {
				t.Fatalf("step %d: %d bytes at %d are not what was written", i, n, off)
			}
		}
	}
	must(t, o.Grow(2*size))
	got := make([]byte, 2*size)
	must(t, second(o.ReadAt(got, 0)))
	if !bytes.Equal(got, append(bytes.Clone(want), make([]byte, size)...)) {
		t.Error("the whole is not what was written")
	}
	for i, err := range []error{second(o.ReadAt(got[:512], 2*size)), second(o.WriteAt(got[:512], 2*size)), o.Zero(4096, 4*size, blockdev.Unmap)} {
		if !errors.Is(err, blockdev.ErrPastEnd) {
			t.Errorf("case %d past the end: %v", i, err)
		}
	}
	must(t, second(base.ReadAt(got[:size], 0)))
	if base.Ops() != ops || !bytes.Equal(got[:size], below) {
		t.Error("the device below was written")
	}
}
