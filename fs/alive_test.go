package fs

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// stuckStat is a file system whose STATFS waits.
type stuckStat struct {
	*FS
	came, open chan struct{}
}

func (s stuckStat) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status {
	close(s.came)
	<-s.open
	return fuse.OK
}

// A loop that runs says so, one that is at the device as well, however long that takes; one that is stuck does not.
func TestLoopAlive(t *testing.T) {
	d := devtest.New(poolBytes, 512)
	must(t, chain.Create(d, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	p := openPool(t, d)
	w := newWire(t, p, nil, nil)
	must(t, w.l.alive(t.Context()))

	came := make(chan struct{}, 16)
	release := d.Hold(func(o devtest.Op) bool {
		if o.Kind == devtest.OpWrite {
			came <- struct{}{}
		}
		return o.Kind == devtest.OpWrite
	})
	w.send(w.transfer(codeWrite, 0, 4096, 0, pattern(4096, 1)))
	<-came
	must(t, w.l.alive(t.Context())) // for ever, if it followed the device
	release()
	if _, e, _ := w.answer(); e != 0 {
		t.Fatal(e)
	}

	stuck := stuckStat{nil, make(chan struct{}), make(chan struct{})}
	p2, _ := newPool(t, variant{})
	stuck.FS = New(p2, nil)
	w = newWire(t, p2, nil, stuck)
	w.send(w.request(codeStatFS))
	<-stuck.came
	ctx, cancel := context.WithTimeout(t.Context(), 3*alivePoll)
	defer cancel()
	if err := w.l.alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a loop that is stuck in a request is alive: %v", err)
	}
	close(stuck.open)
	if _, e, _ := w.answer(); e != 0 {
		t.Fatal(e)
	}
	must(t, w.l.alive(t.Context()))
}
