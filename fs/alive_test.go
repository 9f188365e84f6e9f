package fs

import (
	"context"
	"errors"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

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

	w.l.fs.lookups.mu.Lock() // which a LOOKUP takes
	w.ino = chain.RootIno
	w.send(w.request(codeLookup, []byte("v\x00")))
	for end := time.Now().Add(patience); ; { // it may be asked before it takes the request
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := w.l.alive(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a loop that is stuck in a request is alive: %v", err)
		}
	}
	w.l.fs.lookups.mu.Unlock()
	if _, e, _ := w.answer(); e != 0 {
		t.Fatal(e)
	}
	must(t, w.l.alive(t.Context()))
}
