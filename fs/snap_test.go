package fs

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain"
)

func TestSnapshotFiles(t *testing.T) { onTransports(t, testSnapshotFiles) }

func testSnapshotFiles(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	dir := filepath.Join(s.Dir(), "images")
	must(t, unix.Mkdir(dir, 0o755))
	fd := openAt(t, filepath.Join(dir, "vm.raw"), unix.O_CREAT|unix.O_RDWR)
	old := pattern(64<<10, 8)
	_, err := unix.Pwrite(fd, old, 0)
	must(t, err)
	if _, err := os.Stat(filepath.Join(dir, ".snap")); !os.IsNotExist(err) {
		t.Errorf(".snap without snapshots: %v", err)
	}
	a, err := p.Resolve("images/vm.raw")
	must(t, err)
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "one"))
	_, err = unix.Pwrite(fd, pattern(64<<10, 9), 0)
	must(t, err)
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "two"))

	snap := filepath.Join(dir, ".snap", "vm.raw@one")
	got, err := os.ReadFile(snap)
	if err != nil || !bytes.Equal(got, old) {
		t.Errorf("snapshot: %d bytes, %v", len(got), err)
	}
	var names []string
	entries, err := os.ReadDir(filepath.Join(dir, ".snap"))
	must(t, err)
	for _, e := range entries {
		i, err := e.Info()
		must(t, err)
		names = append(names, e.Name())
		if i.Size() != 64<<10 || i.Mode() != 0o444 {
			t.Errorf("%s: %d bytes, %v", e.Name(), i.Size(), i.Mode())
		}
	}
	if !slices.Equal(names, []string{"vm.raw@one", "vm.raw@two"}) {
		t.Errorf("names: %q", names)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory lists %v, %v", entries, err)
	}
	ro := openAt(t, snap, unix.O_RDONLY)
	if off, err := unix.Seek(ro, 0, unix.SEEK_HOLE); err != nil || off != 64<<10 {
		t.Errorf("hole: %d, %v", off, err)
	}
	snapsAreReadOnly(t, dir, snap)
	holders, err := s.Holders(a.Ino)
	must(t, err)
	slices.SortFunc(holders, func(a, b Holder) int { return int(a.Snap) - int(b.Snap) })
	if len(holders) != 2 || holders[0].Path != "images/vm.raw" || holders[1].Path != "images/.snap/vm.raw@one" ||
		holders[1].Snap == 0 || holders[1].Write {
		t.Errorf("holders: %+v", holders)
	}
}

func snapsAreReadOnly(t *testing.T, dir, snap string) {
	if os.Geteuid() == 0 {
		_, err := unix.Open(snap, unix.O_RDWR, 0)
		wantErr(t, "open for writing", err, unix.EROFS)
		_, err = unix.Open(snap+"x", unix.O_CREAT|unix.O_RDWR, 0o644)
		wantErr(t, "create", err, unix.EROFS)
		wantErr(t, "truncate", unix.Truncate(snap, 0), unix.EROFS)
		wantErr(t, "unlink", unix.Unlink(snap), unix.EROFS)
		wantErr(t, "chmod", unix.Chmod(snap, 0o777), unix.EROFS)
		wantErr(t, "mkdir", unix.Mkdir(filepath.Join(dir, ".snap", "x"), 0o755), unix.EROFS)
		wantErr(t, "move out", unix.Rename(snap, filepath.Join(dir, "x")), unix.EROFS)
		wantErr(t, "xattr", unix.Setxattr(snap, "user.a", nil, 0), unix.EROFS)
	}
	up, err := os.Stat(filepath.Join(dir, ".snap", ".."))
	must(t, err)
	if here, err := os.Stat(dir); err != nil || !os.SameFile(up, here) {
		t.Errorf(".. of .snap is not the directory: %v", err)
	}
}
