package daemon

import (
	"context"
	"time"

	"go.uber.org/atomic"
)

// outside is a call of something outside of the daemon that may hang whatever it is told: in the kernel, on a device that
// answers nothing. It holds its caller for a bounded time only, and while it hangs it is not called again.
type outside struct{ hangs atomic.Bool }

// call runs fn, and waits for it at most for grace after the end of ctx. False: it hangs, and so it was left alone or has not
// begun. What fn uses must be its own.
func (o *outside) call(ctx context.Context, grace time.Duration, fn func()) bool {
	if !o.hangs.CompareAndSwap(false, true) {
		return false
	}
	done := make(chan struct{})
	go func() {
		fn()
		o.hangs.Store(false)
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}
