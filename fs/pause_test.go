package fs

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// A pause that ends before the device has answered leaves nothing: no goroutine, however often it is tried, and it serves on.
func TestPauseInVain(t *testing.T) {
	for name, loop := range map[string]bool{"classic": false, "loop": true} {
		t.Run(name, func(t *testing.T) {
			d := devtest.New(poolBytes, 512)
			must(t, chain.Create(d, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
			p := openPool(t, d)
			s := mountOn(t, p, t.TempDir(), variant{loop: loop}.options())
			fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT)
			came := make(chan struct{}, 64)
			release := d.Hold(func(o devtest.Op) bool {
				if o.Kind == devtest.OpWrite {
					came <- struct{}{}
				}
				return o.Kind == devtest.OpWrite
			})
			wrote := make(chan error, 1)
			go func() {
				_, err := unix.Pwrite(fd, pattern(4096, 1), 0)
				wrote <- err
			}()
			<-came
			pause := func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if err := s.Pause(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a pause while a write waits: %v", err)
				}
			}
			pause()
			before := runtime.NumGoroutine()
			const tries = 50
			for range tries {
				pause()
			}
			if n := runtime.NumGoroutine(); n >= before+tries/2 {
				t.Errorf("%d goroutines, %d before %d pauses", n, before, tries)
			}
			release()
			must(t, <-wrote)
			_, err := unix.Pwrite(fd, pattern(4096, 2), 4096)
			must(t, err)
			must(t, unix.Fsync(fd))
		})
	}
}
