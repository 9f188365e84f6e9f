package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

// coldPool is a pool with so many names that its catalog has more than one page, and a
// volume in a directory.
func coldPool(t testing.TB) (*Pool, *devtest.Disk, *Volume) {
	t.Helper()
	d := newDisk(t, 32<<20)
	p := openPool(t, d)
	a, err := p.Mkdir(Req{}, RootIno, "dir", 0o755)
	ok(t, err)
	for i := range 200 {
		_, err := p.Symlink(Req{}, a.Ino, fmt.Sprintf("link %d", i), strings.Repeat("x", 100))
		ok(t, err)
	}
	b, err := p.Create(Req{}, a.Ino, "v", 0o644)
	ok(t, err)
	v, err := p.Volume(b.Ino)
	ok(t, err)
	ok(t, v.Truncate(64<<20))
	ok(t, p.Checkpoint())
	return p, d, v
}

// chill takes all clean pages out of memory.
func chill(p *Pool) {
	p.blocks.store.SetCacheBytes(0)
	p.blocks.store.SetCacheBytes(1 << 20)
}

// readsOf is how often fn reads the device.
func readsOf(d *devtest.Disk, fn func()) int {
	before := d.Reads()
	fn()
	return d.Reads() - before
}

// A write that is refused is told the path of its volume, which is read without the plan lock; others plan meanwhile.
func TestRefusedWriteReadsWithoutThePlanLock(t *testing.T) {
	for name, set := range map[string][]Setting{
		"refquota": {{Name: propRefquota, Value: "1M"}}, "full pool": nil,
	} {
		t.Run(name, func(t *testing.T) {
			p, d, v := coldPool(t)
			ok(t, p.SetProps(Req{}, v.ino, set...))
			ok(t, p.Checkpoint())
			var err error
			for off := int64(0); err == nil; off += 128 << 10 {
				_, err = v.WriteAt(fill(1, 128<<10), off)
			}
			ok(t, p.Checkpoint())
			var pl Plan
			fetched := 0
			for err = nil; err == nil; {
				chill(p)
				var need Need
				if n := readsOf(d, func() { need, err = v.PlanWrite(&pl, 63<<20, 128<<10) }); n > 0 {
					t.Errorf("PlanWrite read the device %d times", n)
				}
				if need.is(needFetch) {
					fetched++
				}
				if err == nil && need.None() {
					t.Fatal("it was planned")
				}
				if err == nil {
					err = p.Fulfil(context.Background(), need)
				}
			}
			if !errors.Is(err, ErrNoSpace) && !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "dir/v") {
				t.Errorf("refused: %v", err)
			}
			if fetched == 0 {
				t.Error("nothing was fetched for it")
			}
		})
	}
}

// coldWorlds makes the pools of worlds keep no clean page: whatever is looked up is not in memory.
func coldWorlds(t *testing.T) {
	t.Helper()
	was := worldCache
	worldCache = 1
	t.Cleanup(func() { worldCache = was })
}

// All goes as ever where every page is missed at first, and every look-up needs more pages than the cache has room for.
func TestModelCold(t *testing.T) {
	coldWorlds(t)
	testModel(t)
}

func TestCrashCold(t *testing.T) {
	coldWorlds(t)
	crashSome(t, 1)
}

// Many who change names at once, with no room for a single page, end; and no look-up of theirs holds the plan lock over a read.
func TestManyChangesWithoutACache(t *testing.T) {
	d := newDisk(t, 64<<20)
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1})
	ok(t, err)
	const many, each = 24, 12
	var dirs []Ino
	for i := range many {
		a, err := p.Mkdir(Req{}, RootIno, fmt.Sprintf("dir %d", i), 0o755)
		ok(t, err)
		dirs = append(dirs, a.Ino)
		for k := range each {
			_, err := p.Symlink(Req{}, a.Ino, fmt.Sprintf("link %d", k), strings.Repeat("x", 500))
			ok(t, err)
		}
	}
	ok(t, p.Checkpoint())
	stop := keepRunning(t, p)
	var all sync.WaitGroup
	for i, dir := range dirs {
		all.Go(func() {
			other := dirs[(i+1)%many]
			for k := range each {
				name := fmt.Sprintf("link %d", k)
				_, err := p.Lookup(dir, name)
				if err == nil {
					err = p.Rename(Req{}, dir, name, other, fmt.Sprintf("from %d: %d", i, k), 0)
				}
				if err == nil {
					err = p.SetXattr(Req{}, dir, "user.k", fill(byte(k), 600), 0)
				}
				if err == nil && k%4 == 0 {
					err = p.Checkpoint()
				}
				if err == nil {
					err = p.Unlink(Req{}, other, fmt.Sprintf("from %d: %d", i, k))
				}
				if err != nil {
					t.Errorf("%d in %d: %v", k, dir, err)
				}
			}
		})
	}
	all.Wait()
	stop()
	for _, dir := range dirs {
		if a, err := p.GetAttr(dir); err != nil || a.Size != 0 {
			t.Errorf("directory %d has %d entries left: %v", dir, a.Size, err)
		}
	}
	mustCheck(t, p)
	ok(t, p.Close())
}

// A change that must look up a page that is damaged, or that the device does not give, is refused with that, before anything has
// changed; whoever needs other pages goes on, and who comes later finds the page when it can be read again.
func TestDamagedCatalogPageIsOneCallers(t *testing.T) {
	p, d, v := coldPool(t)
	a, err := p.Resolve("dir")
	ok(t, err)
	chill(p)
	gone := func(op devtest.Op) error { // any page
		if op.Kind == devtest.OpRead && op.Len == BlockSize {
			return syscall.EIO
		}
		return nil
	}
	d.Fail(gone)
	for what, fn := range map[string]func() error{
		"lookup": func() error { _, err := p.Lookup(a.Ino, "link 77"); return err },
		"rename": func() error { return p.Rename(Req{}, a.Ino, "link 78", a.Ino, "other", 0) },
		"mkdir":  func() error { _, err := p.Mkdir(Req{}, a.Ino, "new", 0o755); return err },
	} {
		if err := fn(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", what, err)
		}
		if errors.Is(fn(), errMissed) {
			t.Errorf("%s answers what is of nobody", what)
		}
	}
	ok(t, p.Failed())
	write(t, v, fill(7, 8<<10), 0)
	expect(t, v, 0, fill(7, 8<<10))
	d.Fail(nil)
	_, err = p.Lookup(a.Ino, "link 77")
	ok(t, err)
	if is, err := p.GetAttr(a.Ino); err != nil || is.Size != a.Size || !is.Mtime.Equal(a.Mtime) {
		t.Errorf("what was refused has changed the directory: %+v, it was %+v: %v", is, a, err)
	}
	ok(t, p.Rename(Req{}, a.Ino, "link 78", a.Ino, "other", 0))
}

// A device that does not answer keeps who looks names up, and nobody else: the plan lock is free meanwhile.
func TestLookupOnASlowDeviceStopsNobody(t *testing.T) {
	p, d, v := coldPool(t)
	a, err := p.Resolve("dir")
	ok(t, err)
	write(t, v, fill(1, 8<<10), 0)
	chill(p)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpRead {
			once.Do(func() { close(held); <-release })
		}
		return nil
	})
	done := make(chan error, 1)
	go func() {
		_, err := p.Mkdir(Req{}, a.Ino, "new", 0o755)
		done <- err
	}()
	<-held
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		p.Usage()
		_, err := v.WriteAt(fill(2, 4<<10), 0)
		if err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-wrote:
	case <-time.After(time.Minute):
		t.Error("a writer waits for a page of the catalog")
	}
	close(release)
	ok(t, <-done)
}
