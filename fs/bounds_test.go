package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// What bounds a user without privileges: 64 KiB of attributes on a file, and a directory's quota for what has no content.
func TestBoundsOfNamesAndAttributes(t *testing.T) { onTransports(t, testBoundsOfNamesAndAttributes) }

func testBoundsOfNamesAndAttributes(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	dir := s.Dir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, nil, 0o644))
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		err = unix.Setxattr(path, fmt.Sprintf("user.%d", i), make([]byte, 4000), 0)
	}
	wantErr(t, "attributes beyond 64 KiB", err, unix.ENOSPC)
	if n, err := unix.Listxattr(path, make([]byte, 64<<10)); err != nil || n == 0 {
		t.Errorf("names: %d, %v", n, err)
	}
	must(t, os.Remove(path))
	sub := filepath.Join(dir, "tenant")
	must(t, os.Mkdir(sub, 0o755))
	a, err := p.Resolve("tenant")
	must(t, err)
	must(t, p.SetProps(chain.Req{}, a.Ino, chain.Setting{Name: "quota", Value: "64K"}))
	for i := 0; i < 1000; i++ {
		if err = os.Symlink("target", filepath.Join(sub, fmt.Sprint(i))); err != nil {
			break
		}
	}
	wantErr(t, "symlinks beyond the quota", err, unix.EDQUOT)
	must(t, os.Remove(filepath.Join(sub, "0")))
}
