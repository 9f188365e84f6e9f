package host

import (
	"path/filepath"
	"testing"
	"time"

	"slatefs/chain/blockdev"
)

// The lock of a killed daemon lives on for a moment, with its I/O in the kernel.
func TestOpenDeviceWaitsForALockThatNoDaemonHolds(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pool")
	f, err := blockdev.Create(path, 1<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		time.Sleep(100 * time.Millisecond)
		closed <- f.Close()
	}()
	again, err := Host{Run: dir}.OpenDevice(path, blockdev.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
