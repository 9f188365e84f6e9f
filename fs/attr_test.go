package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestStat(t *testing.T) { onTransports(t, testStat) }

func testStat(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	var fsStat unix.Statfs_t
	must(t, unix.Statfs(s.Dir(), &fsStat))
	if fsStat.Bsize != 4096 || fsStat.Frsize != 4096 || fsStat.Blocks == 0 || fsStat.Namelen != 255 {
		t.Errorf("statfs: %+v", fsStat)
	}
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR)
	_, err := unix.Pwrite(fd, pattern(8192, 1), 4096)
	must(t, err)
	var x unix.Statx_t
	must(t, unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &x))
	if x.Size != 12288 || x.Blocks != 16 || x.Blksize != 4096 || x.Nlink != 1 || x.Mode != syscall.S_IFREG|0o644 {
		t.Errorf("statx: %+v", x)
	}
	if x.Mask&unix.STATX_BTIME == 0 || time.Since(time.Unix(x.Btime.Sec, 0)) > time.Hour {
		t.Errorf("birth: %+v", x.Btime)
	}
	must(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4096, 4096))
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	if st.Blocks != 8 || st.Size != 12288 {
		t.Errorf("after a punch: %d blocks, %d bytes", st.Blocks, st.Size)
	}
}

func TestChmodChownUtimes(t *testing.T) { onTransports(t, testChmodChownUtimes) }

func testChmodChownUtimes(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	openAt(t, path, unix.O_CREAT|unix.O_WRONLY)
	must(t, unix.Chmod(path, 0o600))
	if os.Geteuid() == 0 {
		must(t, unix.Chown(path, 12, 34))
	}
	at := time.Unix(1234567, 89)
	must(t, os.Chtimes(path, at, at))
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	if st.Mode&0o7777 != 0o600 || st.Mtim != unix.NsecToTimespec(at.UnixNano()) {
		t.Errorf("%+v", st)
	}
	if os.Geteuid() == 0 && (st.Uid != 12 || st.Gid != 34) {
		t.Errorf("%+v", st)
	}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_NOW}}, 0))
	must(t, unix.Stat(path, &st))
	if time.Since(time.Unix(st.Mtim.Unix())) > time.Minute {
		t.Errorf("now: %v", st.Mtim)
	}
}

func TestXattr(t *testing.T) { onTransports(t, testXattr) }

func testXattr(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	openAt(t, path, unix.O_CREAT|unix.O_RDWR)
	must(t, unix.Setxattr(path, "user.a", []byte("one"), unix.XATTR_CREATE))
	must(t, unix.Setxattr(path, "user.empty", nil, 0))
	wantErr(t, "create", unix.Setxattr(path, "user.a", nil, unix.XATTR_CREATE), unix.EEXIST)
	wantErr(t, "replace", unix.Setxattr(path, "user.b", nil, unix.XATTR_REPLACE), unix.ENODATA)
	buf := make([]byte, 64)
	n, err := unix.Getxattr(path, "user.a", buf)
	if err != nil || string(buf[:n]) != "one" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	_, err = unix.Getxattr(path, "user.a", buf[:2])
	wantErr(t, "small buffer", err, unix.ERANGE)
	if n, err := unix.Getxattr(path, "user.empty", buf); n != 0 || err != nil {
		t.Errorf("empty: %d, %v", n, err)
	}
	n, err = unix.Listxattr(path, buf)
	must(t, err)
	names := strings.Split(string(buf[:n]), "\x00")
	if slices.Sort(names); !slices.Equal(names, []string{"", "user.a", "user.empty"}) {
		t.Errorf("list: %q", names)
	}
	for _, name := range []string{"security.x", "trusted.x", "system.posix_acl_access"} {
		if name[0] == 't' && os.Geteuid() != 0 {
			continue
		}
		if name[1] != 'y' { // the kernel itself knows that this is no list
			wantErr(t, name, unix.Setxattr(path, name, []byte("1"), 0), unix.EOPNOTSUPP)
		}
		_, err := unix.Getxattr(path, name, buf)
		wantErr(t, name, err, unix.EOPNOTSUPP)
	}
	must(t, unix.Removexattr(path, "user.a"))
	wantErr(t, "gone", unix.Removexattr(path, "user.a"), unix.ENODATA)
}

// ioctl gives the address of p to an ioctl.
func ioctl[T any](fd int, cmd uint, p *T) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), uintptr(unsafe.Pointer(p))); e != 0 {
		return e
	}
	return nil
}

func TestImmutable(t *testing.T) { onTransports(t, testImmutable) }

func testImmutable(t *testing.T, v variant) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	s, p, _ := mountPool(t, v)
	at := func(name string) string { return filepath.Join(s.Dir(), name) }
	fd := openAt(t, at("v"), unix.O_CREAT|unix.O_RDWR)
	_, err := unix.Pwrite(fd, pattern(4096, 6), 0)
	must(t, err)
	var flags int32
	must(t, ioctl(fd, iocGetFlags, &flags))
	flags |= immutableFlag
	must(t, ioctl(fd, iocSetFlags, &flags))
	flags = 0
	if must(t, ioctl(fd, iocGetFlags, &flags)); flags != immutableFlag {
		t.Errorf("flags %x", flags)
	}
	a, err := p.Resolve("v")
	if must(t, err); !a.Immutable {
		t.Error("chain does not know")
	}
	_, err = unix.Pwrite(fd, pattern(512, 7), 0)
	wantErr(t, "write through an old open", err, unix.EPERM)
	wantErr(t, "fallocate", unix.Fallocate(fd, 0, 0, 8192), unix.EPERM)
	wantErr(t, "ftruncate", unix.Ftruncate(fd, 0), unix.EPERM)
	wantErr(t, "truncate", unix.Truncate(at("v"), 0), unix.EPERM)
	for _, mode := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_RDONLY | unix.O_TRUNC} {
		_, err = unix.Open(at("v"), mode, 0)
		wantErr(t, fmt.Sprint("open ", mode), err, unix.EPERM)
	}
	wantErr(t, "unlink", unix.Unlink(at("v")), unix.EPERM)
	wantErr(t, "rename", unix.Rename(at("v"), at("w")), unix.EPERM)
	must(t, unix.Mknod(at("x"), unix.S_IFREG|0o600, 0))
	wantErr(t, "rename over", unix.Rename(at("x"), at("v")), unix.EPERM)
	wantErr(t, "chmod", unix.Chmod(at("v"), 0o600), unix.EPERM)
	wantErr(t, "setxattr", unix.Setxattr(at("v"), "user.a", nil, 0), unix.EPERM)
	openAt(t, at("v"), unix.O_RDONLY)
	flags = immutableFlag | 0x20 // and append-only
	wantErr(t, "other flags", ioctl(fd, iocSetFlags, &flags), unix.EOPNOTSUPP)
	flags = 0
	must(t, ioctl(fd, iocSetFlags, &flags))
	_, err = unix.Pwrite(fd, pattern(512, 7), 0)
	must(t, err)
	must(t, unix.Unlink(at("v")))
}

func TestImmutableDirectory(t *testing.T) { onTransports(t, testImmutableDirectory) }

func testImmutableDirectory(t *testing.T, v variant) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	s, _, _ := mountPool(t, v)
	dir := filepath.Join(s.Dir(), "d")
	must(t, unix.Mkdir(dir, 0o755))
	must(t, unix.Mkdir(filepath.Join(dir, "e"), 0o755))
	fd := openAt(t, dir, unix.O_RDONLY|unix.O_DIRECTORY)
	flags := int32(immutableFlag)
	must(t, ioctl(fd, iocSetFlags, &flags))
	wantErr(t, "mkdir", unix.Mkdir(filepath.Join(dir, "f"), 0o755), unix.EPERM)
	wantErr(t, "rmdir", unix.Rmdir(filepath.Join(dir, "e")), unix.EPERM)
	wantErr(t, "rename", unix.Rename(filepath.Join(dir, "e"), filepath.Join(s.Dir(), "e")), unix.EPERM)
	flags = 0
	must(t, ioctl(fd, iocSetFlags, &flags))
	must(t, unix.Rmdir(filepath.Join(dir, "e")))
}

func TestExtSizeHint(t *testing.T) { onTransports(t, testExtSizeHint) }

func testExtSizeHint(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	var x struct {
		Flags, ExtSize, NExtents, Project, CowSize uint32
		_                                          [8]byte
	}
	must(t, ioctl(fd, iocGetXFlags, &x))
	if x.Flags != 0 || x.ExtSize != 0 {
		t.Errorf("%+v", x)
	}
	x.Flags, x.ExtSize = xExtSize, 1<<20
	must(t, ioctl(fd, iocSetXFlags, &x))
	x.Flags = 0x1 // realtime
	wantErr(t, "other flags", ioctl(fd, iocSetXFlags, &x), unix.EOPNOTSUPP)
	var size uint32
	wantErr(t, "BLKSSZGET", ioctl(fd, unix.BLKSSZGET, &size), unix.ENOTTY)
}
