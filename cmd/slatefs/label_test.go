package main

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs/mounts"
)

// A copy of a pool that another host has mounted says that it is held; whether it is a copy only people know.
func TestReguidOfHeldCopy(t *testing.T) {
	l := &lab{t: t}
	l.app = &app{stdout: &l.out, stderr: &l.text, host: testHost(t), now: time.Now, mounts: mounts.Own}
	l.app.host.OnWarning, l.app.host.OnNote = l.app.warnOnce, l.app.note
	file := filepath.Join(t.TempDir(), "copy.pool")
	l.ok("pool create --size 64M --sparse lab " + file)
	dev, err := blockdev.Open(file, blockdev.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := chain.Identify(dev)
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Open(dev, chain.Options{Properties: control.Served, Now: time.Now, Host: &chain.Host{Machine: [16]byte{1}, Since: time.Now(), Name: "evil\nhost\x1b"}})
	if err := errors.Join(err, dev.Close()); err != nil { // as after a crash of that host
		t.Fatal(err)
	}
	l.refused(show.ExitFailed, `is held by host evil\012host\033 (machine 0100`, "pool rename "+file+" other")
	l.refused(show.ExitFailed, "hint: if this is a copy of that pool: slatefs pool reguid --take-over "+file, "pool reguid "+file)
	l.ok("pool reguid --take-over " + file)
	if now, err := host.Peek(file); err != nil || now.UUID == i.UUID || now.Name != "lab" || !now.Host.None() {
		t.Errorf("it is %+v, %v", now, err)
	}
	l.ok("pool check lab")
	l.ok("pool rename lab other")
	l.ok("pool check other")
}
