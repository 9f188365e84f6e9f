package integration

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fill writes stamped pieces of n bytes from off on until the pool is full, and returns where it ended.
func fill(t *testing.T, fd, volume int, off int64, n int, w uint64) int64 {
	t.Helper()
	for {
		k, err := unix.Pwrite(fd, stamped(n, volume, off, w), off)
		if err == unix.ENOSPC {
			return off
		}
		if err != nil || k%block != 0 {
			t.Fatalf("write %d at %d: %d, %v", n, off, k, err)
		}
		off += int64(k)
	}
}

// holds checks that a volume holds write w up to end, but for what over says of an offset.
func holds(t *testing.T, path string, volume int, end int64, w uint64, over func(off int64) uint64) {
	t.Helper()
	b := read(t, path)
	for off := int64(0); off < end; off += sector {
		want := w
		if over != nil && over(off) > 0 {
			want = over(off)
		}
		st, err := readStamp(b[off : off+sector])
		if err != nil || st.write != want || st.where != place(volume, off/sector) {
			t.Fatalf("%s: sector at %d holds %+v, want write %d (%v)", path, off, st, want, err)
		}
	}
}

// TestFullPool fills a pool to its last block: what does not fit is ENOSPC, all that was acknowledged is kept, also over
// a kill; what is freed can be written at once, at whatever rate the background erases.
func TestFullPool(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "128M", tr)
		p.mount()
		p.slatefs("set", "erase_throughput=4096", p.mnt)
		p.slatefs("create", "--size", "256M", p.at("a"), p.at("b"))
		a, b := open(t, p.at("a"), unix.O_RDWR|unix.O_DIRECT), open(t, p.at("b"), unix.O_RDWR|unix.O_DIRECT)
		_, err := unix.Pwrite(a, stamped(32<<20, 0, 0, 1), 0)
		must(t, err)
		p.slatefs("snapshot", p.at("a")+"@s")
		end := fill(t, b, 1, 0, 1<<20, 2)
		end = fill(t, b, 1, end, 64<<10, 2)
		end = fill(t, b, 1, end, block, 2)
		if u := p.info().Info.Usage; u.Available > 0 || end < 64<<20 {
			t.Errorf("%d bytes were written, and there is left: %+v", end, u)
		}
		must(t, unix.Fsync(b))
		_, err = unix.Pwrite(a, stamped(block, 0, 0, 3), 0) // shared with the snapshot
		fails(t, "a first write after a snapshot", err, unix.ENOSPC)
		fails(t, "fallocate", unix.Fallocate(a, 0, 64<<20, 64<<20), unix.ENOSPC)
		_, err = unix.Pwrite(b, stamped(block, 1, 0, 4), 0)
		if err != nil {
			t.Errorf("in place: %v", err)
		}
		first := func(off int64) uint64 {
			if off < block {
				return 4
			}
			return 0
		}
		must(t, unix.Fsync(b))
		holds(t, p.at("b"), 1, end, 2, first)
		p.kill()
		closeFD(t, a)
		closeFD(t, b)
		p.mount()
		holds(t, p.at("a"), 0, 32<<20, 1, nil)
		holds(t, p.snap("a", "s"), 0, 32<<20, 1, nil)
		holds(t, p.at("b"), 1, end, 2, first)
		must(t, unix.Unlink(p.at("a"))) // with its snapshot: 32 MiB, which the background would erase in two hours
		start := time.Now()
		b = open(t, p.at("b"), unix.O_RDWR|unix.O_DIRECT)
		again := fill(t, b, 1, end, 1<<20, 5)
		again = fill(t, b, 1, again, block, 5)
		must(t, unix.Fsync(b))
		t.Logf("%d MiB fit, %d MiB more after a destroy, in %v", end>>20, (again-end)>>20, time.Since(start).Round(time.Millisecond))
		if again-end < 31<<20 {
			t.Errorf("of 32 MiB that were freed %d bytes could be written", again-end)
		}
		closeFD(t, b)
		holds(t, p.at("b"), 1, again, 5, func(off int64) uint64 {
			if off < end {
				return max(2, first(off))
			}
			return 0
		})
		p.slatefs("destroy", p.at("b")) // a full pool can free
		p.slatefs("set", "erase_throughput=0", p.mnt)
		p.slatefs("erase", "wait", p.mnt)
	})
}
