package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

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
				if need.kind == needFetch {
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
