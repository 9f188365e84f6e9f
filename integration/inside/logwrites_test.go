//go:build guest

package inside

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// The log of dm-log-writes (drivers/md/dm-log-writes.c): a superblock in the first sector, then for each write a sector with
// its entry and, behind it, the data. Numbers are little-endian.
const (
	logMagic   = 0x6a736677736872
	logFlush   = 1 << 0
	logFUA     = 1 << 1
	logDiscard = 1 << 2
	logMark    = 1 << 3
)

type logEntry struct {
	sector, sectors, flags uint64
	data                   []byte // of a mark: its text
}

// readLog calls fn for each entry of a log, in order.
func readLog(t *testing.T, path string, fn func(logEntry)) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	le, head := binary.LittleEndian, make([]byte, 512)
	_, err = io.ReadFull(f, head)
	must(t, err)
	if le.Uint64(head) != logMagic || le.Uint32(head[24:]) != 512 {
		t.Fatalf("no log of dm-log-writes with sectors of 512 bytes: % x", head[:32])
	}
	for range le.Uint64(head[16:]) {
		_, err := io.ReadFull(f, head)
		must(t, err)
		e := logEntry{sector: le.Uint64(head), sectors: le.Uint64(head[8:]), flags: le.Uint64(head[16:])}
		switch {
		case e.flags&logMark != 0:
			e.data = bytes.Clone(head[32 : 32+le.Uint64(head[24:])])
		case e.flags&logDiscard == 0 && e.sectors > 0:
			e.data = make([]byte, e.sectors*512)
			_, err = io.ReadFull(f, e.data)
			must(t, err)
		}
		fn(e)
	}
}

// TestLogWrites logs every write of a pool's device (dm-log-writes) under a workload, and replays it. At each flush and each
// write with FUA, which is where a power cut may leave a disk without a cache, the pool opens, checks clean, and has what had
// been flushed when the log was marked.
func TestLogWrites(t *testing.T) {
	const size = 64 << 20
	table := fmt.Sprintf("0 %d log-writes /dev/vda /dev/vdb", size/sector)
	must(t, os.WriteFile("/tmp/zero", make([]byte, 1<<20), 0o600))
	for off := int64(0); off < size; off += 1 << 20 { // the replay begins with zeros
		put(t, "/dev/vda", make([]byte, 1<<20), off)
	}
	dev := dm(t, "logged", table)
	dir := mountpoint(t, "logged")
	slatefs(t, "pool create -f --assume-zero -o erase_throughput=0 logged "+dev)
	mark := func(format string, a ...any) {
		run(t, "dmsetup", "message", "logged", "0", "mark", fmt.Sprintf(format, a...))
	}
	slatefs(t, "mount logged "+dir)
	mark("0")
	file := dir + "/n.raw"
	for n := 1; n <= 40; n++ {
		put(t, file, numbered(0, n), int64(n%256)*4096)
		mark("%d", n)
		switch n % 8 {
		case 3:
			slatefs(t, fmt.Sprintf("snapshot %s@s%d", file, n))
		case 5:
			slatefs(t, fmt.Sprintf("destroy %s@s%d", file, n-2))
		case 7:
			put(t, dir+"/x.raw", pattern(1<<20, 'x'), 0)
			slatefs(t, "destroy "+dir+"/x.raw")
		}
	}
	slatefs(t, "erase wait logged")
	slatefs(t, "umount logged")
	mark("end")

	now := func() time.Time { return time.Unix(1_800_000_000, 0) }
	disk, flushed, points := devtest.New(size, 512), 0, 0
	readLog(t, "/dev/vdb", func(e logEntry) {
		switch {
		case e.flags&logMark != 0:
			if n, err := strconv.Atoi(string(e.data)); err == nil {
				flushed = n
			}
			return
		case e.flags&logDiscard != 0:
			t.Errorf("a discard of %d sectors at %d was sent to the device", e.sectors, e.sector)
			return
		case len(e.data) > 0:
			if _, err := disk.WriteAt(e.data, int64(e.sector)*512); err != nil {
				t.Fatal(err)
			}
		}
		if e.flags&(logFlush|logFUA) == 0 || flushed == 0 {
			return
		}
		points++
		p, err := chain.Open(disk.Clone(), chain.Options{Now: now, TakeOver: true})
		if err != nil {
			t.Fatalf("flush %d, after write %d: %v", points, flushed, err)
		}
		r, err := p.Check(context.Background())
		if err != nil || len(r.Errors)+len(r.Leaks) > 0 {
			t.Fatalf("flush %d, after write %d: %v, %v", points, flushed, err, r)
		}
		a, err := p.Resolve("n.raw")
		must(t, err)
		v, err := p.Volume(a.Ino)
		must(t, err)
		for n := 1; n <= flushed; n++ {
			b := make([]byte, 4096)
			if _, err := v.ReadAt(b, int64(n%256)*4096); err != nil || !bytes.Equal(b, numbered(0, n)) {
				t.Fatalf("flush %d: write %d, flushed before %d, is %.20q, %v", points, n, flushed, b, err)
			}
		}
		must(t, p.Close())
	})
	t.Logf("%d flushes replayed", points)
	if points < 80 {
		t.Errorf("only %d flushes", points)
	}
	if strings.Contains(run(t, "dmsetup", "status", "logged"), "error") {
		t.Error("the log has an error")
	}
	slatefs(t, "pool destroy --force logged")
}
