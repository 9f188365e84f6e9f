package integration

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// fsx does random operations on a volume and the same on an ordinary file, and compares what they return and hold.
type fsx struct {
	*pool
	t       *testing.T
	rng     *rand.Rand
	mode    string // buffered, direct, mmap
	vol     int    // open files
	ref     int
	other   int // a second volume and its reference, for copies
	refOth  int
	mapped  *child
	size    int64
	snaps   map[string][]byte
	history []string
}

// fsxMax is the greatest size of a file, in bytes; fsxLen of an operation.
const (
	fsxMax = 4 << 20
	fsxLen = 256 << 10
)

// TestFSX compares a volume with an ordinary file under random operations, buffered, with O_DIRECT, and by mmap in a
// process of its own; snapshots made in between must show what was there.
func TestFSX(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "512M", tr)
		p.slatefs("set", "erase_throughput=0", p.mnt)
		for mode, ops := range map[string]int{"buffered": 5000, "direct": 5000, "mmap": 1500} {
			t.Run(mode, func(t *testing.T) {
				p := &pool{lab: &lab{t: t, dir: p.dir}, name: p.name, device: p.device, mnt: p.mnt}
				seed := uint64(time.Now().UnixNano())
				t.Logf("seed %d", seed)
				newFSX(t, p, mode, seed).run(ops)
			})
		}
	})
}

func newFSX(t *testing.T, p *pool, mode string, seed uint64) *fsx {
	x := &fsx{pool: p, t: t, rng: rand.New(rand.NewPCG(seed, 1)), mode: mode, snaps: map[string][]byte{}}
	flags := unix.O_CREAT | unix.O_RDWR
	if mode == "direct" {
		flags |= unix.O_DIRECT
	}
	x.vol, x.other = open(t, p.at(mode), flags), open(t, p.at(mode+".other"), flags)
	x.ref, x.refOth = open(t, p.path(mode), flags&^unix.O_DIRECT), open(t, p.path(mode+".other"), flags&^unix.O_DIRECT)
	t.Cleanup(func() {
		for _, fd := range []int{x.vol, x.other, x.ref, x.refOth} {
			closeFD(t, fd)
		}
		if t.Failed() {
			t.Logf("the last operations: %q", x.history[max(0, len(x.history)-30):])
		}
	})
	if mode == "mmap" {
		x.mapped = startChild(t, "map", p.at(mode), fmt.Sprint(fsxMax))
	}
	return x
}

// run does n operations.
func (x *fsx) run(n int) {
	ops := []func() string{x.write, x.write, x.write, x.read, x.read, x.truncate, x.punch, x.zero, x.allocate, x.copy, x.sync, x.seek}
	for i := range n {
		x.history = append(x.history, ops[x.rng.IntN(len(ops))]())
		if i%250 == 249 {
			x.compare(x.vol, x.ref)
			x.compare(x.other, x.refOth)
			x.snapshot(i)
		}
		if x.t.Failed() {
			x.t.FailNow()
		}
	}
	if x.mapped != nil {
		x.mapped.end()
	}
	for name, want := range x.snaps {
		if !bytes.Equal(read(x.t, x.snap(x.mode, name)), want) {
			x.t.Errorf("snapshot %s shows something else", name)
		}
	}
}

// span picks a range; aligned for O_DIRECT.
func (x *fsx) span() (off, n int64) {
	off, n = x.rng.Int64N(fsxMax-fsxLen), 1+x.rng.Int64N(fsxLen)
	if x.rng.IntN(3) == 0 {
		n = 1 + x.rng.Int64N(5000)
	}
	if x.rng.IntN(4) == 0 {
		off &^= block - 1
	}
	if x.mode == "direct" {
		off, n = off&^(sector-1), (n+sector-1)&^(sector-1)
	}
	return off, n
}

// same compares what an operation returned on both files.
func (x *fsx) same(op string, n, wantN int64, err, want error) string {
	x.t.Helper()
	if n != wantN || !errors.Is(err, want) {
		x.t.Errorf("%s: %d, %v; an ordinary file: %d, %v", op, n, err, wantN, want)
	}
	return op
}

func (x *fsx) write() string {
	off, n := x.span()
	if x.mapped != nil && x.rng.IntN(2) == 0 {
		return x.put(off, n)
	}
	b := blockdev.Aligned(int(n))
	for i := range b {
		b[i] = byte(x.rng.Uint32())
	}
	got, err := unix.Pwrite(x.vol, b, off)
	want, wantErr := unix.Pwrite(x.ref, b, off)
	x.size = max(x.size, off+n)
	return x.same(fmt.Sprintf("write %d at %d", n, off), int64(got), int64(want), err, wantErr)
}

// put stores through the mapping, as far as the file goes.
func (x *fsx) put(off, n int64) string {
	n = min(n, x.size-off)
	if n <= 0 {
		return "put nothing"
	}
	b := byte(x.rng.Uint32())
	x.mapped.do("put %d %d %d", off, n, b)
	_, err := unix.Pwrite(x.ref, bytes.Repeat([]byte{b}, int(n)), off)
	return x.same(fmt.Sprintf("put %d at %d", n, off), 0, 0, nil, err)
}

func (x *fsx) read() string {
	off, n := x.span()
	op := fmt.Sprintf("read %d at %d", n, off)
	if x.mapped != nil && off+n <= x.size && x.rng.IntN(2) == 0 {
		want := make([]byte, n)
		_, err := unix.Pread(x.ref, want, off)
		must(x.t, err)
		if got := x.mapped.do("get %d %d", off, n); got != sum(want) {
			x.t.Errorf("%s: the mapping differs", op)
		}
		return "mapped " + op
	}
	got, want := blockdev.Aligned(int(n)), make([]byte, n)
	k, err := unix.Pread(x.vol, got, off)
	w, wantErr := unix.Pread(x.ref, want, off)
	if k > 0 && !bytes.Equal(got[:k], want[:min(k, max(w, 0))]) {
		x.t.Errorf("%s: content differs", op)
	}
	return x.same(op, int64(k), int64(w), err, wantErr)
}

func (x *fsx) truncate() string {
	size := x.rng.Int64N(fsxMax)
	if x.rng.IntN(2) == 0 {
		size = max(0, x.size-x.rng.Int64N(20000))
	}
	if x.mode == "direct" {
		size &^= sector - 1
	}
	x.size = size
	return x.same(fmt.Sprintf("truncate to %d", size), 0, 0, unix.Ftruncate(x.vol, size), unix.Ftruncate(x.ref, size))
}

// fallocate does one on both files.
func (x *fsx) fallocate(op string, mode uint32) string {
	off, n := x.span()
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		x.size = max(x.size, off+n)
	}
	return x.same(fmt.Sprintf("%s %d at %d", op, n, off), 0, 0, unix.Fallocate(x.vol, mode, off, n), unix.Fallocate(x.ref, mode, off, n))
}

func (x *fsx) punch() string {
	return x.fallocate("punch", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
}

func (x *fsx) zero() string {
	return x.fallocate("zero", unix.FALLOC_FL_ZERO_RANGE|uint32(x.rng.IntN(2))*unix.FALLOC_FL_KEEP_SIZE)
}

func (x *fsx) allocate() string {
	return x.fallocate("allocate", uint32(x.rng.IntN(2))*unix.FALLOC_FL_KEEP_SIZE)
}

// copy copies between the volumes, to and fro.
func (x *fsx) copy() string {
	off, n := x.span()
	to, _ := x.span()
	from, into, refFrom, refInto := x.vol, x.other, x.ref, x.refOth
	if x.rng.IntN(2) == 0 {
		from, into, refFrom, refInto = into, from, refInto, refFrom
	}
	all := func(src, dst int) (done int64, err error) {
		for done < n {
			a, b := off+done, to+done
			k, err := unix.CopyFileRange(src, &a, dst, &b, int(n-done), 0)
			if k <= 0 || err != nil {
				return done, err
			}
			done += int64(k)
		}
		return done, nil
	}
	got, err := all(from, into)
	want, wantErr := all(refFrom, refInto)
	if into == x.vol && want > 0 {
		x.size = max(x.size, to+want)
	}
	return x.same(fmt.Sprintf("copy %d from %d to %d", n, off, to), got, want, err, wantErr)
}

func (x *fsx) sync() string {
	return x.same("fsync", 0, 0, unix.Fsync(x.vol), nil)
}

// seek asks for data and holes: what is called a hole must read as zeros.
func (x *fsx) seek() string {
	off, _ := x.span()
	data, err := unix.Seek(x.vol, off, unix.SEEK_DATA)
	if err == unix.ENXIO {
		data = max(off, x.size)
	} else if err != nil {
		x.t.Errorf("seek data %d: %v", off, err)
	}
	hole := make([]byte, max(0, min(data, x.size)-off))
	if _, err := unix.Pread(x.ref, hole, off); err != nil || len(bytes.Trim(hole, "\x00")) > 0 {
		x.t.Errorf("seek data %d: %d, over data (%v)", off, data, err)
	}
	return fmt.Sprintf("seek %d", off)
}

// compare reads both files whole.
func (x *fsx) compare(vol, ref int) {
	x.t.Helper()
	var a, b unix.Stat_t
	must(x.t, unix.Fstat(vol, &a))
	must(x.t, unix.Fstat(ref, &b))
	got, want := blockdev.Aligned(fsxMax*2), make([]byte, fsxMax*2)
	n, err := unix.Pread(vol, got, 0)
	must(x.t, err)
	w, err := unix.Pread(ref, want, 0)
	must(x.t, err)
	if a.Size != b.Size || n != w || !bytes.Equal(got[:n], want[:w]) {
		i := 0
		for i < min(n, w) && got[i] == want[i] {
			i++
		}
		x.t.Errorf("size %d, want %d; %d bytes read, want %d; they differ from byte %d on", a.Size, b.Size, n, w, i)
	}
}

// snapshot freezes the volume; now and then it is rolled back to it at once, which must change nothing.
func (x *fsx) snapshot(i int) {
	name := fmt.Sprint("op", i)
	x.slatefs("snapshot", x.at(x.mode)+"@"+name)
	x.snaps[name] = read(x.t, x.path(x.mode))
	if i%500 == 499 {
		x.slatefs("rollback", "--force", x.at(x.mode)+"@"+name)
		x.compare(x.vol, x.ref)
	}
	if _, err := os.Stat(x.snap(x.mode, name)); err != nil {
		x.t.Error(err)
	}
}
