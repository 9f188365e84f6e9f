package fs

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// asLoop runs a part of a loop.
func asLoop(part func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	part()
}

// offLoop ends the tests if a loop is at a device: it would wait for it, and everybody else with it.
func offLoop() {
	var callers [128]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for more := true; more; {
		var f runtime.Frame
		if f, more = frames.Next(); f.Function == "slatefs/fs.(*eventLoop).run" || f.Function == "slatefs/fs.asLoop" {
			panic("the loop asks the device itself")
		}
	}
}

// asking asks the device for attributes.
type asking struct {
	names
	noticed chan any
}

func (a asking) GetAttr(chain.Ino) (chain.Attr, error) {
	defer func() { a.noticed <- recover() }()
	offLoop()
	return chain.Attr{}, chain.ErrNotNow
}

// TestOffLoop: the tests notice a loop at a device, whichever of them it is.
func TestOffLoop(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	f := New(p, nil)
	l := oneLoop(t, f, 1)
	a := asking{p.AtOnce(), make(chan any, 1)}
	l.now = a
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	must(t, unix.SetNonblock(pair[0], true))
	l.port = pair[0]
	w := &wire{t: t, l: l, fd: pair[1], ino: chain.RootIno}
	var served sync.WaitGroup
	served.Go(l.serve)
	w.send(w.request(codeGetAttr, make([]byte, 16)))
	if <-a.noticed == nil {
		t.Error("a loop that asks the device is not noticed")
	}
	must(t, unix.Close(pair[1]))
	served.Wait()
	l.others.wait()
	offLoop()
}

func init() { devtest.Watch = func(devtest.Op) { offLoop() } }

// watchedFile is a file that no loop may ask by its methods; its ring may.
type watchedFile struct{ *blockdev.File }

func (f watchedFile) ReadAt(p []byte, off int64) (int, error) {
	offLoop()
	return f.File.ReadAt(p, off)
}

func (f watchedFile) WriteAt(p []byte, off int64) (int, error) {
	offLoop()
	return f.File.WriteAt(p, off)
}

func (f watchedFile) WriteAtDsync(p []byte, off int64) (int, error) {
	offLoop()
	return f.File.WriteAtDsync(p, off)
}

func (f watchedFile) Zero(off, n int64, m blockdev.Method) error {
	offLoop()
	return f.File.Zero(off, n, m)
}
func (f watchedFile) Sync() error { offLoop(); return f.File.Sync() }

// A coldRegion is so far from the next that each has a page of the map by itself, in bytes.
const coldRegion = 32 << 20

// coldLoop is a loop on a pool of which next to nothing is in memory: volumes a and b with pages of their maps in several regions.
func coldLoop(t *testing.T) (w *wire, d *devtest.Disk, a, b chain.Ino) {
	d = devtest.New(poolBytes, 512)
	must(t, chain.Create(d, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	p, err := chain.Open(d, chain.Options{Now: time.Now})
	must(t, err)
	make := func(name string) chain.Ino {
		at, err := p.Create(chain.Req{}, chain.RootIno, name, 0o644)
		must(t, err)
		vol, err := p.Volume(at.Ino)
		must(t, err)
		for region := range int64(4) {
			for i := range int64(8) { // holes between, so no region is one run
				_, err := vol.WriteAt(pattern(blockSize, byte(i)), region*coldRegion+i*2*blockSize)
				must(t, err)
			}
		}
		return at.Ino
	}
	a, b = make("a"), make("b")
	must(t, p.Close())
	return newWire(t, openPool(t, d), nil, nil), d, a, b
}

// of makes the requests that follow those of a file.
func (w *wire) of(ino chain.Ino) *wire { w.ino = ino; return w }

// goesOn asks the loop, while something stalls, for what is in memory and for blocks that the device gives.
func goesOn(t *testing.T, w *wire, vols ...chain.Ino) {
	t.Helper()
	for range 20 {
		for _, ino := range vols {
			w.of(ino).shows(0, pattern(blockSize, 0))
			w.shows(blockSize, make([]byte, blockSize))
			if e, _ := w.call(w.request(codeGetAttr, make([]byte, 16))); e != 0 {
				t.Errorf("getattr: %v", e)
			}
		}
		if e, _ := w.of(chain.RootIno).call(w.request(codeLookup, []byte("v\x00"))); e != 0 {
			t.Errorf("lookup: %v", e)
		}
		if e, _ := w.call(w.request(codeStatFS)); e != 0 {
			t.Errorf("statfs: %v", e)
		}
	}
	must(t, w.l.alive(t.Context()))
}

// TestLoopServesWhileOneStalls: a request that waits for whatever, and for as long, keeps none from being served that needs
// nothing of that, of its own volume or another.
func TestLoopServesWhileOneStalls(t *testing.T) {
	for _, c := range []struct {
		what    string
		request func(w *wire, a chain.Ino) []byte
		stalls  devtest.OpKind // at an operation of this kind, elsewhere than at the blocks that goesOn reads
	}{
		{"a page of the map, for a read", func(w *wire, a chain.Ino) []byte {
			return w.of(a).transfer(codeRead, coldRegion, blockSize, 0, nil)
		}, devtest.OpRead},
		{"a page of the map, for a write", func(w *wire, a chain.Ino) []byte {
			return w.of(a).transfer(codeWrite, 2*coldRegion, blockSize, 0, pattern(blockSize, 9))
		}, devtest.OpRead},
		{"a page of the map, for a merging write", func(w *wire, a chain.Ino) []byte {
			return w.of(a).transfer(codeWrite, 3*coldRegion+100, 100, 0, pattern(100, 9))
		}, devtest.OpRead},
		{"data of a read", func(w *wire, a chain.Ino) []byte {
			return w.of(a).transfer(codeRead, 2*blockSize, blockSize, 0, nil)
		}, devtest.OpRead},
		{"data of a write", func(w *wire, a chain.Ino) []byte {
			return w.of(a).transfer(codeWrite, 2*blockSize, blockSize, 0, pattern(blockSize, 9))
		}, devtest.OpWrite},
		{"a write that must be durable", func(w *wire, a chain.Ino) []byte {
			return w.of(a).transfer(codeWrite, 20*blockSize, blockSize, unix.O_DSYNC, pattern(blockSize, 9))
		}, devtest.OpSync},
		{"a flush", func(w *wire, a chain.Ino) []byte {
			return w.of(a).request(codeFsync, make([]byte, 16))
		}, devtest.OpSync},
	} {
		t.Run(c.what, func(t *testing.T) {
			w, d, a, b := coldLoop(t)
			goesOn(t, w, a, b) // from now on it is in memory
			known := map[int64]bool{}
			d.Fail(func(o devtest.Op) error { known[o.Off] = o.Kind == devtest.OpRead; return nil })
			goesOn(t, w, a, b)
			d.Fail(nil)
			stalled := make(chan struct{}, 64)
			release := d.Hold(func(o devtest.Op) bool {
				held := o.Kind == c.stalls && (o.Kind != devtest.OpRead || !known[o.Off])
				if held {
					select {
					case stalled <- struct{}{}:
					default:
					}
				}
				return held
			})
			defer release()
			in := c.request(w, a)
			w.send(in)
			select {
			case <-stalled:
			case <-time.After(patience):
				t.Fatal("it waits for nothing")
			}
			goesOn(t, w, a, b)
			release()
			if unique, e, _ := w.answer(); unique != headerOf(in).Unique || e != 0 {
				t.Errorf("answer to %d, want %d: %v", unique, headerOf(in).Unique, e)
			}
		})
	}
}

// A write that waits until something is erased keeps nobody from being served.
func TestLoopServesWhileThePoolIsFull(t *testing.T) {
	d := devtest.New(poolBytes, 512)
	must(t, chain.Create(d, chain.Format{Name: "test", Zeroed: true, Now: time.Now}))
	p := openPool(t, d)
	w := newWire(t, p, nil, nil)
	for off := int64(0); ; off += maxWrite {
		if e := w.write(off, pattern(maxWrite, 0), 0); e != 0 {
			if e != unix.ENOSPC {
				t.Fatal(e)
			}
			break
		}
	}
	came := make(chan struct{}, 64)
	release := d.Hold(func(o devtest.Op) bool { // the eraser; who wants something erased at once waits for it
		if o.Kind == devtest.OpZero {
			select {
			case came <- struct{}{}:
			default:
			}
		}
		return o.Kind == devtest.OpZero
	})
	defer release()
	vol, err := p.Volume(w.ino)
	must(t, err)
	must(t, vol.Punch(32<<20, 8<<20))
	<-came
	in := w.transfer(codeWrite, 32<<20, maxWrite, 0, pattern(maxWrite, 9))
	w.send(in)
	for range 20 {
		w.shows(blockSize, pattern(maxWrite, 0)[blockSize:2*blockSize])
		w.shows(36<<20, make([]byte, blockSize))
	}
	must(t, w.l.alive(t.Context()))
	release()
	if unique, e, _ := w.answer(); unique != headerOf(in).Unique || e != 0 {
		t.Errorf("answer to %d, want %d: %v", unique, headerOf(in).Unique, e)
	}
	w.shows(32<<20, pattern(maxWrite, 9))
}

// nothingNow can tell nothing at once.
type nothingNow struct{ names }

func (nothingNow) Lookup(chain.Ino, string) (chain.Attr, error) {
	return chain.Attr{}, chain.ErrNotNow
}
func (nothingNow) GetAttr(chain.Ino) (chain.Attr, error)   { return chain.Attr{}, chain.ErrNotNow }
func (nothingNow) Volume(chain.Ino) (*chain.Volume, error) { return nil, chain.ErrNotNow }

// What the loop can't tell at once is served all the same, by others.
func TestLoopLeavesToOthersWhatIsNotInMemory(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	a, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
	must(t, err)
	f := New(p, nil)
	l := oneLoop(t, f, 1)
	l.now = nothingNow{}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	l.port = pair[0]
	w := &wire{t: t, l: l, fd: pair[1], ino: a.Ino, buf: make([]byte, 2<<20)}
	data := pattern(blockSize, 1)
	asLoop(func() {
		for _, in := range [][]byte{
			w.transfer(codeWrite, 0, blockSize, 0, data),
			w.transfer(codeRead, 0, blockSize, 0, nil),
			w.request(codeGetAttr, make([]byte, 16)),
			w.of(chain.RootIno).request(codeLookup, []byte("v\x00")),
		} {
			s := l.free[0]
			l.free = l.free[:0]
			l.dispatch(s, copy(s.in, in))
			unique, e, body := w.answer()
			if unique != headerOf(in).Unique || e != 0 || len(body) == 0 {
				t.Errorf("opcode %d: %v, %d bytes", headerOf(in).Opcode, e, len(body))
			}
			if headerOf(in).Opcode == codeRead && !bytes.Equal(body, data) {
				t.Error("read: other bytes")
			}
			for len(l.free) == 0 {
				l.deliver()
			}
		}
	})
}
