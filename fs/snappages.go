package fs

import (
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// Snapshots never change, so what is read of them may stay in the kernel's page cache, with its read-ahead: programs that read 4 KiB
// at a time ask for 128 KiB. An open with O_DIRECT goes past it, beside others. A node is a snapshot for ever, so no name, whatever
// it names later, brings old bytes back.
//
// The kernel gives the pages up when the snapshot is destroyed, and before that nothing of it is erased:
//
//   - chain tells that a snapshot has lost its name (chain.SnapWatch), and what is freed from then on waits until its pages are
//     given up.
//   - Who has it open reads on, and brings pages back. With his close they are given up once more, before the snapshot goes.
//   - After a takeover nobody knows which snapshots have pages: each that has no name gives them up, before anything is erased.
//   - Where the kernel can't be told, nothing is taken for given up: it is told again. What was freed is not erased meanwhile, and of a
//     close that can't tell it the snapshot is kept until the mount ends. Whatever is waited for is named (pagesheld.go).

// openFlags answer every open of a volume. There is nothing to do at close(2), so no FLUSH is sent.
const openFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES | fuse.FOPEN_NOFLUSH

// openFlagsOf are the answer to an open of a node, by the flags of the open. Without KEEP_CACHE an open of a snapshot, also a direct
// one, would have the kernel drop the pages of all.
func openFlagsOf(node uint64, flags uint32) uint32 {
	switch kind, _ := split(node); {
	case kind != snapFile:
		return openFlags
	case flags&unix.O_DIRECT != 0:
		return fuse.FOPEN_DIRECT_IO | fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	}
	return fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
}

// snapPages knows of which snapshots the kernel may have pages.
type snapPages struct {
	mu   sync.Mutex               // a leaf: taken under chain's plan lock
	any  bool                     // it may have some of any: another process served the mount before this one, and not all were passed yet
	of   map[chain.LayerID]uint64 // when it was added last
	n    uint64                   // how often something was
	gone []chain.SnapChange       // those of them that have lost their name, or have another, since take
	left int                      // how many are left of what was taken
	late time.Duration            // const: pagesLate
	wake chan struct{}
}

func (s *snapPages) init() {
	s.of = make(map[chain.LayerID]uint64)
	s.wake = make(chan struct{}, 1)
	s.late = pagesLate
}

// add notes that the kernel may have pages of a snapshot: before it can have any.
func (s *snapPages) add(id chain.LayerID) {
	s.mu.Lock()
	s.n++
	s.of[id] = s.n
	s.mu.Unlock()
}

// added is when a snapshot was added last; 0: it is not there.
func (s *snapPages) added(id chain.LayerID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[id]
}

// drop notes that the kernel is about to give up the pages of a snapshot, unless it was added again since then.
func (s *snapPages) drop(id chain.LayerID, since uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[id] == since {
		delete(s.of, id)
	}
}

// tell takes in that a snapshot has lost its name; later: it has pages to give up. It is called with the plan lock held.
func (s *snapPages) tell(c chain.SnapChange) (later bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, has := s.of[c.Layer]; !has && !s.any {
		return false
	}
	s.gone = append(s.gone, c)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

func (s *snapPages) take() (gone []chain.SnapChange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone, s.gone = s.gone, nil
	s.left = len(gone)
	return gone
}

// next notes that the next one of what was taken is being looked at.
func (s *snapPages) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left--
}

// waiting is how many have lost their name and were not looked at yet.
func (s *snapPages) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left + len(s.gone)
}

// snapChanged is told by chain what becomes of snapshots, with the plan lock held.
func (f *FS) snapChanged(c chain.SnapChange) (later bool) {
	f.snaps.tell(c)
	return c.Layer != 0 && f.pages.tell(c)
}

// passSnapPages has the kernel give up pages of snapshots that were destroyed, until done is closed. It is beside passSnapNews: who
// waits for pages waits for reads of them that are under way.
func (f *FS) passSnapPages(w *chain.SnapWatch, done <-chan struct{}) {
	givenUp := w.Taken() // what waits since the takeover, if there was one
	if f.pages.any && !f.passAll(w, done) {
		return // what waits goes on to: another process may serve the mount
	}
	givenUp()
	for {
		select {
		case <-done:
			return
		case <-f.pages.wake:
		}
		givenUp := w.Taken()
		for _, c := range f.pages.take() {
			f.pages.next()
			if !f.givePagesUp(c, 0, done) {
				return // as above
			}
		}
		givenUp()
	}
}

// passAll has it give up those of all that have no name, and notes those that have one. false: done was closed.
func (f *FS) passAll(w *chain.SnapWatch, done <-chan struct{}) bool {
	for id := chain.LayerID(1); id <= w.Layers(); id++ {
		select {
		case <-done:
			return false
		default:
		}
		if !f.givePagesUp(chain.SnapChange{Layer: id}, 0, done) {
			return false
		}
	}
	f.pages.mu.Lock()
	defer f.pages.mu.Unlock()
	f.pages.any = false
	return true
}

// givePagesUp has the kernel give up the pages of a snapshot, unless it has a name still, or again: while it has one it stays
// among those of which there may be pages, since its destroy looks for it there. It returns false if the kernel could not be told, in
// so many tries (0: until stop is closed).
func (f *FS) givePagesUp(was chain.SnapChange, tries int, stop <-chan struct{}) bool {
	id := was.Layer
	since := f.pages.added(id)
	if f.named(id) {
		if since != 0 {
			return true
		}
		f.pages.add(id)
		if since = f.pages.added(id); f.named(id) { // else it went before the add, and nobody will tell
			return true
		}
	}
	f.pages.drop(id, since)
	n := f.notify.Load()
	return n == nil || f.giveUp(*n, was, tries == 0, tries, stop)
}

// named tells whether a snapshot is listed somewhere.
func (f *FS) named(id chain.LayerID) bool {
	_, _, _, err := f.pool.SnapPlace(id)
	return err == nil
}
