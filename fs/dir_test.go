package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhatIsRefused(t *testing.T) { onTransports(t, testWhatIsRefused) }

func testWhatIsRefused(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	at := func(name string) string { return filepath.Join(s.Dir(), name) }
	openAt(t, at("v"), unix.O_CREAT|unix.O_RDWR)
	wantErr(t, "fifo", unix.Mkfifo(at("f"), 0o644), unix.EPERM)
	wantErr(t, "socket", unix.Mknod(at("s"), unix.S_IFSOCK|0o644, 0), unix.EPERM)
	if os.Geteuid() == 0 {
		wantErr(t, "device", unix.Mknod(at("d"), unix.S_IFCHR|0o644, 0x103), unix.EPERM)
	}
	must(t, unix.Mknod(at("regular"), unix.S_IFREG|0o640, 0))
	wantErr(t, "link", unix.Link(at("v"), at("w")), unix.EPERM)
	wantErr(t, "mkdir .snap", unix.Mkdir(at(".snap"), 0o755), unix.EPERM)
	wantErr(t, "symlink .snap", unix.Symlink("x", at(".snap")), unix.EPERM)
	wantErr(t, "rename to .snap", unix.Rename(at("v"), at(".snap")), unix.EPERM)
	_, err := unix.Open(at(".snap"), unix.O_CREAT|unix.O_RDWR, 0o644)
	wantErr(t, "create .snap", err, unix.EPERM)
	_, err = unix.Open(s.Dir(), unix.O_TMPFILE|unix.O_RDWR, 0o644)
	wantErr(t, "O_TMPFILE", err, unix.EOPNOTSUPP)
	_, err = unix.Open(at(strings.Repeat("n", 256)), unix.O_CREAT|unix.O_RDWR, 0o644)
	wantErr(t, "long name", err, unix.ENAMETOOLONG)
	_, err = unix.Open(at("nothing"), unix.O_RDONLY, 0)
	wantErr(t, "no file", err, unix.ENOENT)
}

func TestRename(t *testing.T) { onTransports(t, testRename) }

func testRename(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	at := func(name string) string { return filepath.Join(s.Dir(), name) }
	for _, name := range []string{"a", "b"} {
		must(t, os.WriteFile(at(name), []byte(name), 0o644))
	}
	must(t, unix.Mkdir(at("d"), 0o755))
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, at(from), unix.AT_FDCWD, at(to), flags)
	}
	wantErr(t, "noreplace", rename("a", "b", unix.RENAME_NOREPLACE), unix.EEXIST)
	wantErr(t, "whiteout", rename("a", "c", unix.RENAME_WHITEOUT), unix.EINVAL)
	must(t, rename("a", "b", unix.RENAME_EXCHANGE))
	if b, err := os.ReadFile(at("a")); err != nil || string(b) != "b" {
		t.Errorf("exchanged: %q, %v", b, err)
	}
	must(t, rename("a", "d/x", unix.RENAME_NOREPLACE))
	must(t, rename("b", "d/x", 0))
	if b, err := os.ReadFile(at("d/x")); err != nil || string(b) != "a" {
		t.Errorf("replaced: %q, %v", b, err)
	}
	wantErr(t, "rmdir", unix.Rmdir(at("d")), unix.ENOTEMPTY)
	must(t, unix.Unlink(at("d/x")))
	must(t, unix.Rmdir(at("d")))
}

func TestManyNames(t *testing.T) { onTransports(t, testManyNames) }

func testManyNames(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	var want []string
	for i := range 700 {
		want = append(want, fmt.Sprintf("%s-%03d", strings.Repeat("long", i%40), i))
		must(t, unix.Mknod(filepath.Join(s.Dir(), want[i]), unix.S_IFREG|0o600, 0))
	}
	slices.Sort(want)
	entries, err := os.ReadDir(s.Dir())
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
		if !e.Type().IsRegular() {
			t.Errorf("%s: %v", e.Name(), e.Type())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
}

func TestSetgidDirectory(t *testing.T) { onTransports(t, testSetgidDirectory) }

func testSetgidDirectory(t *testing.T, v variant) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	s, _, _ := mountPool(t, v)
	dir := filepath.Join(s.Dir(), "d")
	must(t, unix.Mkdir(dir, 0o755))
	must(t, unix.Chown(dir, 0, 55))
	must(t, unix.Chmod(dir, 0o2775))
	must(t, unix.Mkdir(filepath.Join(dir, "e"), 0o755))
	openAt(t, filepath.Join(dir, "v"), unix.O_CREAT|unix.O_RDWR)
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "e"), &st))
	if st.Gid != 55 || st.Mode&0o7777 != 0o2755 {
		t.Errorf("directory: %o, group %d", st.Mode, st.Gid)
	}
	must(t, unix.Stat(filepath.Join(dir, "v"), &st))
	if st.Gid != 55 || st.Mode&0o7777 != 0o644 {
		t.Errorf("file: %o, group %d", st.Mode, st.Gid)
	}
}
