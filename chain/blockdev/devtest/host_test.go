package devtest

import (
	"testing"

	"slatefs/chain/blockdev"
)

func TestOnHost(t *testing.T) {
	d := New(1<<20, 512)
	b := make([]byte, 4096)
	b[0] = 1
	write := func(off int64) error { _, err := d.WriteAt(b, off); return err }
	if err := write(8 << 10); err != nil {
		t.Fatal(err)
	}
	if d.Sparse() || d.HostBytes() != 1<<20 {
		t.Error("sparse, and no host was named")
	}
	d.OnHost(8 << 10)
	if !d.Sparse() || d.HostBytes() != 4<<10 {
		t.Errorf("the host has given %d bytes", d.HostBytes())
	}
	if done, err := d.Prepare(0, 64<<10); done != 12<<10 || !blockdev.HostFull(err) {
		t.Errorf("prepared %d bytes: %v", done, err)
	}
	if err := write(12 << 10); !blockdev.HostFull(err) {
		t.Errorf("a write into a hole: %v", err)
	}
	if err := write(4 << 10); err != nil {
		t.Errorf("a write over what the host has: %v", err)
	}
	if at, n := d.Backed(4<<10, 64<<10); at != 4<<10 || n != 8<<10 {
		t.Errorf("the host has %d bytes at %d", n, at)
	}
	if err := d.Zero(4<<10, 4<<10, blockdev.Release); err != nil {
		t.Fatal(err)
	}
	if err := write(12 << 10); err != nil {
		t.Errorf("after a release: %v", err)
	}
	d.OnHost(1 << 20)
	if done, err := d.Prepare(0, 1<<20); done != 1<<20 || err != nil || d.Sparse() {
		t.Errorf("prepared %d bytes: %v", done, err)
	}
}
