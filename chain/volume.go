package chain

import (
	"fmt"
	"sync/atomic"
	"time"

	"slatefs/chain/ledger"
)

// openVolumes are the volumes in use, and makes plans for them: where the bytes of a read are, and where those of a write go.
type openVolumes struct {
	*core
	commits   *commitLog
	plans     *planTable
	blocks    *blockSpace
	destroyed *destroyedIndex
	names     *nameTable
	jobs      *jobQueue
	origins   *originTable
	tree      *layerTree
	space     *admission
	works     *works

	tallies int // mu: of all volumes, under way
}

// Volume is one virtual disk: a file, and the head of its chain. It is valid while its inode lives; one Volume stands
// for all who use it.
type Volume struct {
	p   *openVolumes
	ino Ino

	// own is taken last, by who shares the plan lock. What is marked with it may be changed by him, or by who has the plan lock alone.
	own  workLock
	lays atomic.Bool // the last write that was planned was not in place: the next one is likely not to be

	// guarded by the plan lock
	active    []*Plan  // own: writes that are planned and not ended, for the block locks and for settling
	waiting   []*Plan  // own: writes and fences that may not begin yet, in the order in which they came (blocklock.go)
	tallies   []*tally // counts of what is mapped that are under way (tally.go)
	rollbacks uint64   // a plan from before one leaves no trace
	beside    bool     // the size was changed by a command, and no append has shown yet that it is known (append.go)
	gone      bool
	policy    uint64 // nameTable.policies when the policy of its job was looked at
	readers   int    // opens by access mode
	writers   int
	mtime     time.Time       // own, unless it is zero: of the last write, if later than what set the row's; there at the next checkpoint
	account   *ledger.Account // in the ledger; stays when the volume is gone
	lastDev   uint64          // own: the last device block that was allocated
}

// Volume returns the volume of a file.
func (p *Pool) Volume(ino Ino) (*Volume, error) {
	return lookUp(p.commits, func() (*Volume, error) {
		return p.volumes.volume(ino)
	})
}

func (vs *openVolumes) volume(ino Ino) (*Volume, error) {
	if v := vs.plans.vols[ino]; v != nil {
		return v, nil
	}
	n, err := vs.names.inode(ino)
	if err == nil {
		err = vs.names.notGoing(ino)
	}
	if err != nil {
		return nil, err
	}
	if _, d := vs.destroyed.destroyedVolume(ino); d != nil {
		return nil, fmt.Errorf("%s: was destroyed: %w", d.path, ErrGone)
	}
	if n.typ != TypeFile || vs.tree.head(ino) == nil {
		return nil, fmt.Errorf("%s: not a volume: %w", vs.names.pathOf(ino), ErrInvalid)
	}
	v := &Volume{p: vs, ino: ino, account: vs.space.account(ino)}
	vs.plans.vols[ino] = v
	return v, nil
}

// Ino is the inode number of the volume.
func (v *Volume) Ino() Ino { return v.ino }

// Size is the size in bytes.
func (v *Volume) Size() int64 {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if h := v.head(); h != nil {
		return h.size
	}
	return 0
}

func (v *Volume) head() *layer { return v.p.tree.head(v.ino) }

// usable is the head, or why there is none to change.
func (v *Volume) usable() (*layer, error) {
	if err := v.p.writable(); err != nil {
		return nil, err
	}
	h := v.head()
	if v.gone || h == nil {
		return nil, fmt.Errorf("volume %d: %w", v.ino, ErrGone)
	}
	return h, nil
}

// Snap is a snapshot to be read.
type Snap struct {
	p *openVolumes
	l *layer
}

// Snap returns the snapshot with that layer number.
func (p *Pool) Snap(id LayerID) (*Snap, error) { return p.volumes.snap(id) }

func (vs *openVolumes) snap(id LayerID) (*Snap, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	l := vs.tree.layers[id]
	if l == nil || l.dead || l.head || !l.named && !l.kept {
		return nil, fmt.Errorf("snapshot %v: %w", id, ErrGone)
	}
	return &Snap{vs, l}, nil
}

// alive: the layer that the snapshot was is still there. OpenSnap keeps it.
func (s *Snap) alive() error {
	if s.l.dead || s.p.tree.layers[s.l.id] != s.l || !s.l.named && !s.l.kept {
		return fmt.Errorf("snapshot %v: %w", s.l.id, ErrGone)
	}
	return nil
}

// Size is the size in bytes.
func (s *Snap) Size() int64 { return s.l.size }

// jobs of a volume: what it overwrites and discards collects in one, made before the first record that frees.
// In a hold that reads nothing it fails with errMissed where the policy or the path is not in memory.
func (v *Volume) job() error {
	names, j := v.p.names, v.p.jobs.byVol[v.ino]
	same := j != nil && !j.followed()
	if same && v.policy != names.policies {
		same = j.none == names.unscheduled(v.ino) && j.within == names.within(v.ino)
		if v.p.commits.missed() {
			return errMissed
		}
	}
	if same {
		v.policy = v.p.names.policies
		return nil
	}
	v.p.commits.keepPages() // what the record looks up before it begins it looks up again
	return v.p.commits.do(&recJob{v.ino, v.p.opt.Now()})
}

// attr is what stat shows. The plan lock is held.
func (vs *openVolumes) attr(ino Ino, n *inode) Attr {
	vs.mu.assertHeld()
	a := Attr{
		Ino: ino, Type: n.typ, Mode: n.mode, UID: n.uid, GID: n.gid, Nlink: 1, Immutable: n.immutable,
		Mtime: n.mtime, Ctime: n.ctime, Btime: n.btime, Atime: n.btime, Parent: n.parent, Name: n.name,
	}
	if n.atimeSet {
		a.Atime = n.atime
	}
	switch n.typ {
	case TypeDir:
		a.Nlink, a.Size = uint32(2+n.dirs), int64(n.entries)
	case TypeSymlink:
		a.Size = n.link
	case TypeFile:
		if n.parent == 0 {
			a.Nlink = 0
		}
		h := vs.tree.head(ino)
		if h == nil {
			break
		}
		a.Size, a.Blocks = h.size, h.refer*BlockSize/512
		if n.kept {
			a.Blocks += max(0, blocksOf(h.size)-h.own) * BlockSize / 512
		}
		if v := vs.plans.vols[ino]; v != nil && !v.mtime.IsZero() {
			a.Mtime, a.Ctime = v.mtime, latest(a.Ctime, v.mtime)
		}
	}
	return a
}

// info is VolumeInfo without what a clone shows of its own; origin is the layer that it was cloned from, or 0. The
// plan lock is held.
func (vs *openVolumes) info(ino Ino) (i VolumeInfo, origin LayerID, err error) {
	vs.mu.assertHeld()
	v, err := vs.volume(ino)
	if err != nil {
		return VolumeInfo{}, 0, err
	}
	n, err := vs.names.inode(ino)
	if err != nil {
		return VolumeInfo{}, 0, err
	}
	h := v.head()
	i = VolumeInfo{
		Attr: vs.attr(ino, n), Space: vs.space.spaceOf(v.account, h.refer), Head: h.id,
		Written: h.own * BlockSize, Refer: h.refer * BlockSize, Created: n.btime, Snapshots: vs.tree.snaps.count(ino),
	}
	if l := vs.tree.byVol[ino][0].parent; l != nil {
		origin = l.id
		if i.Origin = vs.names.pathOf(l.vol); l.named {
			i.Origin += "@" + l.name
		}
	}
	return i, origin, nil
}

// holdSnap counts an open of a snapshot.
func (vs *openVolumes) holdSnap(id LayerID) (*layer, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	l := vs.tree.layers[id]
	if l == nil || l.head || l.dead || !l.named && !l.kept {
		return nil, fmt.Errorf("snapshot %v: %w", id, ErrGone)
	}
	l.held++
	vs.tree.noteOpen(l)
	vs.tree.uncount(l)
	return l, nil
}
