package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// amount is how much TestLoad does: a tenth, or with SLATEFS_LOAD=full all of it.
type amount struct{ files, requests, lookups int }

func loadAmount() amount {
	full := amount{10_000, 5_000, 1_000_000}
	if os.Getenv("SLATEFS_LOAD") == "full" {
		return full
	}
	return amount{full.files / 10, full.requests / 10, full.lookups / 10}
}

// resources is what a process has: goroutines, files, and memory in bytes.
type resources struct{ goroutines, files, rss int }

func used(t *testing.T) (r resources) {
	t.Helper()
	debug.FreeOSMemory()
	r.goroutines = runtime.NumGoroutine()
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	r.files = len(files)
	b, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	_, err = fmt.Sscan(strings.Fields(string(b))[1], &r.rss)
	must(t, err)
	r.rss *= os.Getpagesize()
	return r
}

// Many open files, many requests at once and many lookups end, and leave nothing behind: no goroutine, no file, no memory.
// (Requests whose callers are interrupted are TestTrap13Interrupts.)
func TestLoad(t *testing.T) {
	if testing.Short() {
		return
	}
	for _, v := range variants[:2] {
		t.Run(v.name, func(t *testing.T) {
			if v.loop && os.Geteuid() != 0 {
				t.Skip("the event loop needs root")
			}
			testLoad(t, v)
		})
	}
}

func testLoad(t *testing.T, v variant) {
	l := loadAmount()
	s, _, _ := mountPool(t, v)
	// Once on a small scale: what is made once is there before.
	work := func(files, requests, lookups int) {
		fds := make([]int, files)
		for i := range fds {
			fd, err := unix.Open(filepath.Join(s.Dir(), fmt.Sprint("f", i)), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err != nil {
				t.Fatalf("open file %d: %v", i, err)
			}
			fds[i] = fd
		}
		if n := s.OpenFiles(); n != files {
			t.Errorf("%d files are open, want %d", n, files)
		}
		var all sync.WaitGroup
		begin := make(chan struct{})
		for i := range requests {
			all.Go(func() {
				<-begin
				if _, err := unix.Pwrite(fds[i%64], pattern(512, byte(i)), 0); err != nil {
					t.Errorf("write %d: %v", i, err)
				}
				b := make([]byte, 512)
				if n, err := unix.Pread(fds[i%64], b, 0); n != len(b) || err != nil {
					t.Errorf("read %d: %d, %v", i, n, err)
				}
			})
		}
		close(begin)
		all.Wait()
		var st unix.Stat_t
		for i := range lookups {
			if err := unix.Stat(filepath.Join(s.Dir(), fmt.Sprint("none", i)), &st); err != unix.ENOENT {
				t.Fatalf("lookup %d: %v", i, err)
			}
		}
		for i, fd := range fds {
			must(t, unix.Close(fd))
			must(t, unix.Unlink(filepath.Join(s.Dir(), fmt.Sprint("f", i))))
		}
		for end := time.Now().Add(patience); s.OpenFiles() > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d files stay open", s.OpenFiles())
			}
		}
	}
	work(l.files/4, l.requests, 1000)
	before, start := used(t), time.Now()
	work(l.files, l.requests, l.lookups)
	took := time.Since(start)
	var after resources
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) { // what ends, ends soon
		after = used(t)
		if after.goroutines <= before.goroutines+8 && after.files <= before.files || time.Now().After(end) {
			break
		}
	}
	t.Logf("%+v: %v; %+v before, %+v after", l, took.Round(time.Millisecond), before, after)
	if after.goroutines > before.goroutines+8 || after.files > before.files || after.rss > before.rss+(64<<20) {
		t.Errorf("it grew: %+v before, %+v after", before, after)
	}
}
