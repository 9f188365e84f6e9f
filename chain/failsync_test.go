package chain

import (
	"errors"
	"syscall"
	"testing"

	"slatefs/chain/blockdev"
)

func TestFailSyncIsFinal(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", 64<<10)
	want := make([]byte, BlockSize)
	want[5] = 5
	if _, err := v.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	first := p.FailSync(syscall.EIO)
	for _, is := range []error{ErrReadOnly, blockdev.ErrSyncFailed, syscall.EIO} {
		if !errors.Is(first, is) {
			t.Errorf("%v: not %v", first, is)
		}
	}
	if err := p.FailSync(syscall.ENOSPC); !errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the second failure hides the first: %v", err)
	}
	_, write := v.WriteAt(want, 0)
	for _, err := range []error{write, p.Flush(), p.Failed()} {
		if !errors.Is(err, blockdev.ErrSyncFailed) {
			t.Errorf("after it: %v", err)
		}
	}
	got := make([]byte, BlockSize)
	if _, err := v.ReadAt(got, 0); err != nil || got[5] != 5 {
		t.Errorf("read: %v", err)
	}
}
