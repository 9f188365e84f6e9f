package chain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/fault"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

func newPool(dev blockdev.Device, o Options, s super.Block, slot int) *Pool {
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	g := s.Geometry
	store := meta.NewStore(dev, g.Blocks, o.CacheBytes)
	p := &Pool{
		dev: dev, opt: o, log: log, name: s.Name, uuid: s.UUID, super: s, slot: slot, format: g, store: store,
		maps:   &meta.Maps{Store: store},
		lists:  &meta.Family{Store: store, Kind: 'L', Weight: weighEntry},
		groups: &meta.Family{Store: store, Kind: 'G'},
		cat:    catalog.Table{Family: &meta.Family{Store: store, Kind: 'C', Sensitive: true}, Tree: s.Catalog},
		blocks: alloc.New(g.GroupBlocks, g.Blocks),
		layers: map[LayerID]*layer{}, byVol: map[Ino][]*layer{}, heads: map[Ino]*layer{}, snaps: newSnapIndex(), vols: map[Ino]*Volume{},
		jobs: map[uint64]*job{}, volJobs: map[Ino]*job{}, walks: map[uint64]*walk{},
		sick: map[*job]struct{}{}, handouts: map[blockdev.Token]*handout{},
		dirtyLayers: map[*layer]struct{}{}, nameless: map[*layer]struct{}{}, epochs: epochs{now: 1}, parts: map[meta.Key]int{}, singles: map[catalog.Kind][]byte{},
		groupTable: s.GroupTable, groupPtrs: make([]meta.Ptr, (g.Blocks+int64(g.GroupBlocks)-1)/int64(g.GroupBlocks)),
		nextLayer: s.LastLayer, nextJob: s.LastJob, nextIno: Ino(s.LastIno),
		wake: make(chan struct{}, 1), ready: make(chan struct{}, 1), zeroNow: o.ZeroNow,
	}
	p.owner, p.takeCheckpoint, p.onFail, p.giveUpOne = p, p.checkpointInTurn, p.wakeWaiting, p.sacrifice
	p.accounts = treeAccounts{p}
	orderLocks(p.lockOrder(), &p.mu)
	p.damages, p.shunned = map[string]bool{}, map[int]*backoff{}
	p.chores, p.troubles, p.failing = p.newChores(), map[*backoff]string{}, map[*walk]struct{}{}
	p.today, p.doomed = map[Ino]EraseRecord{}, map[uint64]*doomed{}
	p.going = map[Ino]*backoff{}
	p.doomedVols, p.doomedLayers = map[Ino]uint64{}, map[LayerID]uint64{}
	store.Refill, store.ReadOnly = p.refill, o.ReadOnly
	store.OnRepair = func(b alloc.BlockID) {
		log.Warn("a damaged metadata page was repaired from its twin", "pool", s.Name, "block", b)
	}
	return p
}

func (p *Pool) journalConfig() journal.Config {
	g := p.format
	return journal.Config{Dev: p.dev, Off: g.RingOff, Size: g.Ring, Unit: g.Unit, Salt: p.super.Salt()}
}

// Open opens the pool on dev: superblock, catalog rows of layers and jobs, group table, journal. It reads no map page
// and scans nothing. After a crash, what was claimed and not mapped becomes the job `recovery`.
//
// Errors: ErrNotPool, ErrVersion, ErrFeature, ErrCorrupt (with the place), or the device's.
func Open(dev blockdev.Device, o Options) (*Pool, error) {
	s, slot, err := super.Read(dev)
	if err != nil {
		return nil, wrapCorrupt(err)
	}
	if s.Size() > dev.Size() {
		return nil, fmt.Errorf("pool %s has %d bytes, its device %d: %w", s.Name, s.Size(), dev.Size(), ErrCorrupt)
	}
	if unknown := s.UnknownReadOnly(); unknown != 0 && !o.ReadOnly {
		return nil, fmt.Errorf("pool %s can only be opened read-only, features %#x: %w", s.Name, unknown, ErrFeature)
	}
	if err := o.mayHold(&s); err != nil {
		return nil, err
	}
	p := newPool(dev, o, s, slot)
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.Name, wrapCorrupt(err))
	}
	if err := p.replay(); err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.Name, wrapCorrupt(err))
	}
	if p.ledger, err = p.buildLedger(); err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.Name, err)
	}
	p.placeSnaps()
	p.ledger.Seal(invariants)
	p.settleFalls()
	if o.ReadOnly {
		return p, nil
	}
	p.store.Distrust()
	p.prepareOwn()
	if o.Host != nil {
		if err := p.setHost(*o.Host); err != nil {
			return nil, fmt.Errorf("pool %s: %w", s.Name, err)
		}
	}
	if err := p.recover(); err != nil {
		return nil, fmt.Errorf("pool %s: %w", s.Name, err)
	}
	return p, nil
}

// wrapCorrupt makes the sentinels of the packages below this one's. What is corrupt is one object's fault, unless it made
// the pool fail.
func wrapCorrupt(err error) error {
	if fault.Of(err) == fault.Pool {
		return err
	}
	for _, e := range []error{
		codec.ErrCorrupt, super.ErrCorrupt, meta.ErrCorrupt, journal.ErrCorrupt, alloc.ErrCorrupt, alloc.ErrState, alloc.ErrRange, alloc.ErrNamed,
	} {
		if errors.Is(err, e) {
			return fault.Mark(fault.Object, asCorrupt{err})
		}
	}
	return err
}

// asCorrupt is an error of a package below that is this one's as well. It says that something is corrupt, once.
type asCorrupt struct{ error }

func (e asCorrupt) Unwrap() []error { return []error{ErrCorrupt, e.error} }

func (e asCorrupt) Error() string {
	if text := e.error.Error(); strings.Contains(text, ErrCorrupt.Error()) {
		return text
	}
	return ErrCorrupt.Error() + ": " + e.error.Error()
}

func (p *Pool) load() error {
	if err := p.store.LoadMap(p.super.StoreRoot); err != nil {
		return fmt.Errorf("metadata store: %w", err)
	}
	for _, r := range p.store.Extents() {
		if int64(r.Start) < super.Slots+p.format.Ring/BlockSize {
			return fmt.Errorf("metadata store: extent %d+%d over superblocks or journal: %w", r.Start, r.Len, ErrCorrupt)
		}
	}
	if err := p.loadTable(); err != nil {
		return fmt.Errorf("group table: %w", err)
	}
	parents := map[LayerID]LayerID{}
	err := p.eachRow(catalog.Layer, func(id uint64, v []byte) (err error) {
		parents[LayerID(id)], err = p.loadLayer(LayerID(id), v)
		return err
	})
	if err == nil {
		err = p.link(parents)
	}
	for _, k := range []struct {
		kind catalog.Kind
		load func(uint64, []byte) error
	}{
		{catalog.Job, p.loadJob},
		{catalog.Walk, p.loadWalk},
		{catalog.Drop, func(_ uint64, v []byte) error {
			d := codec.Decoder{B: v}
			p.drops = d.Trees()
			return wrapCorrupt(d.Done())
		}},
		{catalog.Window, p.loadWindow},
		{catalog.Answer, func(_ uint64, v []byte) error { return p.answers.unmarshal(v) }},
	} {
		if err == nil {
			err = p.eachRow(k.kind, k.load)
		}
	}
	if err == nil {
		err = p.loadLogCount()
	}
	if err == nil {
		err = p.cat.Each(catalog.Doomed, p.noteDoomed)
	}
	return err
}

func (p *Pool) loadWindow(_ uint64, v []byte) error {
	d := codec.Decoder{B: v}
	for _, r := range d.Runs() {
		if err := p.blocks.Restore(r); err != nil {
			return err
		}
	}
	return wrapCorrupt(d.Done())
}

func (p *Pool) eachRow(kind catalog.Kind, load func(uint64, []byte) error) error {
	return p.cat.Rows(kind, func(n uint64, v []byte, parts int) error {
		p.parts[catalog.Key(kind, n)] = parts
		return load(n, v)
	})
}

func (p *Pool) loadTable() error {
	cur := p.groups.Seek(p.groupTable, meta.Key{})
	for {
		k, v, ok, err := cur.Next()
		if err != nil || !ok {
			return err
		}
		var r groupRow
		if err := r.unmarshal(v); err != nil {
			return fmt.Errorf("row %d: %w", k.Hi, err)
		}
		if k.Hi >= uint64(len(p.groupPtrs)) || r.n != 1 {
			return fmt.Errorf("row %d of %d groups in a pool of %d: %w", k.Hi, r.n, len(p.groupPtrs), ErrCorrupt)
		}
		if err := p.blocks.SetGroup(int(k.Hi), r.counts, r.ptr.IsNil(), r.state); err != nil {
			return err
		}
		p.groupPtrs[k.Hi] = r.ptr
	}
}

// link connects layers with their parents, and finds heads. It goes in the order of their making, as they were listed
// when they were made: a destroy takes the layers of a volume in that order and numbers walks by it, so that replay
// must find the same.
func (p *Pool) link(parents map[LayerID]LayerID) error {
	for _, id := range slices.Sorted(maps.Keys(p.layers)) {
		l := p.layers[id]
		if n := parents[id]; n != 0 {
			if l.parent = p.layers[n]; l.parent == nil || l.parent.head || l.parent.dead || l.dead {
				return fmt.Errorf("layer %v: parent %v: %w", id, n, ErrCorrupt)
			}
			l.depth = l.parent.depth
			l.parent.children = append(l.parent.children, l)
		}
		l.depth++
		if l.dead {
			p.deadN++
			p.freeing += l.own
			continue
		}
		p.byVol[l.vol] = append(p.byVol[l.vol], l)
		if l.nameless() || l.kept {
			p.nameless[l] = struct{}{}
		}
		if l.named {
			p.snaps.add(l, snapHome{})
		}
		if l.head {
			if p.heads[l.vol] != nil {
				return fmt.Errorf("volume %d has two heads, %v and %v: %w", l.vol, id, p.heads[l.vol].id, ErrCorrupt)
			}
			p.heads[l.vol] = l
		}
	}
	return nil
}

func (p *Pool) replay() error {
	j, err := journal.Open(p.journalConfig(), p.super.At, func(b journal.Batch) error {
		if b.Gen > p.super.Generation {
			return fmt.Errorf("journal batch %d follows superblock %d, the newest that can be read is %d: %w",
				b.Seq, b.Gen, p.super.Generation, ErrCorrupt)
		}
		return decodeRecords(b.Payload, func(r record) error {
			p.lsn++
			if err := p.owner.prepareRecord(r); err != nil {
				return err
			}
			return p.owner.applyRecord(r)
		})
	})
	if err != nil {
		return err
	}
	p.journal = j
	p.durable = p.lsn
	for _, l := range p.layers {
		l.fence, l.fenceLSN, l.fenceEpoch, l.sizeLSN = 0, 0, 0, 0
	}
	return p.settleGroups()
}

func (p *Pool) abandonClaims() ([]alloc.Run, error) {
	for {
		runs, err := p.blocks.Abandon()
		var u *alloc.UnloadedError
		if !errors.As(err, &u) {
			return runs, err
		}
		if err := p.loadGroup(u.Group); err != nil {
			return nil, err
		}
	}
}

// recover ends what the last process left: claims that it had, snapshots and files that it held open.
func (p *Pool) recover() error {
	err := p.changeIn(credit{bytes: 32, frees: true}, func(now time.Time) error {
		if p.blocks.Counts().Claimed == 0 {
			return nil
		}
		return p.do(&recRecover{now})
	})
	if err == nil {
		err = p.destroyOrphans()
	}
	if err == nil {
		err = p.reapAll()
	}
	if errors.Is(err, ErrNoSpace) { // what nobody uses any more stays: a full pool opens, so that something can be deleted
		p.log.Warn("what the last mount left is not taken away: there is no space for it", "pool", p.name, "error", err)
		err = nil
	}
	if err != nil {
		return err
	}
	return p.Flush()
}

// Close takes a last checkpoint with nothing claimed and makes the pool unusable. It does not close the device. All
// plans must be closed.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	if p.opt.ReadOnly || p.failed != nil {
		err := p.failed
		p.closed = true
		p.mu.Unlock()
		p.journal.Close()
		return err
	}
	p.mu.Unlock()
	err := p.unclaim()
	if err == nil {
		err = p.leave()
	}
	for range super.Slots { // the second one has nothing to write, and overwrites the names that the first one freed
		if err == nil {
			err = p.Checkpoint()
		}
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.journal.Close()
	return err
}

// unclaim gives back what is claimed and was never named, if that is all that is claimed.
func (p *Pool) unclaim() error {
	p.claimMu.Lock() // nobody claims more
	defer p.claimMu.Unlock()
	p.mu.Lock()
	n := int64(len(p.blocks.Unnamed()))
	p.mu.Unlock()
	r, err := p.getRoom(context.Background(), credit{bytes: 16 + 16*n, frees: true})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.within(r)()
	if runs := p.blocks.Unnamed(); len(runs) > 0 && p.blocks.WindowReady() == runBlocks(runs) && int64(len(runs)) <= n {
		return p.do(&recUnclaim{runs})
	}
	return nil
}

func runBlocks(rs []alloc.Run) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}
