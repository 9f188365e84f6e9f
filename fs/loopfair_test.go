package fs

import (
	"sync/atomic"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// gate is a disk whose writes of one length wait.
type gate struct {
	*devtest.Disk
	length  atomic.Int64
	reached chan struct{}
	open    chan struct{}
}

func (g *gate) WriteAt(p []byte, off int64) (int, error) {
	if int64(len(p)) == g.length.Load() {
		g.reached <- struct{}{}
		<-g.open
	}
	return g.Disk.WriteAt(p, off)
}

// A write that wants a block for itself is not passed by later ones, and the loop serves others while it waits.
func TestLoopWaitsForBlocksInTurn(t *testing.T) {
	g := &gate{Disk: devtest.New(poolBytes, 512), reached: make(chan struct{}, 8), open: make(chan struct{})}
	must(t, chain.Create(g, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	w := newWire(t, openPool(t, g), nil, nil)
	if e := w.write(0, pattern(512<<10, 1), 0); e != 0 {
		t.Fatal(e)
	}
	if e, _ := w.call(w.request(codeFsync, make([]byte, 16))); e != 0 {
		t.Fatal(e)
	}
	const n = 128 << 10
	g.length.Store(n)
	first := w.transfer(codeWrite, 0, n, 0, pattern(n, 2))
	part := w.transfer(codeWrite, 10, 100, 0, pattern(100, 3))
	late := w.transfer(codeWrite, 0, n, 0, pattern(n, 4))
	w.send(first)
	<-g.reached
	w.send(part)
	w.send(late)
	w.shows(256<<10, pattern(512<<10, 1)[256<<10:384<<10])
	select {
	case <-g.reached:
		t.Error("the later write is under way before the one that waited")
	default:
	}
	close(g.open)
	for _, want := range [][]byte{first, part, late} {
		if unique, e, _ := w.answer(); unique != headerOf(want).Unique || e != 0 {
			t.Fatalf("answer to %d, want %d: %v", unique, headerOf(want).Unique, e)
		}
	}
	w.shows(0, pattern(n, 4))
}
