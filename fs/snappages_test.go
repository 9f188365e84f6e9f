package fs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// counting mounts a new pool and counts requests by opcode.
func counting(t *testing.T, v variant) (s *Server, p *chain.Pool, count func(code int) int) {
	var log logBuffer
	p, _ = newPool(t, v)
	o := v.options()
	o.Debug, o.Logger = true, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s = mountOn(t, p, t.TempDir(), o)
	names := map[int]string{codeRead: " READ ", codeWrite: " WRITE "}
	return s, p, func(code int) int {
		if v.loop {
			return strings.Count(log.String(), fmt.Sprintf(" opcode=%d ", code))
		}
		return strings.Count(log.String(), names[code])
	}
}

// readBy reads all of a file by n bytes at a time.
func readBy(t *testing.T, fd, n, size int) []byte {
	t.Helper()
	all, part := make([]byte, 0, size), blockdev.Aligned(n)
	for {
		got, err := unix.Pread(fd, part, int64(len(all)))
		must(t, err)
		if got == 0 {
			return all
		}
		all = append(all, part[:got]...)
	}
}

// cached is how many pages of a file the kernel has, or -1 if it can't say.
func cached(t *testing.T, fd int) int {
	t.Helper()
	var c unix.Cachestat_t
	switch err := unix.Cachestat(uint(fd), &unix.CachestatRange{}, &c, 0); {
	case errors.Is(err, unix.ENOSYS):
		return -1
	case err != nil:
		t.Fatal(err)
	}
	return int(c.Cache)
}

// Who reads a snapshot by 4 KiB asks for 128 KiB at a time, and who reads it again for next to nothing (the host may have wanted its
// memory); with O_DIRECT each read is one request, of 1 MiB, whatever is cached. A volume is read as it is asked for, and written so.
func TestSnapshotsAreCached(t *testing.T) { onTransports(t, testSnapshotsAreCached) }

func testSnapshotsAreCached(t *testing.T, v variant) {
	s, p, count := counting(t, v)
	const size = 16 << 20
	want := pattern(size, 4)
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR|unix.O_DIRECT)
	requests := func(code int, what string, most int, fn func()) {
		t.Helper()
		before := count(code)
		fn()
		n := count(code) - before
		t.Logf("%s: %d requests", what, n)
		if n > most {
			t.Errorf("%s: %d requests, at most %d are good", what, n, most)
		}
	}
	requests(codeWrite, "16 MiB are written by 1 MiB", size/maxWrite, func() {
		for off := 0; off < size; off += maxWrite {
			_, err := unix.Pwrite(fd, want[off:off+maxWrite], int64(off))
			must(t, err)
		}
	})
	a, err := p.Resolve("v")
	must(t, err)
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "s"))
	snap := filepath.Join(s.Dir(), ".snap", "v@s")
	shows := func(fd, n int) {
		t.Helper()
		if !bytes.Equal(readBy(t, fd, n, size), want) {
			t.Error("other bytes")
		}
	}
	requests(codeRead, "by 4 KiB", size/(128<<10)+16, func() { shows(openAt(t, snap, unix.O_RDONLY), 4096) })
	requests(codeRead, "again", 16, func() { shows(openAt(t, snap, unix.O_RDONLY), 4096) })
	direct := openAt(t, snap, unix.O_RDONLY|unix.O_DIRECT)
	before := count(codeRead)
	requests(codeRead, "with O_DIRECT by 1 MiB", size/maxWrite+1, func() { shows(direct, maxWrite) })
	if n := count(codeRead) - before; n < size/maxWrite {
		t.Errorf("with O_DIRECT: %d requests: it is read from the page cache", n)
	}
	requests(codeRead, "and by 4 KiB beside it", 16, func() { shows(openAt(t, snap, unix.O_RDONLY), 4096) })
	requests(codeRead, "the volume by 1 MiB", size/maxWrite+1, func() { shows(openAt(t, path, unix.O_RDONLY), maxWrite) })
}

// What a destroyed snapshot showed is never shown by another of its name, whoever reads; a rename, a rollback to it and a clone of
// it leave what it shows as it is. Who has it open reads on.
func TestSnapshotPagesFollow(t *testing.T) { onTransports(t, testSnapshotPagesFollow) }

func testSnapshotPagesFollow(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	const size = 256 << 10
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	a, err := p.Resolve("v")
	must(t, err)
	snap := func(name string, seed byte) {
		t.Helper()
		_, err := unix.Pwrite(fd, pattern(size, seed), 0)
		must(t, err)
		must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, name))
	}
	in := func(name string) string { return filepath.Join(s.Dir(), ".snap", name) }
	var seeds []byte
	whole := func(b []byte) bool { // what some snapshot shows, from end to end
		return slices.ContainsFunc(seeds, func(seed byte) bool { return bytes.Equal(b, pattern(size, seed)) })
	}
	shows := func(when, name string, seed byte) { // as soon as the kernel has been told of the name, which may be after the command
		t.Helper()
		seeds = append(seeds, seed)
		var got []byte
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			fd, err := unix.Open(in(name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
				continue
			}
			must(t, err)
			got = readBy(t, fd, 4096, size)
			must(t, unix.Close(fd))
			if bytes.Equal(got, pattern(size, seed)) || !whole(got) {
				break
			}
		}
		if !bytes.Equal(got, pattern(size, seed)) {
			t.Errorf("%s: %s shows something else", when, name)
		}
	}
	snap("s", 1)
	shows("made", "v@s", 1)
	must(t, p.RenameSnapshot(chain.Req{}, a.Ino, "s", "old"))
	snap("s", 2)
	shows("renamed", "v@old", 1)
	shows("renamed", "v@s", 2)
	_, err = p.Clone(chain.Req{}, a.Ino, "old", chain.RootIno, "c")
	must(t, err)
	c, err := p.Resolve("c")
	must(t, err)
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{c.Ino}, "s"))
	shows("cloned", "c@s", 1)
	open := openAt(t, in("v@s"), unix.O_RDONLY)
	for seed := byte(3); seed < 8; seed++ { // destroyed and made anew
		must(t, p.DestroySnapshots(chain.Req{}, a.Ino, []string{"s"}, chain.DestroyOptions{}))
		snap("s", seed)
		shows("made anew", "v@s", seed)
	}
	if !bytes.Equal(readBy(t, open, 4096, size), pattern(size, 2)) {
		t.Error("what is open and destroyed shows something else")
	}
	must(t, p.Rollback(chain.Req{}, a.Ino, "old", true))
	if got := readBy(t, fd, 4096, size); !bytes.Equal(got, pattern(size, 1)) {
		t.Error("rolled back: the volume shows something else")
	}
	shows("rolled back", "v@old", 1)
	shows("rolled back", "v@s", 7)
	must(t, p.DestroySnapshots(chain.Req{}, a.Ino, []string{"s"}, chain.DestroyOptions{}))
	must(t, p.SetProps(chain.Req{}, chain.RootIno, chain.Setting{Name: chain.PropDestroyDelay, Value: "1h"}))
	snap("s", 8)
	shows("kept from now on", "v@s", 8)
	must(t, p.DestroySnapshots(chain.Req{}, a.Ino, []string{"s"}, chain.DestroyOptions{}))
	kept := p.Destroyed()
	_, err = p.Undestroy(chain.Req{}, kept[len(kept)-1].ID, 0, "")
	must(t, err)
	shows("undestroyed", "v@s", 8)
	must(t, p.DestroySnapshots(chain.Req{}, a.Ino, []string{"s"}, chain.DestroyOptions{}))
	snap("s", 9)
	shows("destroyed, kept, and made anew", "v@s", 9)
}

// slowNotifier tells when pages are to be given up, and waits.
type slowNotifier struct {
	notifier
	asked chan uint64
	goOn  chan struct{}
}

func (n *slowNotifier) notifyNode(node uint64) error {
	if kind, _ := split(node); kind != snapFile {
		return n.notifier.notifyNode(node)
	}
	n.asked <- node
	<-n.goOn
	return n.notifier.notifyNode(node)
}

// Nothing of a destroyed snapshot is erased before the kernel has given up its pages, and then it has none.
func TestEraseWaitsForPages(t *testing.T) { onTransports(t, testEraseWaitsForPages) }

func testEraseWaitsForPages(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	const size = 1 << 20
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	a, err := p.Resolve("v")
	must(t, err)
	for _, held := range []bool{false, true} { // destroyed while it is open: with the close
		_, err = unix.Pwrite(fd, pattern(size, 1), 0)
		must(t, err)
		must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "s"))
		_, err = unix.Pwrite(fd, pattern(size, 2), 0)
		must(t, err)
		reader, err := unix.Open(filepath.Join(s.Dir(), ".snap", "v@s"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		must(t, err)
		if !held { // of a close it cannot be told when it is over while another one has the file open
			second, err := unix.Open(filepath.Join(s.Dir(), ".snap", "v@s"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			must(t, err)
			must(t, unix.Close(second)) // it changes nothing
		}
		readBy(t, reader, 4096, size)
		if n := cached(t, reader); n >= 0 && n < size/4096 {
			t.Errorf("%d pages are in the page cache", n)
		}
		eventuallyIs(t, "all is erased that was freed before", func() bool { return waiting(p) == 0 })
		slow := &slowNotifier{*s.fs.notify.Load(), make(chan uint64, 16), make(chan struct{})}
		t.Cleanup(func() { close(slow.goOn) })
		n := notifier(slow)
		old := s.fs.notify.Swap(&n)
		if !held {
			must(t, unix.Close(reader))
			eventuallyIs(t, "the close is over", func() bool {
				f, err := p.ForecastDestroy(a.Ino, []string{"s"}, chain.DestroyOptions{Defer: true})
				return err == nil && !slices.Contains(f.SeenBy, "open files")
			})
		}
		must(t, p.DestroySnapshots(chain.Req{}, a.Ino, []string{"s"}, chain.DestroyOptions{}))
		<-slow.asked
		if held {
			slow.goOn <- struct{}{}
			eventuallyIs(t, "pages are given up while it is open", func() bool { return cached(t, reader) <= 0 })
			if !bytes.Equal(readBy(t, reader, 4096, size), pattern(size, 1)) {
				t.Error("who has it open reads something else")
			}
			must(t, unix.Close(reader))
			eventuallyIs(t, "pages are given up with the close", func() bool {
				select {
				case <-slow.asked:
					return true
				default:
				}
				if waiting(p) == 0 && p.Usage().Live <= size {
					t.Fatal("it was erased before its pages were given up")
				}
				return false
			})
		} else {
			for range 50 { // the eraser has been asked meanwhile, and had its chance
				must(t, p.Flush())
				if w := waiting(p); w < size {
					t.Fatalf("%d bytes wait to be erased, of %d", w, size)
				}
			}
		}
		slow.goOn <- struct{}{}
		eventuallyIs(t, "it is erased", func() bool { u := p.Usage(); return waiting(p) == 0 && u.Live <= size })
		s.fs.notify.Store(old)
	}
}

// waiting is what is freed and not erased, in bytes.
func waiting(p *chain.Pool) int64 { u := p.Usage(); return u.Dirty + u.Freeing }

func eventuallyIs(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// An error of the device is that of who reads there, with read-ahead or without, and is not kept: when the device is well again
// it shows what it had.
func TestSnapshotReadFails(t *testing.T) {
	for _, v := range variants {
		if v.file {
			continue // no device that fails on demand; the same code reads in memory
		}
		t.Run(v.name, func(t *testing.T) {
			if v.loop && os.Geteuid() != 0 {
				t.Skip("the event loop needs root")
			}
			testSnapshotReadFails(t, v)
		})
	}
}

func testSnapshotReadFails(t *testing.T, v variant) {
	s, p, d := mountPool(t, v)
	const size = 4 << 20
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	want := pattern(size, 5)
	_, err := unix.Pwrite(fd, want, 0)
	must(t, err)
	must(t, unix.Fsync(fd))
	a, err := p.Resolve("v")
	must(t, err)
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "s"))
	vol, err := p.Volume(a.Ino)
	must(t, err)
	var plan chain.Plan
	need, err := vol.PlanRead(&plan, size/2, 4096)
	if err != nil || !need.None() {
		t.Fatalf("%v, %v", need, err)
	}
	bad := plan.Spans[0].Dev
	plan.Abort()
	d.Fail(func(o devtest.Op) error {
		if o.Kind == devtest.OpRead && o.Off <= bad && bad < o.Off+o.Len {
			return unix.EIO
		}
		return nil
	})
	file := filepath.Join(s.Dir(), ".snap", "v@s")
	one, other := openAt(t, file, unix.O_RDONLY), openAt(t, file, unix.O_RDONLY)
	part := make([]byte, 4096)
	for off := int64(0); off < size; off += 4096 {
		_, err := unix.Pread(one, part, off)
		switch {
		case off == size/2:
			wantErr(t, "a read of the bad block", err, unix.EIO)
		case err != nil || !bytes.Equal(part, want[off:off+4096]):
			t.Fatalf("%d: %v", off, err)
		}
		if off%(1<<20) == 0 {
			if _, err := unix.Pread(other, part, size-4096); err != nil || !bytes.Equal(part, want[size-4096:]) {
				t.Errorf("another reader: %v", err)
			}
		}
	}
	d.Fail(nil)
	if !bytes.Equal(readBy(t, one, 4096, size), want) {
		t.Error("the device is well again, and what is read is not what it has")
	}
}

// A snapshot that has a name is always among those whose destroy is told of, whoever closes it at that moment: else what it frees would be
// erased while the kernel has its pages.
func TestDestroyFindsPages(t *testing.T) {
	s, p, _ := mountPool(t, variant{})
	openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	a, err := p.Resolve("v")
	must(t, err)
	must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, "s"))
	_, id, err := p.SnapLookup(chain.RootIno, "v@s")
	must(t, err)
	s.fs.pages.add(id)
	if s.fs.givePagesUp(chain.SnapChange{Layer: id}, 1, nil); s.fs.pages.added(id) == 0 {
		t.Fatal("after a close its destroy would not be told of")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20000 {
			s.fs.givePagesUp(chain.SnapChange{Layer: id}, 1, nil)
		}
	}()
	for looks := 0; ; looks++ {
		if s.fs.pages.added(id) == 0 {
			t.Fatalf("at look %d its destroy would not be told of", looks)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
