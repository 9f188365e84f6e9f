package chain

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Who removes what has no layers leaves no merges, however often he finds the one that another left while a checkpoint is built: he
// would wait for the end of the build else.
func TestLeftIsCountedOnce(t *testing.T) {
	p, err := Open(newDisk(t, 32<<20), Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	v := mustVolume(t, p, "v", 4<<20)
	for i, name := range []string{"one", "two"} {
		write(t, v, fill('a'+byte(i), 1<<20), 0)
		takeSnapshot(t, p, name, v)
	}
	for i := range 2 * mostLeft {
		_, err := p.Symlink(Req{}, RootIno, fmt.Sprint("link", i), "there")
		ok(t, err)
	}
	p.structure.Lock()
	p.built = make(chan struct{}) // as while a checkpoint is built
	p.structure.Unlock()
	removed := make(chan error, 1)
	go func() {
		err := p.DestroySnapshots(Req{}, v.ino, []string{"one"}, DestroyOptions{})
		for i := range 2 * mostLeft {
			err = errors.Join(err, p.Unlink(Req{}, RootIno, fmt.Sprint("link", i)))
		}
		removed <- err
	}()
	select {
	case err := <-removed:
		ok(t, err)
	case <-time.After(time.Minute):
		t.Error("who removes links waits for the end of the build")
	}
	p.mu.Lock()
	left := p.removal.left
	p.mu.Unlock()
	if left != 1 {
		t.Errorf("%d merges are left, want 1", left)
	}
	p.structure.Lock()
	close(p.built)
	p.built = nil
	p.structure.Unlock()
	if t.Failed() {
		return
	}
	ok(t, p.removal.reapAll())
	if p.removal.left != 0 {
		t.Errorf("%d merges are left after all", p.removal.left)
	}
	mustCheck(t, p)
}
