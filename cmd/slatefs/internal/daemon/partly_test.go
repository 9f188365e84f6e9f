package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
	"slatefs/cmd/slatefs/internal/control"
)

// tellTale is a mount that lists the names that it is told of.
type tellTale struct {
	noView
	names []string
}

func (v *tellTale) ChangedName(_ chain.Ino, name string) error {
	v.names = append(v.names, name)
	return nil
}

// partBench is a service of a pool that nothing runs beside, so that whoever asks its clock while a command runs is that command.
type partBench struct {
	*bench
	view *tellTale
	log  bytes.Buffer
	hook atomic.Pointer[func()] // the clock calls it once
}

func newPartBench(t *testing.T) *partBench {
	t.Helper()
	b := &partBench{view: &tellTale{}}
	now := func() time.Time {
		if f := b.hook.Swap(nil); f != nil {
			(*f)()
		}
		return time.Now()
	}
	b.bench = &bench{t: t, disk: devtest.New(64<<20, 512)}
	b.must(chain.Create(b.disk, chain.Format{Name: "lab", UUID: uuid.UUID{9}, Zeroed: true, Now: now}))
	p, err := chain.Open(b.disk, chain.Options{Properties: control.Served, Now: now})
	b.must(err)
	b.pool = p
	b.s = &Service{Pool: p, View: b.view, Log: slog.New(slog.NewTextHandler(&b.log, nil)), Dir: "/lab", Now: time.Now, Dev: b.disk}
	t.Cleanup(func() {
		if err := p.Close(); err != nil && p.Failed() == nil {
			t.Error(err)
		}
	})
	b.volume("v", 1<<20, 1)
	b.snapshot("v@s")
	_, err = b.s.clone(t.Context(), control.Peer{}, control.CloneArgs{Object: object("v@s"), New: object("c")})
	b.must(err)
	b.log.Reset()
	b.view.names = nil
	return b
}

func (b *partBench) destroy() error {
	_, err := b.s.destroy(b.t.Context(), control.Peer{Op: "destroy"}, control.DestroyArgs{Object: object("v"), Clones: true})
	return err
}

// gone wants the log and the mount to have been told of what is gone, and of nothing else.
func (b *partBench) gone(names, destroyed string) {
	b.t.Helper()
	if got := strings.Join(b.view.names, " "); got != names {
		b.t.Errorf("the mount was told of %q, want %q", got, names)
	}
	log := b.log.String()
	if !strings.Contains(log, destroyed) || !strings.Contains(log, "stopped=") || strings.Count(log, "changed by a command") != 1 {
		b.t.Errorf("the log says %s, want %s", log, destroyed)
	}
}

// TestDestroyStopsInPart: where a destroy is refused when some of it is gone, the mount and the log are told of that, and the error is
// what stopped it: it is not tried again with names that lead nowhere.
func TestDestroyStopsInPart(t *testing.T) {
	b := newPartBench(t)
	c, err := b.pool.Resolve("c")
	b.must(err)
	var opened sync.WaitGroup
	open := func() { // under the plan lock, when the volume goes: who wants to open the clone has his turn before that goes
		opened.Go(func() {
			if err := b.pool.OpenFile(c.Ino, true); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(50 * time.Millisecond)
	}
	b.hook.Store(&open)
	err = b.destroy()
	opened.Wait()
	if !errors.Is(err, chain.ErrBusy) || errors.Is(err, chain.ErrNotFound) {
		t.Errorf("%v, want %v", err, chain.ErrBusy)
	}
	b.gone("v", `destroyed="/lab/v@s /lab/v"`)
	if _, err := b.pool.Resolve("c"); err != nil {
		t.Error(err)
	}
	b.pool.ReleaseFile(c.Ino, true)
}

// TestDestroyIsNotDurable: what is gone when the pool fails is told as well.
func TestDestroyIsNotDurable(t *testing.T) {
	b := newPartBench(t)
	b.disk.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync {
			return errors.New("lost")
		}
		return nil
	})
	if err := b.destroy(); err == nil {
		t.Error("there is no error")
	}
	b.gone("c v", `destroyed="/lab/v@s /lab/c /lab/v"`)
	b.disk.Fail(nil)
}
