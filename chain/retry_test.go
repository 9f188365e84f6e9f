package chain

import (
	"testing"
	"time"
)

// What could not be erased is offered again when its back-off is over, though nothing else happens.
func TestFailedIsOfferedAgain(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 64<<10), 0)
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	ok(t, p.Flush())
	ok(t, p.EraseDrain(t.Context()))
	id, runs := lend(t, p, 1<<30)
	if len(runs) == 0 {
		t.Fatal("nothing to erase")
	}
	ok(t, report(p, id, nil, runs))
	for len(p.Ready()) > 0 {
		<-p.Ready()
	}
	select {
	case <-p.Ready():
	case <-time.After(10 * time.Minute):
		t.Fatal("the eraser is not asked again")
	}
}
