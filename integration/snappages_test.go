package integration

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTakeoverKeepsPages: what the kernel has cached of a snapshot stays through a takeover, for who has it open and for who opens it
// next; and whoever serves then has the kernel give it up when the snapshot is destroyed. Another one of its name shows its own bytes.
func TestTakeoverKeepsPages(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		p.slatefs("create", "--size", "4M", p.at("v"))
		const size = 1 << 20
		fill := func(w uint64) []byte {
			fd := open(t, p.at("v"), unix.O_RDWR)
			data := stamped(size, 1, 0, w)
			_, err := unix.Pwrite(fd, data, 0)
			must(t, err)
			closeFD(t, fd)
			return data
		}
		old := fill(1)
		p.slatefs("snapshot", p.at("v@s"))
		snap := p.at(".snap/v@s")
		reader := open(t, snap, unix.O_RDONLY)
		pages := func() int {
			var c unix.Cachestat_t
			if err := unix.Cachestat(uint(reader), &unix.CachestatRange{Len: size}, &c, 0); err != nil {
				t.Skipf("cachestat: %v (this is not for want of a guest kernel)", err)
			}
			return int(c.Cache)
		}
		shows := func(when string, fd int, want []byte) {
			t.Helper()
			got := make([]byte, size)
			if n, err := unix.Pread(fd, got, 0); n != size || err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: %d bytes, %v, or others", when, n, err)
			}
		}
		shows("before", reader, old)
		if pages() < size/4096 {
			t.Errorf("%d pages are cached", pages())
		}
		p.killDaemon()
		if pages() < size/4096 {
			t.Errorf("after the takeover %d pages are cached", pages())
		}
		shows("after the takeover", reader, old)
		again := open(t, snap, unix.O_RDONLY)
		shows("opened after the takeover", again, old)
		closeFD(t, again)
		if pages() < size/4096 {
			t.Errorf("after another close %d pages are cached", pages())
		}
		p.killDaemon() // this one was told of no open of it
		now := fill(2)
		p.slatefs("destroy", p.at("v@s"))
		eventually(t, "the kernel gives the pages up", patience, func() bool { return pages() == 0 })
		shows("destroyed and open", reader, old)
		p.slatefs("snapshot", p.at("v@s"))
		eventually(t, "the new one is there", patience, func() bool {
			b, err := os.ReadFile(snap)
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESTALE) {
				return false
			}
			must(t, err)
			return bytes.Equal(b[:size], now)
		})
		closeFD(t, reader)
		p.slatefs("erase", "wait", p.mnt)
	})
}
