package chain

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

// slowBuild is a checkpoint whose build stands still at its first read of a page, until go on.
type slowBuild struct {
	*Pool
	t     *testing.T
	goOn  func()
	ended chan error
	ops   atomic.Int64 // of the device, by others
}

// newSlowBuild has a volume "v" with snapshots "a" and "b", an erase job, and more to build.
func newSlowBuild(t *testing.T) (x *slowBuild, v *Volume) {
	d := newDisk(t, 32<<20)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	ok(t, err)
	x = &slowBuild{Pool: p, t: t, ended: make(chan error, 1)}
	v = mustVolume(t, p, "v", 4<<20)
	for i, name := range []string{"a", "b", ""} {
		for k := range int64(100) {
			write(t, v, fill(byte('a'+i), BlockSize), (2*k+int64(i))*BlockSize)
		}
		if name != "" {
			takeSnapshot(t, p, name, v)
		}
		ok(t, p.Checkpoint())
	}
	for k := range int64(100) {
		write(t, v, fill('z', BlockSize), 3*k*BlockSize)
	}
	ok(t, v.Punch(0, 30*BlockSize))
	ok(t, p.Flush())
	p.blocks.store.SetCacheBytes(0)
	p.blocks.store.SetCacheBytes(1 << 20)
	_, err = p.GetAttr(v.ino) // whose time the cut notes
	ok(t, err)

	stands, release := make(chan struct{}), make(chan struct{})
	var first sync.Once
	d.Fail(func(o devtest.Op) error {
		builds := false
		if o.Kind == devtest.OpRead {
			first.Do(func() { builds = true })
		}
		if builds {
			close(stands)
			<-release
		} else {
			x.ops.Add(1)
		}
		return nil
	})
	go func() { x.ended <- p.Checkpoint() }()
	<-stands
	var once sync.Once
	x.goOn = func() { once.Do(func() { close(release) }) }
	t.Cleanup(x.goOn)
	return x, v
}

// opsBeside bounds the operations of the device that a change takes while a checkpoint is built.
const opsBeside = 40

// beside does something while the build stands still.
func (x *slowBuild) beside(what string, do func() error) {
	x.t.Helper()
	before := x.ops.Load()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		if err != nil {
			x.t.Errorf("%s: %v", what, err)
		}
	case <-time.After(time.Minute):
		x.t.Fatalf("%s waits for the build", what)
	}
	if n := x.ops.Load() - before; n > opsBeside {
		x.t.Errorf("%s took %d operations of the device", what, n)
	}
}

// A build that stands still keeps nobody who makes, freezes, renames, rolls back or deletes, nor the eraser. What they did
// holds, and what they left is done when it goes on.
func TestNobodyWaitsForABuild(t *testing.T) {
	x, v := newSlowBuild(t)
	p := x.Pool
	var w *Volume
	x.beside("create", func() error { w = mustVolume(t, p, "w", 1<<20); return p.Flush() })
	x.beside("write", func() error { write(t, v, fill('y', BlockSize), 0); return p.Flush() })
	x.beside("snapshot", func() error { return p.Snapshot(Req{}, []Ino{v.ino, w.ino}, "c") })
	x.beside("clone", func() error { _, err := p.Clone(Req{}, v.ino, "b", RootIno, "k"); return err })
	x.beside("rename of a snapshot", func() error { return p.RenameSnapshot(Req{}, v.ino, "c", "d") })
	x.beside("destroy of a snapshot", func() error {
		return p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{Defer: true})
	})
	x.beside("rollback", func() error { return p.Rollback(Req{}, v.ino, "d", true) })
	x.beside("destroy of a volume", func() error {
		return p.DestroyVolume(Req{}, w.ino, DestroyOptions{Snapshots: true})
	})
	for range 3 { // each divides a run
		x.beside("erase", func() error { _, err := eraseSome(p, 4*BlockSize); return err })
	}
	x.beside("look", func() error { p.Usage(); _, err := p.Snapshots(v.ino); return err })
	select {
	case err := <-x.ended:
		t.Fatalf("the build went on by itself: %v", err)
	default:
	}
	x.goOn()
	ok(t, <-x.ended)
	expect(t, v, 0, fill('y', BlockSize))
	if names, err := p.Snapshots(v.ino); err != nil || len(names) != 2 {
		t.Errorf("%d snapshots, %v", len(names), err)
	}
	ok(t, p.removal.reapWaiting())
	eraseAll(t, p)
	ok(t, p.Checkpoint())
	mustCheck(t, p)
	ok(t, p.Close())
}

// The same, and the power goes, or the build comes to nothing, at one of its operations.
func TestBuildEndsAfterChanges(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("fails=%v", fails), func(t *testing.T) {
			x, v := newSlowBuild(t)
			p := x.Pool
			d := p.dev.(*devtest.Disk)
			x.beside("rollback", func() error { return p.Rollback(Req{}, v.ino, "b", true) })
			x.beside("snapshot", func() error { return p.Snapshot(Req{}, []Ino{v.ino}, "c") })
			x.beside("erase", func() error { _, err := eraseSome(p, 1<<40); return err })
			x.beside("destroy", func() error { return p.DestroySnapshots(Req{}, v.ino, []string{"a"}, DestroyOptions{}) })
			if fails {
				d.Fail(func(o devtest.Op) error {
					if o.Kind == devtest.OpRead {
						return errPassing
					}
					return nil
				})
			}
			x.goOn()
			if err := <-x.ended; fails == (err == nil) {
				t.Fatal(err)
			}
			d.Fail(nil)
			for seed := range uint64(4) {
				q, _ := reopen(t, d.Clone(), seed)
				mustCheck(t, q)
			}
			ok(t, p.Checkpoint())
			mustCheck(t, p)
			ok(t, p.removal.reapWaiting())
			eraseAll(t, p)
			ok(t, p.Checkpoint())
			mustCheck(t, p)
			ok(t, p.Close())
		})
	}
}
