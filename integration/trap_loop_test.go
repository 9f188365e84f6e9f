package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// A reply with a payload is cut silently where its buffer is short: the longest symlink target arrives whole.
func TestTrap12LongReplies(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		target := strings.Repeat("t", 4095)
		must(t, os.Symlink(target, p.at("link")))
		if got, err := os.Readlink(p.at("link")); got != target {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		const names = 500
		for i := range names {
			must(t, os.Mkdir(p.at(fmt.Sprintf("%0200d", i)), 0o755))
		}
		if list, err := os.ReadDir(p.mnt); len(list) != names+1 || err != nil {
			t.Errorf("%d names, %v", len(list), err)
		}
	})
}

// The kernel sends INTERRUPT for every signal while a request is in flight; one answered wrongly is sent again and again,
// or fails the write.
func TestTrap13Interrupts(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "32M", p.at("v"))
		c := startChild(t, "interrupt", p.at("v"))
		t.Logf("%s writes were ended by a signal", c.line())
		c.end()
		got := read(t, p.at("v"))
		for off := 0; off < len(got); off += sector {
			if st, err := readStamp(got[off : off+sector]); err != nil || st.write != uint64(off>>16+1) {
				t.Fatalf("sector at %d: %+v, %v", off, st, err)
			}
		}
	})
}

// The kernel caches names and sizes: what commands change beside the mount is told to it at once.
func TestTrap14Notifications(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		size := func(path string, want int64) {
			t.Helper()
			st, err := os.Stat(path)
			if want < 0 && !errors.Is(err, os.ErrNotExist) || want >= 0 && (err != nil || st.Size() != want) {
				t.Errorf("%s: want size %d: %v, %v", path, want, st, err)
			}
		}
		size(p.at("v"), -1)
		p.slatefs("create", "--size", "4M", p.at("v"))
		size(p.at("v"), 4<<20)
		size(p.snap("v", "s"), -1)
		p.slatefs("snapshot", p.at("v")+"@s")
		size(p.snap("v", "s"), 4<<20)
		p.slatefs("resize", p.at("v"), "8M")
		size(p.at("v"), 8<<20)
		m := startChild(t, "map", p.at("v"), "4194304")
		m.do("put 0 3 65")
		size(p.at("w"), -1)
		p.slatefs("clone", p.at("v")+"@s", p.at("w"))
		size(p.at("w"), 4<<20)
		p.slatefs("rollback", "--force", p.at("v")+"@s")
		size(p.at("v"), 4<<20)
		if m.do("get 0 3") != sum(make([]byte, 3)) {
			t.Error("a mapping shows what was rolled back")
		}
		m.end()
		p.slatefs("destroy", p.at("w"))
		size(p.at("w"), -1)
		p.slatefs("destroy", p.at("v")+"@s")
		size(p.snap("v", "s"), -1)
		p.slatefs("rename", p.at("v"), p.at("x"))
		size(p.at("v"), -1)
		size(p.at("x"), 4<<20)
	})
}

// A guest reads past the old end as soon as its disk has grown, and asynchronously, for which the kernel relies on the
// size that it knows.
func TestTrap14AsynchronousReadsAfterGrowth(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "4K", p.at("v"))
		fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT)
		defer closeFD(t, fd)
		if n := readAsync(t, fd, 0); n != block {
			t.Errorf("before: %d bytes", n)
		}
		p.slatefs("snapshot", p.at("v")+"@small")
		p.slatefs("resize", p.at("v"), "8M")
		if n := readAsync(t, fd, 4<<20); n != block {
			t.Errorf("after it has grown: %d bytes", n)
		}
		p.slatefs("snapshot", p.at("v")+"@large")
		p.slatefs("rollback", "--force", p.at("v")+"@small")
		p.slatefs("rollback", "--force", p.at("v")+"@large")
		if n := readAsync(t, fd, 4<<20); n != block {
			t.Errorf("after a rollback: %d bytes", n)
		}
	})
}

// readAsync reads one block by Linux's own asynchronous I/O, and returns how much came.
func readAsync(t *testing.T, fd int, off uint64) int64 {
	t.Helper()
	call := func(nr uintptr, args ...uintptr) uintptr {
		t.Helper()
		args = append(args, make([]uintptr, 6-len(args))...)
		n, _, e := unix.Syscall6(nr, args[0], args[1], args[2], args[3], args[4], args[5])
		if e != 0 {
			t.Fatal(e)
		}
		return n
	}
	var ctx uintptr
	call(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&ctx)))
	defer call(unix.SYS_IO_DESTROY, ctx)
	buf := blockdev.Aligned(block)
	cb := &struct { // struct iocb of linux/aio_abi.h; opcode 0 is a read
		data      uint64
		key, rw   uint32
		opcode    uint16
		prio      int16
		fd        uint32
		buf, n    uint64
		off       uint64
		reserved  uint64
		flags, ev uint32
	}{fd: uint32(fd), buf: uint64(uintptr(unsafe.Pointer(&buf[0]))), n: block, off: off}
	var event struct {
		data, obj uint64
		res, res2 int64
	}
	call(unix.SYS_IO_SUBMIT, ctx, 1, uintptr(unsafe.Pointer(&cb)))
	call(unix.SYS_IO_GETEVENTS, ctx, 1, 1, uintptr(unsafe.Pointer(&event)))
	return event.res
}

// FORGET comes in floods when the kernel drops its caches, and after an unmount nothing may be waited for.
func TestTrap16ForgetAndUnmount(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		for i := range 1500 {
			must(t, os.WriteFile(p.at(strconv.Itoa(i)), nil, 0o644))
		}
		pid := p.pid()
		most := 0
		for range 5 {
			list, err := os.ReadDir(p.mnt)
			must(t, err)
			for _, e := range list {
				_, err := e.Info()
				must(t, err)
			}
			if isRoot() {
				_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0)
			}
			tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
			must(t, err)
			most = max(most, len(tasks))
		}
		if most > 100 {
			t.Errorf("the daemon has %d threads", most)
		}
		start := time.Now()
		p.umount()
		t.Logf("%d threads at most, unmounted in %v", most, time.Since(start).Round(time.Millisecond))
	})
}

// Parallel direct writes of less than a block race in read-modify-write unless partial blocks are exclusive.
func TestTrap20PartialBlocks(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "256M", tr)
		p.slatefs("create", "--size", "1M", p.at("v"))
		fd := open(t, p.at("v"), unix.O_RDWR|unix.O_DIRECT)
		defer closeFD(t, fd)
		for round := range 6 {
			var running sync.WaitGroup
			for g := range int64(block / sector) {
				running.Go(func() {
					for i := range int64(128) { // one sector of each block
						off := i*block + g*sector
						if _, err := unix.Pwrite(fd, stamped(sector, 0, off, uint64(round+1)), off); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			running.Wait()
			got := read(t, p.at("v"))[:128*block]
			for off := 0; off < len(got); off += sector {
				if st, err := readStamp(got[off : off+sector]); err != nil || st.write != uint64(round+1) {
					t.Fatalf("round %d: sector at %d holds write %d (%v)", round, off, st.write, err)
				}
			}
			p.slatefs("snapshot", p.at("v")+"@"+strconv.Itoa(round)) // the next ones merge
		}
	})
}
