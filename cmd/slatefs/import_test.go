package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportShort: a file that ends before its data does is an error that names both, but for the last sector of a raw one, up to
// whose end qemu-img rounds.
func TestImportShort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "short")
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := os.Create(filepath.Join(dir, "to"))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for _, c := range []struct {
		format string
		length int64
		short  bool
	}{{"raw", 1000, false}, {"raw", 1024, false}, {"raw", 1511, false}, {"raw", 1512, true}, {"qcow2", 1000, false}, {"qcow2", 1024, true}} {
		f, copied := foreign{path: path, format: c.format}, int64(0)
		err := copyOwn(t.Context(), f, []extent{{Length: c.length, Data: true}}, to, func(n int64) { copied += n })
		if short := errors.Is(err, io.ErrUnexpectedEOF); short != c.short || err != nil && !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s, %d bytes of 1000: %v", c.format, c.length, err)
		}
		if copied != 1000 {
			t.Errorf("%s, %d bytes of 1000: %d are told", c.format, c.length, copied)
		}
	}
}
