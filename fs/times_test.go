package fs

import (
	"math"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// Every time that utimensat can say comes back, to the nanosecond, and after the pool was opened again.
func TestTimesAreKept(t *testing.T) { onTransports(t, testTimesAreKept) }

func testTimesAreKept(t *testing.T, v variant) {
	if v.file {
		return // the pool is opened again on a disk in memory
	}
	d := devtest.New(poolBytes, 512)
	must(t, chain.Create(d, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	times := map[string]unix.Timespec{
		"now": {Sec: 1796000000, Nsec: 123456789}, "epoch": {}, "before": {Sec: -1, Nsec: 999999999},
		"year 1600": {Sec: -11676096000, Nsec: 5}, "year 2262": {Sec: 9223372036, Nsec: 854775807},
		"later": {Sec: 9223372036, Nsec: 854775808}, "year 3000": {Sec: 32503680000, Nsec: 1},
		"last": {Sec: math.MaxInt64 - 1, Nsec: 7}, "first": {Sec: math.MinInt64 + 1, Nsec: 7},
		"year 1": {Sec: -62135596800},
	}
	dir := t.TempDir()
	t.Run("set", func(t *testing.T) {
		s := mountOn(t, openPool(t, d), dir, v.options())
		for name, at := range times {
			path := filepath.Join(s.Dir(), name)
			must(t, unix.Mknod(path, unix.S_IFREG|0o644, 0))
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, 0))
			showsTimes(t, path, at, at)
			other := unix.Timespec{Sec: 99, Nsec: 9}
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, other}, 0))
			showsTimes(t, path, at, other)
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{other, {Nsec: unix.UTIME_OMIT}}, 0))
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, 0))
		}
	})
	t.Run("again", func(t *testing.T) {
		s := mountOn(t, openPool(t, d), dir, v.options())
		for name, at := range times {
			showsTimes(t, filepath.Join(s.Dir(), name), at, at)
		}
	})
}

func showsTimes(t *testing.T, path string, access, change unix.Timespec) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	if st.Atim != access || st.Mtim != change {
		t.Errorf("%s: accessed %v, changed %v, want %v, %v", filepath.Base(path), st.Atim, st.Mtim, access, change)
	}
	var x unix.Statx_t
	must(t, unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &x))
	if x.Atime.Sec != access.Sec || int64(x.Atime.Nsec) != access.Nsec || x.Mtime.Sec != change.Sec || int64(x.Mtime.Nsec) != change.Nsec {
		t.Errorf("%s: statx: accessed %v, changed %v", filepath.Base(path), x.Atime, x.Mtime)
	}
	if x.Mask&unix.STATX_BTIME == 0 || time.Since(time.Unix(x.Btime.Sec, 0)).Abs() > 24*time.Hour {
		t.Errorf("%s: born %v", filepath.Base(path), x.Btime)
	}
}

// What changes the content moves the time of the last change, from wherever it was set to; what reads moves nothing.
func TestWhatMovesTimes(t *testing.T) { onTransports(t, testWhatMovesTimes) }

func testWhatMovesTimes(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR)
	_, err := unix.Pwrite(fd, pattern(64<<10, 1), 0)
	must(t, err)
	const punch, keep, zero = unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE
	set := func(year int) unix.Timespec {
		return unix.NsecToTimespec(time.Date(year, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano())
	}
	for _, c := range []struct {
		name          string
		content, node bool // what it moves: mtime and ctime, or ctime alone
		do            func() error
	}{
		{"write", true, true, func() error { _, err := unix.Pwrite(fd, pattern(4096, 2), 0); return err }},
		{"zeros", true, true, func() error { _, err := unix.Pwrite(fd, make([]byte, 4096), 0); return err }},
		{"zeros over a hole", true, true, func() error { _, err := unix.Pwrite(fd, make([]byte, 4096), 1<<20); return err }},
		{"punch", true, true, func() error { return unix.Fallocate(fd, punch|keep, 8192, 4096) }},
		{"zero range", true, true, func() error { return unix.Fallocate(fd, zero|keep, 12288, 4096) }},
		{"allocate", true, true, func() error { return unix.Fallocate(fd, keep, 0, 64<<10) }},
		{"truncate", true, true, func() error { return unix.Ftruncate(fd, 48<<10) }},
		{"truncate to the same", true, true, func() error { return unix.Ftruncate(fd, 48<<10) }},
		{"grow", true, true, func() error { return unix.Ftruncate(fd, 64<<10) }},
		{"chmod", false, true, func() error { return unix.Fchmod(fd, 0o640) }},
		{"setxattr", false, true, func() error { return unix.Setxattr(path, "user.a", nil, 0) }},
		{"removexattr", false, true, func() error {
			if err := unix.Setxattr(path, "user.a", nil, 0); err != nil {
				return err
			}
			return unix.Removexattr(path, "user.a")
		}},
		{"rename", false, true, func() error { return unix.Rename(path, path) }},
		{"read", false, false, func() error { _, err := unix.Pread(fd, make([]byte, 4096), 0); return err }},
		{"seek", false, false, func() error { _, err := unix.Seek(fd, 0, unix.SEEK_HOLE); return err }},
	} {
		for _, year := range []int{2001, 2099} {
			at := set(year)
			must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, 0))
			var was, is unix.Stat_t
			must(t, unix.Fstat(fd, &was))
			if err := c.do(); err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			must(t, unix.Fstat(fd, &is))
			if is.Atim != at {
				t.Errorf("%s: accessed %v, want %v", c.name, is.Atim, at)
			}
			if moved := is.Mtim != at; moved != c.content || moved && time.Since(time.Unix(is.Mtim.Unix())).Abs() > time.Hour {
				t.Errorf("%s: changed %v, was set to %v", c.name, is.Mtim, at)
			}
			if moved := is.Ctim != was.Ctim; moved != c.node && c.name != "rename" { // to itself it is no change
				t.Errorf("%s: status moved: %v", c.name, moved)
			}
		}
	}
}

// What goes past the largest size is too big, whatever asks for it; a write that begins below it is cut there.
func TestLargestSize(t *testing.T) { onTransports(t, testLargestSize) }

func testLargestSize(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR)
	const keep, most = unix.FALLOC_FL_KEEP_SIZE, chain.MaxSize
	for name, err := range map[string]error{
		"truncate": unix.Truncate(path, most+1), "ftruncate": unix.Ftruncate(fd, most+1),
		"allocate": unix.Fallocate(fd, 0, most, 4096), "allocate beyond the end": unix.Fallocate(fd, keep, most-4096, 8192),
		"allocate far away": unix.Fallocate(fd, 0, math.MaxInt64-4096, 4096),
		"punch":             unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|keep, most, 4096),
		"zero range":        unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, most-4096, 8192),
	} {
		wantErr(t, name, err, unix.EFBIG)
	}
	_, err := unix.Pwrite(fd, pattern(4096, 1), most)
	wantErr(t, "write", err, unix.EFBIG)
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	if st.Size != 0 {
		t.Errorf("size %d", st.Size)
	}
	for _, data := range [][]byte{pattern(8192, 1), make([]byte, 8192)} {
		if n, err := unix.Pwrite(fd, data, most-4096); n != 4096 || err != nil {
			t.Errorf("write across the largest size: %d, %v", n, err)
		}
	}
	if n, err := unix.Pread(fd, make([]byte, 8192), most-4096); n != 4096 || err != nil {
		t.Errorf("read across it: %d, %v", n, err)
	}
	_, err = unix.Seek(fd, most, unix.SEEK_DATA)
	wantErr(t, "seek", err, unix.ENXIO)
	must(t, unix.Ftruncate(fd, 0))
}
