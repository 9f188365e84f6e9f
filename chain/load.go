package chain

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/journal"
	"slatefs/chain/omap"
	"slatefs/chain/overlay"
	"slatefs/chain/super"
	"slatefs/chain/tail"
)

func (cp *checkpointer) journalConfig() journal.Config {
	g := cp.format
	return journal.Config{Dev: cp.dev, Off: g.RingOff, Size: g.Ring, Unit: g.Unit, Salt: cp.supers.super.Salt()}
}

func (cp *checkpointer) load() error {
	if err := cp.loadStore(); err != nil {
		return fmt.Errorf("metadata store: %w", err)
	}
	for _, r := range cp.blocks.store.Extents() {
		if int64(r.Start) < super.Slots+cp.format.Ring/BlockSize {
			return fmt.Errorf("metadata store: extent %d+%d over superblocks or journal: %w", r.Start, r.Len, ErrCorrupt)
		}
	}
	if cp.mends != nil {
		if err := cp.mends.catalog(); err != nil {
			return err
		}
	}
	if err := cp.loadTable(); err != nil {
		return fmt.Errorf("group table: %w", err)
	}
	parents := map[LayerID]LayerID{}
	err := cp.names.eachRow(catalog.Layer, func(id uint64, v []byte) (err error) {
		parents[LayerID(id)], err = cp.loadLayer(LayerID(id), v)
		return err
	})
	if err == nil {
		err = cp.link(parents)
	}
	for _, k := range []struct {
		kind catalog.Kind
		load func(uint64, []byte) error
	}{
		{catalog.Job, cp.loadJob},
		{catalog.Walk, cp.loadWalk},
		{catalog.Drop, func(_ uint64, v []byte) error {
			d := codec.Decoder{B: v}
			cp.tree.drops = d.Trees()
			return wrapCorrupt(d.Done())
		}},
		{catalog.Window, cp.loadWindow},
		{catalog.Answer, func(_ uint64, v []byte) error { return cp.names.answers.unmarshal(v) }},
	} {
		if err == nil {
			err = cp.names.eachRow(k.kind, k.load)
		}
	}
	if err == nil {
		err = cp.origins.load()
	}
	if err == nil {
		err = cp.jobs.loadLog()
	}
	cp.events.load()
	if err == nil {
		err = cp.names.cat.Each(catalog.Destroyed, cp.tree.noteDestroyed)
	}
	if err == nil && cp.mends != nil {
		err = cp.mends.loaded()
	}
	return err
}

func (cp *checkpointer) loadStore() error {
	err := cp.blocks.store.LoadMap(cp.supers.super.StoreRoot)
	if err != nil && cp.mends != nil {
		err = cp.mends.store(err)
	}
	return err
}

func (cp *checkpointer) loadTable() error {
	if cp.mends != nil {
		return cp.mends.table()
	}
	return cp.blocks.loadTable()
}

// loadWindow restores the window, before the first record.
func (cp *checkpointer) loadWindow(_ uint64, v []byte) error {
	d := codec.Decoder{B: v}
	claimed := d.Runs()
	if err := wrapCorrupt(d.Done()); err != nil {
		return err
	}
	if cp.mends != nil {
		return cp.mends.window(claimed)
	}
	return cp.blocks.restoreWindow(claimed)
}

// link connects layers with their parents, and finds heads. It goes in the order of their making, as they were listed
// when they were made: a destroy takes the layers of a volume in that order and numbers walks by it, so that replay
// must find the same.
func (cp *checkpointer) link(parents map[LayerID]LayerID) error {
	for _, id := range slices.Sorted(maps.Keys(cp.tree.layers)) {
		l := cp.tree.layers[id]
		if n := parents[id]; n != 0 {
			if l.parent = cp.tree.layers[n]; l.parent == nil || l.parent.head || l.parent.dead || l.dead {
				return fmt.Errorf("layer %v: parent %v: %w", id, n, ErrCorrupt)
			}
			l.depth = l.parent.depth
			l.parent.children = append(l.parent.children, l) // in the order of adopt
		}
		l.depth++
		cp.tree.indexLine(l)
		if l.dead {
			cp.tree.deadN++
			cp.tree.freeing += l.own
			continue
		}
		cp.tree.joinVolume(l) // at the end
		if l.nameless() || l.kept {
			cp.tree.unheld(l)
		}
		if l.named {
			cp.tree.snaps.add(l, snapHome{})
		}
		if l.head {
			if cp.tree.heads[l.vol] != nil {
				return fmt.Errorf("volume %d has two heads, %v and %v: %w", l.vol, id, cp.tree.heads[l.vol].id, ErrCorrupt)
			}
			cp.tree.heads[l.vol] = l
		}
	}
	return nil
}

func (cp *checkpointer) replay() error {
	var last []byte // the last batch, for a tail
	j, err := journal.Open(cp.journalConfig(), cp.supers.super.At, func(b journal.Batch) error {
		switch {
		case b.Gen <= cp.supers.super.Generation:
		case cp.beyond != nil:
			*cp.beyond = max(*cp.beyond, b.Gen)
		default:
			return fmt.Errorf("journal batch %d follows superblock %d, the newest that can be read is %d: %w",
				b.Seq, b.Gen, cp.supers.super.Generation, ErrCorrupt)
		}
		if cp.opt.Inherit {
			last = append(last[:0], b.Payload...)
		}
		return cp.applyAll(b.Payload)
	})
	if err != nil {
		return err
	}
	cp.commits.durable = cp.commits.lsn
	for _, l := range cp.tree.layers {
		l.fence, l.fenceLSN, l.fenceEpoch, l.sizeLSN = 0, 0, 0, 0
	}
	if err := cp.openTail(j, last); err != nil {
		return err
	}
	cp.commits.journal = j // until here records are replayed, those of the tail, too: some ask
	return cp.blocks.settleGroups()
}

// applyAll applies the records of a batch.
func (cp *checkpointer) applyAll(batch []byte) error {
	return decodeRecords(batch, func(r record) error {
		cp.commits.lsn++
		if err := cp.commits.owner.prepareRecord(r); err != nil {
			return err
		}
		return cp.commits.owner.applyRecord(r)
	})
}

// openTail makes the tail of the pool's records. Of one that was inherited it applies those that are in no batch: they wait for
// the next commit, as they did in the process that made them.
func (cp *checkpointer) openTail(j *journal.Journal, last []byte) (err error) {
	if cp.opt.Tail == nil || cp.opt.ReadOnly {
		return nil
	}
	salt := cp.supers.super.Salt()
	if !cp.opt.Inherit {
		cp.mu.tail, err = tail.Create(cp.opt.Tail, cp.format.Ring, salt, j.Pos())
		return err
	}
	t, err := tail.Open(cp.opt.Tail, salt)
	if err != nil {
		return err
	}
	waits, err := t.Join(j.Pos(), last)
	if err == nil {
		cp.commits.pending = bytes.Clone(waits)
		err = cp.applyAll(cp.commits.pending)
	}
	if err != nil {
		return errors.Join(err, t.Close())
	}
	cp.mu.tail = t
	return nil
}

// parseLayer reads the row of a layer, by itself: what it says of others is for who links them. The parent is a number.
func parseLayer(id LayerID, b []byte) (l *layer, parent LayerID, err error) {
	d := codec.Decoder{B: b}
	l = &layer{id: id}
	parent = LayerID(d.Uint())
	l.vol, l.name = Ino(d.Uint()), d.Str()
	flags := d.Uint()
	l.head, l.named, l.dead = flags&flagHead != 0, flags&flagNamed != 0, flags&flagDead != 0
	l.swept, l.kept = flags&flagSwept != 0, flags&flagLayerKept != 0
	l.died, l.size, l.own, l.refer, l.lostHere = LayerID(d.Uint()), d.Int(), d.Int(), d.Int(), d.Int()
	l.created, l.who = d.Time(), d.Str()
	m := d.Map()
	l.top = overlay.Settled(m)
	l.lost.Trees = d.Trees()
	var was deadline
	l.wrote = l.own > 0 || l.refer > 0
	d.Attrs(map[string]func(*codec.Decoder){
		attrWas: l.was.decode, attrDeadline: was.decodeDeadline, attrDir: func(d *codec.Decoder) { l.dir = Ino(d.Uint()) },
		attrLine:  func(d *codec.Decoder) { l.line = decodeLine(d, id) },
		attrTags:  func(d *codec.Decoder) { l.tags = decodeTags(d) },
		attrWrote: func(*codec.Decoder) { l.wrote = true },
	})
	l.was.within = was.within
	if l.line == nil {
		row := layerRow{vol: l.vol, was: l.was}
		l.line = firstLine(id, row.owner(), false)
	}
	if err := wrapCorrupt(d.Done()); err != nil {
		return nil, 0, err
	}
	switch {
	case parent >= id, l.head && l.dead, l.head && l.named, l.size > MaxSize:
		return nil, 0, fmt.Errorf("layer %v: parent %v, size %d, flags %x: %w", id, parent, l.size, flags, ErrCorrupt)
	case flags&^(flagHead|flagNamed|flagDead|flagSwept|flagLayerKept) != 0:
		return nil, 0, fmt.Errorf("layer %v: flags %#x: %w", id, flags, ErrCorrupt)
	case l.named:
		if err := CheckSnapName(l.name); err != nil {
			return nil, 0, fmt.Errorf("layer %v: %w: %w", id, err, ErrCorrupt)
		}
	}
	if err := l.validTags(); err != nil {
		return nil, 0, err
	}
	if l.head { // what is written goes over the settled map
		l.top = overlay.New(l.top, l)
	}
	return l, parent, nil
}

// loadLayer reads a row. The parent is given as a number: layers are linked when all are read.
func (cp *checkpointer) loadLayer(id LayerID, b []byte) (parent LayerID, err error) {
	l, parent, err := parseLayer(id, b)
	if err != nil {
		return 0, err
	}
	if id > cp.tree.nextLayer {
		return 0, fmt.Errorf("layer %v: above the last number given, %v: %w", id, cp.tree.nextLayer, ErrCorrupt)
	}
	if l.own > cp.blocks.alloc.Total() || l.refer > mapEnd || l.lostHere > cp.blocks.alloc.Total() {
		return 0, fmt.Errorf("layer %v: owns %d blocks, refers to %d, lost %d: %w", id, l.own, l.refer, l.lostHere, ErrCorrupt)
	}
	cp.tree.layers[id] = l
	return parent, nil
}

func (cp *checkpointer) loadJob(id uint64, b []byte) error {
	d := codec.Decoder{B: b}
	j := &job{id: id}
	j.vol, j.volume, j.layer, j.reason, j.who, j.since = Ino(d.Uint()), d.Str(), d.Str(), d.Str(), d.Str(), d.Time()
	for _, n := range []*int64{&j.freshN, &j.readyN, &j.badN, &j.freed, &j.erased} {
		*n = d.Int()
	}
	j.cursor = omap.Key(d.Key())
	j.fresh.Trees, j.ready.Trees, j.bad.Trees = d.Trees(), d.Trees(), d.Trees()
	d.Attrs(j.loads())
	if err := wrapCorrupt(d.Done()); err != nil {
		return err
	}
	if total := cp.blocks.alloc.Total(); id > cp.commits.nextJob || j.freshN > total || j.readyN > total || j.badN > total || j.kept > total || j.rank > maxRank {
		return fmt.Errorf("erase job %d above %d, or of %d+%d+%d blocks: %w", id, cp.commits.nextJob, j.freshN, j.readyN, j.badN, ErrCorrupt)
	}
	cp.jobs.all[id] = j
	cp.jobs.countCrash(j, 1)
	cp.jobs.place(j, func() {})
	cp.jobs.addDirty(j, j.dirtyBlocks())
	cp.jobs.turns.want(j)
	cp.jobs.failedN += j.badN
	if j.reason == reasonOverwritten {
		cp.jobs.byVol[j.vol] = j
	}
	if j.more {
		if o := cp.jobs.growing[j.vol]; o != nil {
			return fmt.Errorf("erase jobs %d and %d get the layers of volume %d: %w", o.id, id, j.vol, ErrCorrupt)
		}
		cp.jobs.growing[j.vol] = j
	}
	return nil
}

func (cp *checkpointer) loadWalk(id uint64, b []byte) error {
	d := codec.Decoder{B: b}
	layer, jobID := LayerID(d.Uint()), d.Uint()
	w := &walk{id: id, burial: d.Bool(), next: d.Int(), pages: d.Int()}
	w.source = overlay.Settled(d.Map())
	d.Attrs(nil)
	if err := wrapCorrupt(d.Done()); err != nil {
		return err
	}
	w.layer, w.job = cp.tree.layers[layer], cp.jobs.all[jobID]
	if w.layer == nil || w.job == nil || id > cp.commits.nextJob || max(w.next, w.pages) > mapEnd {
		return fmt.Errorf("walk %d of layer %v, erase job %d: %w", id, layer, jobID, ErrCorrupt)
	}
	w.job.walks++
	if !w.sorted() {
		w.job.sorting++
	}
	cp.tree.addWalk(w)
	return nil
}
