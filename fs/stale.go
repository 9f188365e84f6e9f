package fs

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"slatefs/chain"
)

// A name that is replaced is there at every moment, also for who has looked it up and comes with the node of what it
// named before. The kernel helps once: to ESTALE it looks the whole path up again. What is done here beside it:
//
//   - A directory or symlink that was removed is remembered until the kernel forgets it (remains): it has no content
//     any more but a target, so all that can be asked by its node is answered, as if it had been asked before.
//   - A volume is content, which goes with its name. Who is told ESTALE gets a lease on every volume that he finds by
//     the second look: it counts as one that is open, and the request that follows meets it, replaced or not.

// leaseTime bounds how long a lease outlasts the request that it is for, which nothing tells apart from others.
const leaseTime = time.Second

// retries knows who was told ESTALE a moment ago, by thread, and what is leased since.
type retries struct {
	told atomic.Int32 // entries of who, for a look without the lock

	mu     sync.Mutex
	who    map[uint32]*time.Timer // guarded by mu; each removes itself
	leases map[chain.Ino]*lease   // guarded by mu
	ending sync.WaitGroup         // leases that are out of the map and not given back
}

func (r *retries) init() {
	r.who, r.leases = make(map[uint32]*time.Timer), make(map[chain.Ino]*lease)
}

// tell notes that a thread was told ESTALE.
func (r *retries) tell(tid uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.who[tid]; t != nil {
		t.Reset(leaseTime)
		return
	}
	r.told.Add(1)
	r.who[tid] = time.AfterFunc(leaseTime, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.who, tid)
		r.told.Add(-1)
	})
}

// looksAgain tells whether a thread was told ESTALE a moment ago.
func (r *retries) looksAgain(tid uint32) bool {
	if r.told.Load() == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.who[tid] != nil
}

// lease is the time that a volume is kept as one that is open.
type lease struct{ timer *time.Timer }

// lease keeps a volume as one that is open. It fails with chain.ErrGone if it is no more.
func (f *FS) lease(ino chain.Ino) error {
	r := &f.retries
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.leases[ino]; old != nil {
		old.timer.Stop() // a timer that runs already ends only its own lease, and this is another
	} else if err := f.pool.OpenFile(ino, false); err != nil {
		return err
	}
	l := &lease{}
	l.timer = time.AfterFunc(leaseTime, func() { f.endLease(ino, l) })
	r.leases[ino] = l
	return nil
}

// endLease gives the lease of a volume back, or that one only. The last user of what was unlinked meanwhile ends it.
func (f *FS) endLease(ino chain.Ino, only *lease) {
	r := &f.retries
	r.mu.Lock()
	l := r.leases[ino]
	if l == nil || only != nil && l != only {
		r.mu.Unlock()
		return
	}
	delete(r.leases, ino)
	r.ending.Add(1)
	r.mu.Unlock()
	defer r.ending.Done()
	l.timer.Stop()
	f.releaseNode(uint64(ino), false)
}

// endLeases ends all of them. There are no more requests.
func (f *FS) endLeases() {
	r := &f.retries
	r.mu.Lock()
	all := slices.Collect(maps.Keys(r.leases))
	r.mu.Unlock()
	for _, ino := range all {
		f.endLease(ino, nil)
	}
	r.ending.Wait()
}

// findAgain is find for who looks a path up for the second time: what he finds stays until he has used it.
func (f *FS) findAgain(dir uint64, name string) (uint64, chain.Attr, error) {
	for {
		node, a, err := f.find(f.pool, dir, name)
		kind, num := split(node)
		if err != nil || kind != plain || a.Type != chain.TypeFile || f.lease(chain.Ino(num)) == nil {
			return node, a, err
		}
		// It was replaced between the two looks.
	}
}

// remains are the directories and symlinks that were removed and that the kernel has not forgotten.
type remains struct {
	mu sync.Mutex
	m  map[chain.Ino]remain // guarded by mu
}

// remain is what is left of one.
type remain struct {
	attr   chain.Attr
	target string // of a symlink
}

func (r *remains) init() { r.m = make(map[chain.Ino]remain) }

func (r *remains) get(ino chain.Ino) (remain, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.m[ino]
	return d, ok
}

func (r *remains) drop(ino chain.Ino) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, ino)
}

// change sets attributes of what is removed; nobody else will see them. False: it is not known.
func (r *remains) change(ino chain.Ino, s chain.SetAttr) (chain.Attr, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.m[ino]
	if !ok {
		return chain.Attr{}, false
	}
	for _, f := range []struct{ from, to *uint32 }{{s.Mode, &d.attr.Mode}, {s.UID, &d.attr.UID}, {s.GID, &d.attr.GID}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if s.Mtime != nil {
		d.attr.Mtime = *s.Mtime
	}
	if s.Atime != nil {
		d.attr.Atime = *s.Atime
	}
	r.m[ino] = d
	return d.attr, true
}

// removing remembers what is about to lose its name: before it does, so that no request comes between. What comes of it
// is called with the outcome. Volumes are not remembered.
func (f *FS) removing(a chain.Attr) (outcome func(error)) {
	if a.Ino == 0 || a.Type == chain.TypeFile || !f.lookups.perhaps(a.Ino) {
		return func(error) {}
	}
	d := remain{attr: a}
	if a.Type == chain.TypeSymlink {
		var err error
		if d.target, err = f.pool.Readlink(a.Ino); err != nil {
			return func(error) {}
		}
	}
	d.attr.Nlink, d.attr.Parent, d.attr.Name = 0, 0, ""
	f.remains.mu.Lock()
	f.remains.m[a.Ino] = d
	f.remains.mu.Unlock()
	return func(err error) {
		if err != nil || !f.lookups.perhaps(a.Ino) {
			f.remains.drop(a.Ino)
		}
	}
}
