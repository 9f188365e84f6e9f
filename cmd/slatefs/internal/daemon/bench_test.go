package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/erase"
	"slatefs/fs"
)

// bench is a pool of 64 MiB with its service, and what runs beside it; it has no mount, and no socket.
type bench struct {
	t    *testing.T
	host host.Host
	disk *devtest.Disk
	pool *chain.Pool
	s    *Service
}

// noView is a mount that hears everything and has nobody.
type noView struct{}

func (noView) Changed(chain.Ino) error                { return nil }
func (noView) ChangedName(chain.Ino, string) error    { return nil }
func (noView) Holders(chain.Ino) ([]fs.Holder, error) { return nil, nil }
func (noView) Answered() (none [fs.Kinds]fs.Answered) { return none }
func (noView) VolumeUse(chain.Ino) fs.VolumeUse       { return fs.VolumeUse{} }
func (noView) PagesHeld() (fs.HeldPages, bool)        { return fs.HeldPages{}, false }

func newBench(t *testing.T) *bench {
	t.Helper()
	return newBenchAt(t, time.Now)
}

// newBenchAt is newBench by another clock.
func newBenchAt(t *testing.T, now func() time.Time) *bench {
	t.Helper()
	b := &bench{t: t, disk: devtest.New(64<<20, 512), host: host.Host{State: t.TempDir(), Conf: filepath.Join(t.TempDir(), "conf")}}
	err := chain.Create(b.disk, chain.Format{Name: "lab", UUID: uuid.UUID{9}, Zeroed: true, Now: now})
	if err == nil {
		b.pool, err = chain.Open(b.disk, chain.Options{Properties: control.Served, Now: now})
	}
	if err != nil {
		t.Fatal(err)
	}
	eraser, err := erase.New(b.disk, Logged{Pool: b.pool}, erase.Config{Method: blockdev.Overwrite, Clock: erase.NewClock(time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	b.pool.SetZeroNow(eraser.Now)
	own, err := ReadSettings(b.host, uuid.UUID{9})
	if err != nil {
		t.Fatal(err)
	}
	b.s = &Service{
		Pool: b.pool, Own: own, Eraser: eraser, View: noView{}, Log: slog.New(slog.DiscardHandler), Dir: "/lab", Now: now, Dev: b.disk,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	over := part{"end", func(context.Context) error {
		<-ctx.Done()
		return errOver
	}}
	go func() { done <- supervise(ctx, []part{{"pool", b.pool.Run}, {"eraser", eraser.Run}, over}) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, b.pool.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// set sets properties of the pool, as NAME=VALUE.
func (b *bench) set(props ...string) {
	b.t.Helper()
	args := control.SetArgs{Object: control.Object{Arg: "lab"}}
	for _, p := range props {
		name, val, _ := strings.Cut(p, "=")
		args.Settings = append(args.Settings, control.Setting{Name: name, Value: val})
	}
	if _, err := b.s.setProps(b.t.Context(), control.Peer{Op: "set"}, args); err != nil {
		b.t.Fatal(err)
	}
}

// volume makes a volume of a size, and writes so many blocks of it.
func (b *bench) volume(name string, size, blocks int64) *chain.Volume {
	b.t.Helper()
	args := control.CreateArgs{Objects: []control.Object{{Arg: name, Path: name}}, Size: size, Mode: 0o600}
	_, err := b.s.create(b.t.Context(), control.Peer{Op: "create"}, args)
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := b.pool.Resolve(name)
	if err != nil {
		b.t.Fatal(err)
	}
	v, err := b.pool.Volume(a.Ino)
	if err == nil {
		_, err = v.WriteAt(bytes.Repeat([]byte{1}, int(blocks)*chain.BlockSize), 0)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// erased destroys a volume, and waits until it is zero.
func (b *bench) erased(name string) {
	b.t.Helper()
	_, err := b.s.destroy(b.t.Context(), control.Peer{Op: "destroy"}, control.DestroyArgs{Object: control.Object{Arg: name, Path: name}})
	for err == nil {
		if _, err = b.s.drain(b.t.Context(), control.Peer{}, control.None{}); err == nil && len(b.pool.EraseJobs()) == 0 {
			return
		}
	}
	b.t.Fatal(err)
}
