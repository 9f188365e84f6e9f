package chain

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// readsNothing fails the test if fn reads the device.
func readsNothing(t *testing.T, d *devtest.Disk, what string, fn func()) {
	t.Helper()
	if n := readsOf(d, fn); n > 0 {
		t.Errorf("%s read the device %d times", what, n)
	}
}

// What of a pool is not in memory is not told at once, and read by nobody; what is, is what the pool tells.
func TestAtOnce(t *testing.T) {
	p, d, v := coldPool(t)
	write(t, v, fill(1, BlockSize), 0)
	mustSnapshot(t, v, "s")
	ok(t, p.Checkpoint())
	dir, err := p.Resolve("dir")
	ok(t, err)
	_, snap, err := p.SnapLookup(dir.Ino, "v@s")
	ok(t, err)
	q := p.AtOnce()
	two := func(a any, err error) func() (any, error) { return func() (any, error) { return a, err } }
	for what, ask := range map[string]func(names) func() (any, error){
		"Lookup":      func(n names) func() (any, error) { return two(n.Lookup(dir.Ino, "link 7")) },
		"no name":     func(n names) func() (any, error) { return two(n.Lookup(dir.Ino, "no such")) },
		"GetAttr":     func(n names) func() (any, error) { return two(n.GetAttr(v.ino)) },
		"SnapDirAttr": func(n names) func() (any, error) { return two(n.SnapDirAttr(dir.Ino)) },
		"SnapLookup": func(n names) func() (any, error) {
			a, id, err := n.SnapLookup(dir.Ino, "v@s")
			return two([]any{a, id}, err)
		},
		"SnapAttr": func(n names) func() (any, error) { return two(n.SnapAttr(snap)) },
	} {
		chill(p)
		readsNothing(t, d, what, func() {
			if got, err := ask(q)(); !errors.Is(err, ErrNotNow) {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
		})
		want, wantErr := ask(p)()
		readsNothing(t, d, what, func() {
			if got, err := ask(q)(); fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v; the pool says %+v, %v", what, got, err, want, wantErr)
			}
		})
	}
	chill(p)
	readsNothing(t, d, "Volume", func() {
		if got, err := q.Volume(v.ino); err != nil || got != v {
			t.Errorf("a volume in use: %v, %v", got, err)
		}
		if _, err := q.Volume(dir.Ino); !errors.Is(err, ErrNotNow) {
			t.Errorf("not a volume: %v", err)
		}
		if s, err := q.Snap(snap); err != nil || s.l.id != snap {
			t.Errorf("a snapshot: %v", err)
		}
	})
	mustCheck(t, p)
}

// names is what both can be asked.
type names interface {
	Lookup(dir Ino, name string) (Attr, error)
	GetAttr(ino Ino) (Attr, error)
	SnapDirAttr(dir Ino) (Attr, error)
	SnapLookup(dir Ino, name string) (Attr, LayerID, error)
	SnapAttr(id LayerID) (Attr, error)
}

// until begins what waits for a plan, and returns when it is as far as that.
func until(t *testing.T, p *Pool, far func() bool, fn func() error) (wait func()) {
	done := make(chan error)
	go func() { done <- fn() }()
	for seen := false; !seen; runtime.Gosched() {
		p.mu.Lock()
		seen = far()
		p.mu.Unlock()
	}
	return func() { ok(t, <-done) }
}

// Who may not wait ends a plan from memory or not at all; then who may wait goes on, and the write is there, or its blocks are
// dirty where what it was for is gone.
func TestCommitNow(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(*testing.T, *Pool, *Volume) (wait func()) // the end of the plan
		ended  bool
		gone   bool
	}{
		{"from memory", func(*testing.T, *Pool, *Volume) func() { return func() {} }, true, false},
		{"without its page", func(_ *testing.T, p *Pool, _ *Volume) func() { chill(p); return func() {} }, false, false},
		{"after a rollback", func(t *testing.T, p *Pool, v *Volume) func() {
			return until(t, p, func() bool { return v.rollbacks > 0 }, func() error { return p.Rollback(Req{}, v.ino, "s", true) })
		}, false, true},
		{"after a snapshot", func(t *testing.T, p *Pool, v *Volume) func() {
			was := p.plans.frozen
			wait := until(t, p, func() bool { return p.plans.frozen > was }, func() error {
				return p.Snapshot(Req{}, []Ino{v.ino}, "t")
			})
			chill(p)
			return wait
		}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDisk(t, 64<<20)
			p := openPool(t, d)
			v := inPieces(t, p, "v", 600)
			ok(t, p.Checkpoint())
			var pl Plan
			ok(t, p.volumes.until(func() (Need, error) { return v.PlanWrite(&pl, 0, 8*BlockSize) }))
			old := make([]byte, 8*BlockSize)
			_, err := v.ReadAt(old, 0)
			ok(t, err)
			b := fill(9, int(pl.Len))
			ok(t, p.volumes.carryOut(&pl, b, 0, false))
			wait := c.before(t, p, v)
			readsNothing(t, d, "CommitNow", func() {
				if ended, err := pl.CommitNow(); ended != c.ended || err != nil {
					t.Errorf("ended %v, %v", ended, err)
				}
			})
			if !c.ended {
				ok(t, pl.Commit(pl.Len))
			}
			wait()
			want := append(b[:len(b):len(b)], old[len(b):]...)
			if c.gone {
				want = old
			}
			expect(t, v, 0, want)
			mustCheck(t, p)
		})
	}
}
