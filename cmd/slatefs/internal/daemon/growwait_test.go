package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/lvm"
	"slatefs/cmd/slatefs/internal/control"
)

// stuckLVM is a grower whose lvm2 writes a line for each command, and answers none before the test's end.
func stuckLVM(t *testing.T, b *bench) (g *Grower, started func() int) {
	t.Helper()
	dir := t.TempDir()
	mark, program := filepath.Join(dir, "mark"), filepath.Join(dir, "lvm")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $1 >>"+mark+"\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	g = &Grower{pool: b.pool, log: slog.New(slog.DiscardHandler), turn: make(chan struct{}, 1), patience: 10 * time.Millisecond, threshold: 80, percent: 20}
	g.lv, g.runner = lvm.Name{VG: "vg0", LV: "a"}, lvm.New(program)
	g.life, g.end = context.WithCancel(context.Background())
	t.Cleanup(g.stop)
	return g, func() int {
		b, err := os.ReadFile(mark)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(b), "\n")
	}
}

// An lvm2 that answers nothing holds no writer: those who need more space are told so in time, however many there are, and
// all of them together start one command.
func TestWritersDoNotWaitForLVM(t *testing.T) {
	b := newBench(t)
	g, started := stuckLVM(t, b)
	b.pool.SetGrower(g.ask)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := g.ask(t.Context(), 1<<20); !errors.Is(err, chain.ErrNoSpace) {
				t.Errorf("ask: %v", err)
			}
		})
	}
	wg.Wait()
	for started() == 0 {
		time.Sleep(time.Millisecond)
	}
	v := b.volume("v", 1<<30, 16) // there is space for this one
	if _, err := v.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Error(err)
	}
	args := control.SetArgs{Object: control.Object{Arg: "v", Path: "v"}, Settings: []control.Setting{{Name: "refreservation", Value: "auto"}}}
	if _, err := b.s.setProps(t.Context(), control.Peer{}, args); !errors.Is(err, chain.ErrNoSpace) || !strings.Contains(err.Error(), "growing takes long") {
		t.Errorf("a promise: %v", err)
	}
	if n := started(); n != 1 {
		t.Errorf("%d commands were started", n)
	}
}

// Who asked and has gone ends nothing, and keeps nobody else from asking.
func TestWriterThatGoesLeavesTheStep(t *testing.T) {
	g, started := stuckLVM(t, newBench(t))
	g.patience = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.ask(ctx, 1<<20) }()
	for started() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ask: %v", err)
	}
	if at, own, _ := g.join(1); own {
		t.Errorf("the step is over: %v", at.err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, _, err := g.extend(ctx, control.ExtendArgs{Size: 1 << 20, More: true}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another change") {
		t.Errorf("extend: %v", err)
	}
}
