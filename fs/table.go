package fs

import (
	"sync"
	"sync/atomic"
	"syscall"

	"slatefs/chain"
	"slatefs/chain/fault"
	"slatefs/fs/park"
)

// lookups counts how often the kernel was told of an inode. After a takeover the counts are lower than the kernel's,
// never higher.
type lookups struct {
	inherited bool // there are some that this process has not counted; set before anything is served

	mu sync.Mutex
	n  map[chain.Ino]uint64
}

func (l *lookups) init() { l.n = make(map[chain.Ino]uint64) }

// add counts one more.
func (l *lookups) add(ino chain.Ino) {
	l.mu.Lock()
	l.n[ino]++
	l.mu.Unlock()
}

// drop takes n back and tells whether none is left.
func (l *lookups) drop(ino chain.Ino, n uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n[ino] > n {
		l.n[ino] -= n
		return false
	}
	delete(l.n, ino)
	return true
}

// perhaps tells whether the kernel may know an inode: it does if this process has told, or one before it may have.
func (l *lookups) perhaps(ino chain.Ino) bool { return l.inherited || l.known(ino) }

// known tells whether any is left.
func (l *lookups) known(ino chain.Ino) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n[ino] > 0
}

// takeAll empties the table.
func (l *lookups) takeAll() []chain.Ino {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]chain.Ino, 0, len(l.n))
	for ino := range l.n {
		all = append(all, ino)
	}
	clear(l.n)
	return all
}

// source is what can be read: a volume or a snapshot.
type source interface {
	PlanRead(pl *chain.Plan, off, n int64) (chain.Need, error)
	ReadAt(b []byte, off int64) (int, error)
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)
}

// openFile is a volume or snapshot that is open.
type openFile struct {
	node       uint64
	data       source
	vol        *chain.Volume // nil for a snapshot
	count      *volumeMeter  // as vol; nil too for one that was not open in this process
	immutable  atomic.Bool
	privileged atomic.Bool // its mode has bits that writers take away (priv.go), or may get some just now
	readers    int         // guarded by files.mu
	writers    int         // guarded by files.mu
}

// files holds what is open, by node, so that a request finds its volume with one look.
type files struct {
	flagMu sync.Mutex // held while an immutable flag or a mode is read or set together with its copy in openFile

	mu       sync.RWMutex
	memory   *park.Memory // what outlives the process; nil: nobody keeps it. Set before anything is served
	m        map[uint64]*openFile
	opens    int           // opens in all, also those that are still being made
	draining int           // who wants no more opens
	drained  chan struct{} // closed when draining and opens is 0; made anew when a drain is called off after that
}

func (t *files) init() {
	t.m = make(map[uint64]*openFile)
	t.drained = make(chan struct{})
}

// begin counts an open that will be made; false: the mount is draining.
func (t *files) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining > 0 {
		return false
	}
	t.opens++
	return true
}

// end takes back one open: one that was closed, or that came to nothing after begin.
func (t *files) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.opens--
	t.wakeLocked()
}

// add makes an open known that was begun for a request. o is used if node was not open before. ENFILE: it is one too many.
func (t *files) add(request uint64, o *openFile, write bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.m[o.node]; old != nil {
		o = old
	}
	readers, writers := o.readers, o.writers
	if write {
		writers++
	} else {
		readers++
	}
	if !t.memory.Set(request, o.node, readers, writers) {
		return syscall.ENFILE
	}
	o.readers, o.writers, t.m[o.node] = readers, writers, o
	return nil
}

// remove ends an open for a request and tells whether there was one: after a takeover there may be none.
func (t *files) remove(request, node uint64, write bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.m[node]
	if o == nil {
		return false
	}
	count := &o.readers
	if write {
		count = &o.writers
	}
	if *count == 0 {
		return false
	}
	*count--
	t.memory.Set(request, node, o.readers, o.writers)
	if o.readers+o.writers == 0 {
		delete(t.m, node)
	}
	t.opens--
	t.wakeLocked()
	return true
}

// get finds an open node.
func (t *files) get(node uint64) *openFile {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.m[node]
}

// drain stops opens, or takes one stop back, and returns how many files are open.
func (t *files) drain(on bool) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if on {
		t.draining++
	} else if t.draining--; t.draining < 0 {
		fault.Misuse("each drain is taken back once")
	}
	select {
	case <-t.drained:
		if t.draining == 0 {
			t.drained = make(chan struct{})
		}
	default:
	}
	t.wakeLocked()
	return t.opens
}

// count tells how many files are open.
func (t *files) count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.opens
}

// done is closed when a drain has seen the last close.
func (t *files) done() <-chan struct{} {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.drained
}

// takeAll empties the table.
func (t *files) takeAll() []*openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*openFile, 0, len(t.m))
	for _, o := range t.m {
		all = append(all, o)
		t.opens -= o.readers + o.writers
	}
	clear(t.m)
	t.wakeLocked()
	return all
}

// wakeLocked closes drained when a drain has come to its end.
func (t *files) wakeLocked() {
	if t.draining == 0 || t.opens > 0 {
		return
	}
	select {
	case <-t.drained:
	default:
		close(t.drained)
	}
}
