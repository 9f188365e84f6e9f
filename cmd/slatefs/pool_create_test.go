package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/control"
)

// What a pool create that was killed left is removed by the next one there, but not what somebody is at work on.
func TestHalfMadeFiles(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(t.TempDir(), "a [b]*")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	making := func(pid int) string {
		path := filepath.Join(dir, makingPrefix+strconv.Itoa(pid)+"-x"+makingSuffix)
		if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const nobody = 1<<22 + 1 // more than there can be
	mine, dead := making(os.Getpid()), making(nobody)
	locked, err := blockdev.Create(filepath.Join(dir, makingPrefix+strconv.Itoa(nobody+1)+"-y"+makingSuffix), 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	l.app.clearHalfMade(dir)
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) || !strings.Contains(l.text.String(), "what it left is removed: "+dead+", 4K") {
		t.Errorf("%v; %s", err, l.text.String())
	}
	for _, path := range []string{mine, locked.Path()} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("of somebody who is at work: %v", err)
		}
	}
	if err := locked.Close(); err != nil {
		t.Error(err)
	}
}

// A name that somebody else has taken meanwhile is not replaced.
func TestRenameNew(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(os.WriteFile(from, nil, 0o600), os.WriteFile(to, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := renameNew(from, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("over another: %v", err)
	}
	if err := errors.Join(os.Remove(to), renameNew(from, to)); err != nil {
		t.Error(err)
	}
}

// Before it is lifted a veiled device holds no pool, and then a whole one.
func TestVeil(t *testing.T) {
	l := newLab(t)
	path := filepath.Join(t.TempDir(), "pool")
	dev, err := blockdev.Create(path, 64<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Create(dev, chain.Format{Name: "old", UUID: uuid.UUID{1}, Zeroed: true, Now: l.app.now}); err != nil {
		t.Fatal(err)
	}
	v, err := newVeil(dev)
	if err == nil {
		n := newPool{name: "new", device: path, zeroed: true, settings: []control.Setting{{Name: "erase_throughput", Value: "7M"}}}
		err = l.app.layPool(t.Context(), v, n, uuid.UUID{2})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chain.Identify(dev); !errors.Is(err, chain.ErrNotPool) {
		t.Errorf("below the veil: %v", err)
	}
	b := blockdev.Aligned(super.Bytes + 4096)
	if _, err := v.ReadAt(b, 0); err != nil || bytes.Equal(b[:super.Bytes], make([]byte, super.Bytes)) {
		t.Errorf("through it nothing is seen: %v", err)
	}
	want := bytes.Repeat([]byte{7}, super.Bytes+4096)
	copy(b, want)
	if _, err := v.WriteAt(b, 1<<20-super.Bytes); err != nil {
		t.Error(err)
	}
	if err := v.Zero(1<<20-super.Bytes, super.Bytes+4096, blockdev.Overwrite); err != nil {
		t.Error(err)
	}
	if err := v.lift(); err != nil {
		t.Fatal(err)
	}
	p, err := chain.Open(dev, chain.Options{Properties: control.Served, Now: l.app.now, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Prop(chain.RootIno, "erase_throughput"); err != nil || p.Name() != "new" || got.Value == "" {
		t.Errorf("%s: %+v, %v", p.Name(), got, err)
	}
	if err := errors.Join(p.Close(), dev.Close()); err != nil {
		t.Error(err)
	}
}
