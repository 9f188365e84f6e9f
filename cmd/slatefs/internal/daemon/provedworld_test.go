package daemon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/erase"
)

// A proved world runs random operations on a tree of directories and volumes, and knows by itself what was where, whose it was, and what
// each erase job had. Each write is stamped sector by sector, so that the device itself says whose bytes are there.
type provedWorld struct {
	host  host.Host
	disk  *devtest.Disk
	pool  *chain.Pool
	s     *Service
	mu    sync.Mutex
	at    time.Time  // mu
	rng   *rand.Rand // of the operation that runs
	n     int
	root  *thing
	all   []*thing // but for the root
	snaps map[chain.LayerID]bool

	stamps []provedStamp
	jobs   map[uint64]map[sectorStamp]bool // what blocks of each job had when they were zeroed
	cut    int                             // the power is cut at so many operations of the device from a step's begin; 0: it is not
	below  map[sectorStamp]bool            // in what was only released: it lies below the device for good
	trace  []string
}

// thing is a directory or a volume that is or was.
type thing struct {
	ino  chain.Ino
	name string
	up   *thing // of what is gone: where it ended
	dir  bool
	uid  uint32
	gone bool
	kept bool   // gone, for now
	was  string // gone: the path that it ended with
}

// provedStamp is who made a write.
type provedStamp struct {
	vol   chain.Ino
	layer chain.LayerID
}

// sectorStamp is what stands in a sector: the number of the write, and of its sector in that.
type sectorStamp struct{ write, sector uint32 }

const (
	provedMagic  = 0x70726f7665642121
	provedSector = 512
	provedSize   = 128 << 10 // of a volume
	provedPool   = 4 << 20
)

// provedDisk is an empty pool.
func provedDisk(t *testing.T) *devtest.Disk {
	t.Helper()
	d := devtest.New(provedPool, provedSector)
	err := chain.Create(d, chain.Format{
		Name: "lab", UUID: uuid.UUID{9}, Zeroed: true, Now: time.Now, GroupBlocks: 256, ExtentBlocks: 16, RingBytes: 64 << 10, WindowBlocks: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newProvedWorld is one on a copy of a device. dir is where the host keeps its state.
func newProvedWorld(base *devtest.Disk, dir string) (*provedWorld, error) {
	w := &provedWorld{
		host: host.Host{State: filepath.Join(dir, "state"), Conf: filepath.Join(dir, "conf")},
		disk: base.Clone(), at: time.Unix(1_700_000_000, 0),
		root: &thing{ino: chain.RootIno, dir: true}, snaps: map[chain.LayerID]bool{},
		jobs: map[uint64]map[sectorStamp]bool{}, below: map[sectorStamp]bool{},
	}
	return w, w.open()
}

func (w *provedWorld) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(time.Millisecond)
	return w.at
}

// skip lets time pass.
func (w *provedWorld) skip(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// open opens the pool, and makes its service.
func (w *provedWorld) open() (err error) {
	if w.pool, err = chain.Open(w.disk, chain.Options{Properties: control.Served, Now: w.now, CacheBytes: 1 << 20}); err != nil {
		return err
	}
	w.pool.SetZeroNow(func(_ context.Context, n int64) (int64, error) { return w.erase(n, false) })
	eraser, err := erase.New(w.disk, Logged{Pool: w.pool}, erase.Config{Method: blockdev.Overwrite, Clock: erase.NewClock(w.now)})
	if err != nil {
		return err
	}
	own, err := ReadSettings(w.host, w.pool.UUID())
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	w.s = &Service{Pool: w.pool, Own: own, Eraser: eraser, View: noView{}, Log: log, Dir: "/lab", Now: w.now, Dev: w.disk}
	w.s.Signer = NewSigner(w.host, w.pool, own, log, w.now)
	w.s.Signer.send = nil
	return nil
}

// close checks the pool and closes it.
func (w *provedWorld) close() error {
	r, err := w.pool.Check(context.Background())
	if err == nil && len(r.Errors)+len(r.Leaks) > 0 {
		err = errors.New("check: " + strings.Join(append(r.Errors, r.Leaks...), "\n"))
	}
	return errors.Join(err, w.pool.Close())
}

func (w *provedWorld) note(format string, a ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, a...))
}

func (w *provedWorld) told() string { return strings.Join(w.trace, "\n") }

// path is where something is, or was last: of what is kept, where it would come back.
func (t *thing) path() string {
	if t.up == nil || t.gone && !t.kept {
		return t.was
	}
	return path.Join(t.up.path(), t.name)
}

// below tells whether something is, or ended, somewhere below a directory that is there.
func (t *thing) below(d *thing) bool {
	if t.gone && strings.HasPrefix(t.path(), d.path()+"/") {
		return true
	}
	for up := t.up; up != nil && !up.gone; up = up.up {
		if up == d {
			return true
		}
	}
	return false
}

// some are the things of a kind that are there.
func (w *provedWorld) some(dirs bool) (out []*thing) {
	for _, t := range w.all {
		if !t.gone && t.dir == dirs {
			out = append(out, t)
		}
	}
	return out
}

// pick is one of them; nil: there is none. Of directories the root is one.
func (w *provedWorld) pick(dirs bool) *thing {
	list := w.some(dirs)
	if dirs {
		list = append(list, w.root)
	}
	if len(list) == 0 {
		return nil
	}
	return list[w.rng.IntN(len(list))]
}

// add notes what was made.
func (w *provedWorld) add(a chain.Attr, name string, up *thing, dir bool) *thing {
	t := &thing{ino: a.Ino, name: name, up: up, dir: dir, uid: a.UID}
	w.all = append(w.all, t)
	return t
}

// ends notes that something is not there any more.
func (t *thing) ends(kept bool) { t.was, t.gone, t.kept = t.path(), true, kept && !t.dir }

// bytes are those of a write by the head of a volume.
func (w *provedWorld) bytes(t *thing, head chain.LayerID, n int64) []byte {
	id := len(w.stamps)
	w.stamps = append(w.stamps, provedStamp{t.ino, head})
	b := make([]byte, n)
	for i := 0; i < len(b); i += provedSector {
		binary.LittleEndian.PutUint64(b[i:], provedMagic)
		binary.LittleEndian.PutUint32(b[i+8:], uint32(id))
		binary.LittleEndian.PutUint32(b[i+12:], uint32(i/provedSector))
	}
	return b
}

// stampsIn finds the stamps in a part of the device.
func (w *provedWorld) stampsIn(off, n int64, found map[sectorStamp]bool) {
	b := w.disk.Peek(off, n)
	for i := 0; i < len(b); i += provedSector {
		if binary.LittleEndian.Uint64(b[i:]) == provedMagic {
			found[sectorStamp{binary.LittleEndian.Uint32(b[i+8:]), binary.LittleEndian.Uint32(b[i+12:])}] = true
		}
	}
}

// there are the stamps that are on the device, or below it.
func (w *provedWorld) there() map[sectorStamp]bool {
	found := maps.Clone(w.below)
	w.stampsIn(0, w.disk.Size(), found)
	return found
}

// goneNames are the paths that something ended with, each once.
func (w *provedWorld) goneNames() []string {
	names := map[string]bool{}
	for _, t := range w.all {
		if t.gone {
			names[t.path()] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
