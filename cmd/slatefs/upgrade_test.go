package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/show"
)

// pool upgrade says what a pool has, and by their names what this program does not know. It writes nothing.
func TestPoolUpgrade(t *testing.T) {
	l := newLab(t)
	path := filepath.Join(t.TempDir(), "f.pool")
	l.ok("pool create --size 64M --sparse later " + path)
	if out := l.ok("pool upgrade " + path); out != "pool later: is at format 1, the newest; features: none\n" {
		t.Error(out)
	}
	edit := func(set func(*super.Block)) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for slot := range super.Slots {
			s, err := super.ReadSlot(f, slot)
			if err != nil {
				t.Fatal(err)
			}
			set(&s)
			b, err := s.Marshal()
			if err == nil {
				_, err = f.WriteAt(b, int64(slot)*alloc.BlockSize)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	edit(func(s *super.Block) { s.Compatible, s.FeatureNames = 1, "hints" })
	if out := l.ok("pool upgrade " + path); !strings.Contains(out, `features: compatible 0x1 (of "hints")`) {
		t.Error(out)
	}
	edit(func(s *super.Block) { s.ReadOnly = 4 })
	out := l.ok("pool upgrade " + path)
	if !strings.Contains(out, "read-only compatible 0x4") || !strings.Contains(out, "for reading only (-o ro)") {
		t.Error(out)
	}
	edit(func(s *super.Block) { s.Incompatible, s.FeatureNames = 2, "hints, wide runs" })
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"pool upgrade ", "pool check ", "pool repair "} {
		l.refused(show.ExitFailed, `incompatible features 0x2 (of "hints, wide runs")`, line+path)
	}
	l.refused(show.ExitFailed, "slatefs of a later version has made it", "pool upgrade "+path)
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the pool was written to: %v", err)
	}
}
