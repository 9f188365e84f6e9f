package fs

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// heldPool mounts a pool that warns at once, with a volume v that has a snapshot s, of other content.
func heldPool(t *testing.T, v variant) (s *Server, p *chain.Pool, d *devtest.Disk, ino chain.Ino, log *logBuffer) {
	t.Helper()
	log = &logBuffer{}
	p, d = newPool(t, v)
	o := v.options()
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	s = mountOn(t, p, t.TempDir(), o)
	s.fs.pages.late = time.Millisecond
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	a, err := p.Resolve("v")
	must(t, err)
	snapshotOf(t, p, fd, a.Ino, "s")
	return s, p, d, a.Ino, log
}

const heldBytes = 1 << 20

// snapshotOf takes a snapshot of what is written, and writes all of it anew.
func snapshotOf(t *testing.T, p *chain.Pool, fd int, ino chain.Ino, name string) {
	t.Helper()
	for _, what := range []byte{1, 2} {
		_, err := unix.Pwrite(fd, pattern(heldBytes, what), 0)
		must(t, err)
		if what == 1 {
			must(t, p.Snapshot(chain.Req{}, []chain.Ino{ino}, name))
		}
	}
	must(t, p.Flush())
}

func destroySnap(t *testing.T, p *chain.Pool, ino chain.Ino, name string) {
	t.Helper()
	must(t, p.DestroySnapshots(chain.Req{}, ino, []string{name}, chain.DestroyOptions{}))
}

// pagesHeldOf waits until the pages of a snapshot are held, and returns what is told of it.
func pagesHeldOf(t *testing.T, s *Server, name string) (h HeldPages) {
	t.Helper()
	eventuallyIs(t, "the pages of "+name+" are held", func() bool {
		var any bool
		h, any = s.fs.PagesHeld()
		return any && nameOf(h.Was) == name
	})
	return h
}

// One read of a page that does not end holds up what is erased: who waits, since when and how many others is told, and warned of.
func TestHeldPagesAreTold(t *testing.T) {
	for _, v := range variants {
		if v.file {
			continue // no device that can be held
		}
		t.Run(v.name, func(t *testing.T) { testHeldPagesAreTold(t, v) })
	}
}

func testHeldPagesAreTold(t *testing.T, v variant) {
	if v.loop && os.Geteuid() != 0 {
		t.Skip("the event loop needs root")
	}
	s, p, d, ino, log := heldPool(t, v)
	start := time.Now()
	snap := openAt(t, filepath.Join(s.Dir(), ".snap", "v@s"), unix.O_RDONLY)
	came := make(chan struct{}, 64)
	release := d.Hold(func(o devtest.Op) bool {
		if o.Kind == devtest.OpRead && o.Len >= 4096 {
			came <- struct{}{}
			return true
		}
		return false
	})
	defer release()
	read := make(chan error, 1)
	go func() {
		_, err := unix.Pread(snap, make([]byte, 4096), 0)
		read <- err
	}()
	<-came
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_RDWR)
	destroySnap(t, p, ino, "s")
	h := pagesHeldOf(t, s, "v@s")
	if h.Was.Dir != chain.RootIno || h.Since.Before(start) || h.Err != nil || !h.All || h.More != 0 {
		t.Errorf("%+v", h)
	}
	snapshotOf(t, p, fd, ino, "t")
	_, id, err := p.SnapLookup(chain.RootIno, "v@t")
	must(t, err)
	s.fs.pages.add(id) // as who has read it
	destroySnap(t, p, ino, "t")
	eventuallyIs(t, "what waits behind it is counted", func() bool { h := pagesHeldOf(t, s, "v@s"); return h.More == 1 })
	eventuallyIs(t, "it is warned of", func() bool {
		return strings.Contains(log.String(), `level=WARN`) && strings.Contains(log.String(), `snapshot=v@s`)
	})
	for range 20 { // the eraser has its chance
		must(t, p.Flush())
		if w := waiting(p); w < heldBytes {
			t.Fatalf("%d bytes wait to be erased, of %d", w, heldBytes)
		}
	}
	release()
	must(t, <-read)
	must(t, unix.Close(snap))
	eventuallyIs(t, "all is erased", func() bool { u := p.Usage(); return waiting(p) == 0 && u.Live <= heldBytes })
	eventuallyIs(t, "nothing is held", func() bool { _, any := s.fs.PagesHeld(); return !any })
	if !strings.Contains(log.String(), "has given up") {
		t.Error(log.String())
	}
}

// deafNotifier fails for snapshots while it is told to.
type deafNotifier struct {
	notifier
	asked chan<- struct{}
	hears <-chan struct{} // closed: it hears again
}

func (n *deafNotifier) notifyNode(node uint64) error {
	if kind, _ := split(node); kind == snapFile {
		select {
		case n.asked <- struct{}{}:
		default:
		}
		select {
		case <-n.hears:
		default:
			return unix.ENOMEM
		}
	}
	return n.notifier.notifyNode(node)
}

// Where the kernel can't be told, nothing is taken for given up: what a destroy frees waits until it could be, and that is told. A
// close that can't tell it keeps its snapshot until the mount ends, and holds up no other one.
func TestKernelCannotBeTold(t *testing.T) { onTransports(t, testKernelCannotBeTold) }

func testKernelCannotBeTold(t *testing.T, v variant) {
	s, p, _, ino, log := heldPool(t, v)
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_RDWR)
	reader, err := os.Open(filepath.Join(s.Dir(), ".snap", "v@s"))
	must(t, err)
	t.Cleanup(func() { _ = reader.Close() })
	_, err = io.Copy(io.Discard, reader)
	must(t, err)
	asked, hears := make(chan struct{}, 64), make(chan struct{})
	n := notifier(&deafNotifier{*s.fs.notify.Load(), asked, hears})
	s.fs.notify.Store(&n)
	destroySnap(t, p, ino, "s")
	<-asked
	var h HeldPages
	eventuallyIs(t, "it is told why", func() (any bool) {
		if h, any = s.fs.PagesHeld(); !any {
			t.Fatal("the pages are taken for given up")
		}
		return h.Err != nil
	})
	if nameOf(h.Was) != "v@s" || !h.All {
		t.Errorf("%+v", h)
	}
	must(t, reader.Close())
	snapshotOf(t, p, fd, ino, "t")
	destroySnap(t, p, ino, "t") // which has no pages, and waits with it
	eventuallyIs(t, "the close gives up", func() bool {
		s.fs.held.mu.Lock()
		defer s.fs.held.mu.Unlock()
		for h := range s.fs.held.now {
			if h.Kept {
				return true
			}
		}
		return false
	})
	for range 20 {
		must(t, p.Flush())
		if w := waiting(p); w < heldBytes {
			t.Fatalf("%d bytes wait to be erased, of %d", w, heldBytes)
		}
	}
	close(hears)
	eventuallyIs(t, "the other one is erased, what was closed is kept", func() bool {
		h, any := s.fs.PagesHeld()
		return any && h.Kept && !h.All && h.More == 0 && waiting(p) == 0 && p.Usage().Live > 2*heldBytes-4096
	})
	if n := strings.Count(log.String(), "could not be told to give up the pages"); n != 2 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}
