package fs

import (
	"sync"
	"time"

	"slatefs/chain"
)

// The kernel may keep what is in a .snap: snapshots do not change, and their names change by commands and by what is done to
// the volume, which chain tells at that moment (chain.SnapChange). What is told is passed on to the kernel, which then asks
// again.
//
// chain tells it with the plan lock held, and often from inside a request of which the kernel holds a directory, so a
// goroutine of its own passes it on. The kernel takes a name away when no lookup in its directory is under way, so none that
// was answered before brings it back. Only who asks again whether a name that it knows is still right has nothing to hold: if
// the name goes in that moment, it is known until snapTTL is over.

// snapTTL is how long the kernel may believe names in .snap, and the attributes of snapshots, unless it is told otherwise.
const snapTTL = time.Minute

// maxSnapNews bounds the names that wait to be taken away. Where more go at once the whole .snap of the directory does.
const maxSnapNews = 4096

// snapNews are the changes of names in .snap that the kernel has not been told.
type snapNews struct {
	mu    sync.Mutex             // a leaf: taken under chain's plan lock
	known map[chain.Ino]struct{} // directories of whose .snap the kernel was told a name; guarded by mu
	until time.Time              // it may believe what another process told it of any directory; guarded by mu
	list  []chain.SnapChange     // guarded by mu
	whole map[chain.Ino]struct{} // directories whose .snap goes whole; guarded by mu
	wake  chan struct{}
}

func (n *snapNews) init() {
	n.known, n.whole = make(map[chain.Ino]struct{}), make(map[chain.Ino]struct{})
	n.wake = make(chan struct{}, 1)
}

// given notes that the kernel is told a name in the .snap of a directory: before it is looked up, so that no change of it is
// missed.
func (n *snapNews) given(dir chain.Ino) {
	n.mu.Lock()
	n.known[dir] = struct{}{}
	n.mu.Unlock()
}

// inherit notes that another process may have told the kernel any name: that is forgotten when snapTTL is over.
func (n *snapNews) inherit() {
	n.mu.Lock()
	n.until = time.Now().Add(snapTTL) //nolint:forbidigo // the kernel's time, whatever clock the pool has
	n.mu.Unlock()
}

// tell takes a change in. It is called with the plan lock held.
func (n *snapNews) tell(c chain.SnapChange) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known := n.known[c.Dir]
	known = known || time.Now().Before(n.until) //nolint:forbidigo // the kernel's time, as above
	if c.Dir == 0 || !known {
		return
	}
	if n.list = append(n.list, c); len(n.list) > maxSnapNews {
		for _, c := range n.list {
			n.whole[c.Dir] = struct{}{}
		}
		n.list = nil
	}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take is all that waits.
func (n *snapNews) take() (list []chain.SnapChange, whole map[chain.Ino]struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list, whole = n.list, n.whole
	n.list, n.whole = nil, make(map[chain.Ino]struct{})
	return list, whole
}

// passSnapNews tells the kernel what changes in .snap, as snaps.tell was told it, until done is closed.
func (f *FS) passSnapNews(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-f.snaps.wake:
		}
		list, whole := f.snaps.take()
		dirs := whole
		for dir := range whole {
			f.dropName(uint64(dir), chain.SnapDir)
		}
		for _, c := range list {
			if dirs[c.Dir] = struct{}{}; c.Snap != "" {
				f.dropName(snapDirNode(c.Dir), c.File+"@"+c.Snap)
				continue
			}
			snaps, err := f.pool.Snapshots(c.Vol)
			if err != nil { // it went since, and its snapshots were told one by one
				continue
			}
			for _, s := range snaps {
				f.dropName(snapDirNode(c.Dir), c.File+"@"+s.Name)
			}
		}
		for dir := range dirs {
			if _, err := f.pool.SnapDirAttr(dir); err != nil { // it had its last one
				f.dropName(uint64(dir), chain.SnapDir)
			}
		}
	}
}

// dropName takes a name from the kernel. Where that fails it is known until snapTTL is over.
func (f *FS) dropName(dir uint64, name string) {
	n := f.notify.Load()
	if n == nil {
		return
	}
	if err := (*n).notifyName(dir, name); err != nil {
		f.log.Debug("fs: the kernel could not be told of a name", "name", name, "error", err)
	}
}
