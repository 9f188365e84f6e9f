package chain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// destroy_delay keeps what is destroyed for a while. A volume loses its name and keeps all else, a snapshot loses its name
// and its layer is kept; a row of the catalog says what it was, where, and until when. Undestroy takes the row away and
// gives the name back; when the time is over, or somebody needs the space, it is destroyed as without a delay. So it
// survives whatever the pool survives, and there is no second way to destroy.
//
// What is kept promises nothing and is charged to nobody's directory. What its end would free counts as available, since
// it can be freed on demand: p.doomedN, a lower bound that is exact where no clone hangs on it.

// doomedState is the pool's, under the plan lock.
type doomedState struct {
	doomed       map[uint64]*doomed // destroyed, and kept
	doomedVols   map[Ino]uint64     // their IDs
	doomedLayers map[LayerID]uint64
	doomedN      int64      // blocks that the end of all that would free: of all parts together (falling)
	staleFalls   []*falling // parts that are to be counted anew
	staleDoomed  []uint64   // things that are
	sacrificing  workLock   // one of them; before all other locks
	sacrificed   int64      // that went before their time, by this process
}

// doomed is something that was destroyed and is kept. Exactly one volume, or one snapshot of one.
type doomed struct {
	vol   Ino
	layer LayerID // of a snapshot; 0: the volume with all it has
	dir   Ino     // where the volume was
	name  string  // the volume's, or the snapshot's
	path  string  // the volume's
	size  int64   // bytes
	when  time.Time
	until time.Time
	who   string
	try   backoff           // to end it
	falls map[*falling]bool // of a volume: those that its layers are in
}

func (d *doomed) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(d.vol))
	e.Uint(uint64(d.layer))
	e.Uint(uint64(d.dir))
	e.Str(d.name)
	e.Str(d.path)
	e.Int(d.size)
	e.Time(d.when)
	e.Time(d.until)
	e.Str(d.who)
	return e.B
}

func (d *doomed) unmarshal(b []byte) error {
	r := codec.Decoder{B: b}
	d.vol, d.layer, d.dir, d.name, d.path = Ino(r.Uint()), LayerID(r.Uint()), Ino(r.Uint()), r.Str(), r.Str()
	d.size, d.when, d.until, d.who = r.Int(), r.Time(), r.Time(), r.Str()
	return r.Done()
}

// what names it: a path, or path@name.
func (d *doomed) what() string {
	if d.layer != 0 {
		return d.path + "@" + d.name
	}
	return d.path
}

// noteDoomed follows a row: it is the only way in which something becomes doomed, or is no more.
func (p *Pool) noteDoomed(id uint64, v []byte) error {
	if v == nil {
		if d := p.doomed[id]; d != nil {
			p.uncountThing(d)
			delete(p.doomedLayers, d.layer)
			if d.layer == 0 {
				delete(p.doomedVols, d.vol)
			}
			p.forgetTry(&d.try)
			delete(p.doomed, id)
		}
		return nil
	}
	d := &doomed{}
	if err := d.unmarshal(v); err != nil {
		return fmt.Errorf("destroyed thing %d: %w", id, err)
	}
	if d.vol == 0 || d.size > MaxSize {
		return fmt.Errorf("destroyed thing %d: volume %d of %d bytes: %w", id, d.vol, d.size, ErrCorrupt)
	}
	p.doomed[id] = d
	if d.layer != 0 {
		p.doomedLayers[d.layer] = id
	} else {
		p.doomedVols[d.vol] = id
	}
	p.recountThing(id)
	p.nextJob = max(p.nextJob, id) // one row of numbers with jobs, so that an ID means one thing
	return nil
}

// doomedVolume is the doomed volume of that inode, or nil.
func (p *Pool) doomedVolume(ino Ino) (uint64, *doomed) {
	id := p.doomedVols[ino]
	return id, p.doomed[id]
}

// doomedLayer: the layer is a doomed snapshot's.
func (p *Pool) doomedLayer(l *layer) bool { return p.doomedLayers[l.id] != 0 }

// delay is how long what is destroyed now is kept.
func (p *Pool) delay() time.Duration {
	v, ok, err := p.propRow(RootIno, PropDestroyDelay)
	if err != nil || !ok {
		return 0
	}
	d, err := parseDelay(v)
	if err != nil {
		return 0
	}
	return d
}

// doom writes the row; of a long path its end is kept, as in the erase log: a row has one part.
func (p *Pool) doom(d *doomed) error {
	d.path = d.path[max(0, len(d.path)-maxLogPath):]
	return p.do(&recPut{key: catalog.Key(catalog.Doomed, p.nextJob+1), val: d.marshal()})
}

// doomVolume keeps a volume, which is named or an orphan, without its name.
func (p *Pool) doomVolume(ino Ino, n *inode, at spot, who string, now time.Time) error {
	d := &doomed{vol: ino, dir: at.dir, name: at.name, path: at.path, size: p.heads[ino].size, when: now, until: now.Add(p.delay()), who: who}
	n.parent, n.name, n.ctime = 0, "", now
	if err := p.putInode(ino, n); err != nil {
		return err
	}
	if err := p.do(&recPut{key: catalog.Key(catalog.Orphan, uint64(ino))}); err != nil {
		return err
	}
	if err := p.doom(d); err != nil {
		return err
	}
	if v := p.vols[ino]; v != nil {
		v.gone = true
		delete(p.vols, ino)
	}
	p.poke()
	return nil
}

// spot is where an inode without a name had it.
type spot struct {
	dir        Ino
	name, path string
	who        string // took the name away
}

// going: it is removed in steps.
func (o *spot) going() bool { return o.name == "" }

func (o spot) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(o.dir))
	e.Str(o.name)
	e.Str(o.path)
	e.Str(o.who)
	return e.B
}

func (o *spot) unmarshal(b []byte) error {
	d := codec.Decoder{B: b}
	o.dir, o.name, o.path, o.who = Ino(d.Uint()), d.Str(), d.Str(), d.Str()
	return wrapCorrupt(d.Done())
}

// lostPlace is where an inode without a name had it last.
func (p *Pool) lostPlace(ino Ino) (o spot, ok bool) {
	if _, d := p.doomedVolume(ino); d != nil {
		return spot{d.dir, d.name, d.path, d.who}, true
	}
	v, ok, err := p.cat.Get(catalog.Key(catalog.Orphan, uint64(ino)))
	return o, ok && err == nil && o.unmarshal(v) == nil
}

// doomSnapshot keeps a snapshot without its name.
func (p *Pool) doomSnapshot(ino Ino, l *layer, who string, now time.Time) error {
	n, err := p.inode(ino)
	if err != nil {
		return err
	}
	return p.doom(&doomed{
		vol: ino, layer: l.id, dir: n.parent, name: l.name, path: p.pathOf(ino), size: l.size, when: now, until: now.Add(p.delay()), who: who,
	})
}

// doomedInOrder lists the IDs of what is doomed, what goes first first.
func (p *Pool) doomedInOrder() []uint64 {
	p.mu.step(len(p.doomed))
	return slices.SortedFunc(maps.Keys(p.doomed), func(a, b uint64) int {
		return cmp.Or(p.doomed[a].until.Compare(p.doomed[b].until), cmp.Compare(a, b))
	})
}

// doomedRows checks that what is kept is there.
func (c *checker) doomedRows() {
	p, n := c.p, 0
	err := p.cat.Each(catalog.Doomed, func(uint64, []byte) error { n++; return nil })
	if err != nil {
		c.r.bad("catalog: %v", err)
	}
	if n != len(p.doomed) {
		c.r.bad("%d destroyed things are kept, counted %d", n, len(p.doomed))
	}
	for id, d := range p.doomed {
		switch l := p.layers[d.layer]; {
		case d.layer == 0 && p.heads[d.vol] == nil:
			c.r.bad("destroyed thing %d: volume %d is gone", id, d.vol)
		case d.layer != 0 && (l == nil || l.vol != d.vol || !l.kept || l.named):
			c.r.bad("destroyed thing %d: layer %v of volume %d is gone", id, d.layer, d.vol)
		case id > p.nextJob:
			c.r.bad("destroyed thing %d: above the last number given, %d", id, p.nextJob)
		}
		if d.layer == 0 {
			if v, ok, err := p.cat.Get(meta.Key{Hi: catalog.Key(catalog.Inode, uint64(d.vol)).Hi}); err != nil || !ok {
				c.r.bad("destroyed thing %d: inode %d: %v", id, d.vol, err)
			} else if n, err := parseInode(v); err == nil && n.parent != 0 {
				c.r.bad("destroyed thing %d: inode %d has a name", id, d.vol)
			}
		}
	}
}

func (c *checker) keptVolume(ino Ino) bool {
	_, d := c.p.doomedVolume(ino)
	return d != nil
}
