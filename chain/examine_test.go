package chain

import (
	"context"
	"runtime"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

func readOnly() Options {
	return Options{Now: newClock().now, CacheBytes: 1 << 20, ReadOnly: true}
}

// within runs fn, which must end in time and may not panic.
func within(t testing.TB, name string, fn func()) {
	t.Helper()
	done := make(chan any, 1)
	go func() {
		defer func() {
			r := recover()
			if r != nil {
				stack := make([]byte, 4096)
				t.Errorf("%s: panic: %v\n%s", name, r, stack[:runtime.Stack(stack, false)])
			}
			done <- r
		}()
		fn()
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Minute):
		t.Fatalf("%s: hangs", name)
	}
}

func existing(t testing.TB, p *Pool, path string) *Volume {
	t.Helper()
	a, err := p.Resolve(path)
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Volume(a.Ino)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// examine opens a pool read-only, checks it and reads what it shows. found: the check was not clean, or a read failed.
func examine(d *devtest.Disk) (found bool, err error) {
	p, err := Open(d, readOnly())
	if err != nil {
		return false, err
	}
	r, err := p.Check(context.Background())
	if err != nil {
		return false, err
	}
	readEverything(p)
	return len(r.Errors)+len(r.Leaks)+len(r.Lost) > 0, p.Close()
}

// readEverything looks at all that a pool shows, whatever it says.
func readEverything(p *Pool) {
	b := make([]byte, 64<<10)
	var dirs func(Ino, int)
	dirs = func(dir Ino, depth int) {
		var es []DirEntry
		_ = p.ReadDir(dir, 0, func(e DirEntry) bool { es = append(es, e); return true })
		_ = p.ReadSnaps(dir, 0, func(DirEntry) bool { return true })
		for _, e := range es {
			_, _ = p.GetAttr(e.Ino)
			_ = p.Path(e.Ino)
			_, _ = p.Tree(e.Ino)
			_, _ = p.VolumeInfo(e.Ino)
			_, _ = p.Snapshots(e.Ino)
			_, _ = p.Readlink(e.Ino)
			if v, err := p.Volume(e.Ino); err == nil {
				_, _ = v.ReadAt(b, 0)
				_, _ = v.SeekData(0)
				_, _ = v.SeekHole(0)
			}
			if e.Type == TypeDir && depth < 10 {
				dirs(e.Ino, depth+1)
			}
		}
	}
	dirs(RootIno, 0)
	for id := range p.tree.layers {
		if s, err := p.Snap(id); err == nil {
			_, _ = s.ReadAt(b, 0)
		}
	}
	_ = p.Usage()
	_ = p.EraseJobs()
}

// useIt opens a pool for writing and does what a daemon would, whatever fails.
func useIt(d *devtest.Disk) {
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20})
	if err != nil {
		return
	}
	p.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return eraseSome(p, n) })
	readEverything(p)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, a := range []string{"disk.raw", "other"} {
		n, err := p.Resolve(a)
		if err != nil {
			continue
		}
		if v, err := p.Volume(n.Ino); err == nil {
			_, _ = v.WriteAt(fill('w', 16<<10), 4096)
			_ = p.Snapshot(Req{}, []Ino{n.Ino}, "used")
			_, _ = v.WriteAt(fill('x', 16<<10), 8192)
			_ = p.Rollback(Req{}, n.Ino, "used", true)
			_ = v.Punch(0, 1<<20)
		}
		_ = p.DestroyVolume(Req{}, n.Ino, DestroyOptions{Snapshots: true, Clones: true})
	}
	_, _ = p.Check(ctx)
	_ = p.EraseDrain(ctx)
	for range 8 {
		if n, err := eraseSome(p, 1<<20); n == 0 || err != nil {
			break
		}
	}
	_ = p.Close()
}
