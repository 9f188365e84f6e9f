package chain

import (
	"cmp"
	"fmt"
	"slices"

	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// Wreck is a pool as far as it can be read, for who copies out of it what is there: also one that does not open. It reads the
// catalog, row by row past what is damaged, then the journal, as far as its batches follow each other. It needs neither group
// table, metadata store, lists nor jobs, and writes nothing. What it tells of a volume is vouched for by the checksums of the
// pages on the way; what is not is told as lost.
//
// Of two superblocks it takes the one by which it reads more. With the older one, too, the state may be the last one: where the
// journal goes on without a gap from there to its end, all that happened since is in it. That is more than Open may do, who
// would write over what the lost superblock names.
//
// A Wreck is for one goroutine, and the device must not change.
type Wreck struct {
	Super super.Block // by which it is read; of a catalog that was found, only the size is known
	Slot  int         // where that is; -1: nowhere
	Exact bool        // it shows what was durable last
	Notes []string    // what could not be read of all that is not one volume's map, and what follows from it

	dev     blockdev.Device
	maps    *meta.Maps
	rows    *meta.Family
	layers  map[LayerID]*layer
	heads   map[Ino]*layer
	byVol   map[Ino][]*layer
	inodes  map[Ino]*inode
	next    LayerID // number of the last layer
	damaged uint64  // rows that are lost
	odd     int     // records that do not fit what is there
}

// wreckCache is for map pages: each is read once, but those on the way down.
const wreckCache = 16 << 20

// OpenWreck reads what is left of the pool on dev. Errors: those of reading the superblocks, if there is none to begin with
// (FindCatalogs may find more), ErrVersion and ErrFeature among them; else the worst is an empty wreck with notes.
func OpenWreck(dev blockdev.Device) (*Wreck, error) {
	if _, _, err := super.Read(dev); err != nil {
		return nil, wrapCorrupt(err)
	}
	var best *Wreck
	lost := make([]string, 0, super.Slots)
	for slot := range super.Slots {
		s, err := super.ReadSlot(dev, slot)
		if err != nil {
			lost = append(lost, fmt.Sprintf("superblock %d of %d cannot be read: %v", slot+1, super.Slots, err))
			continue
		}
		w := readWreck(dev, s, slot)
		if best == nil || w.before(best) {
			best = w
		}
	}
	best.Notes = append(lost, best.Notes...)
	return best, nil
}

// before tells which of two states of one pool shows more.
func (w *Wreck) before(o *Wreck) bool {
	switch {
	case w.Super.UUID != o.Super.UUID: // remains of another
		return w.Super.Generation > o.Super.Generation
	case w.Exact != o.Exact:
		return w.Exact
	}
	return cmp.Or(cmp.Compare(o.damaged, w.damaged), cmp.Compare(w.Super.Generation, o.Super.Generation)) > 0
}

func newWreck(dev blockdev.Device, s super.Block, slot int) *Wreck {
	store := meta.NewStore(dev, s.Geometry.Blocks, wreckCache)
	store.ReadOnly = true
	return &Wreck{
		Super: s, Slot: slot, Exact: true, dev: dev, maps: &meta.Maps{Store: store}, rows: &meta.Family{Store: store, Kind: 'C'},
		layers: map[LayerID]*layer{}, heads: map[Ino]*layer{}, byVol: map[Ino][]*layer{}, inodes: map[Ino]*inode{}, next: s.LastLayer,
	}
}

func readWreck(dev blockdev.Device, s super.Block, slot int) *Wreck {
	w := newWreck(dev, s, slot)
	w.readCatalog(s.Catalog)
	w.readJournal()
	return w
}

// note tells of something that is missing.
func (w *Wreck) note(format string, a ...any) {
	w.Exact = false
	note(&w.Notes, format, a...)
}

// readCatalog reads the rows of layers and inodes.
func (w *Wreck) readCatalog(tree meta.Tree) {
	var row partsOf
	take := func() {
		if row.val == nil {
			return
		}
		if err := w.take(row.key, row.val); err != nil {
			w.damaged++
			w.note("catalog: row %d of kind %d: %v", catalog.NumberOf(row.key), catalog.KindOf(row.key), err)
		}
		row = partsOf{}
	}
	_ = w.rows.Survey(tree, func(k meta.Key, v []byte) error { //nolint:errcheck // neither function has one
		if !row.more(k, v) {
			take()
			row = partsOf{key: k, val: append([]byte{}, v...)}
		}
		return nil
	}, func(from meta.Key, n uint64, err error) error {
		w.damaged += n
		w.note("catalog: about %d rows from number %d of kind %d on are lost: %v", n, catalog.NumberOf(from), catalog.KindOf(from), err)
		return nil
	})
	take()
}

// inParts are the kinds of rows that may have several.
var inParts = []catalog.Kind{
	catalog.Link, catalog.Xattr, catalog.Layer, catalog.Job, catalog.Walk, catalog.Drop, catalog.Window, catalog.Answer, catalog.Log, catalog.Chain,
}

// partsOf is a row that may have several parts.
type partsOf struct {
	key  meta.Key // of the first
	val  []byte
	last uint64 // parts behind the first
}

// more takes the next part, if it is one.
func (p *partsOf) more(k meta.Key, v []byte) bool {
	if p.val == nil || !slices.Contains(inParts, catalog.KindOf(k)) || p.key.Hi != k.Hi || k.Lo != p.key.Lo+p.last+1 || uint64(len(p.val)) != (p.last+1)*catalog.PartSize {
		return false
	}
	p.last++
	p.val = append(p.val, v...)
	return true
}

// take takes a row, of the catalog or of the journal; an empty one is gone.
func (w *Wreck) take(k meta.Key, v []byte) error {
	n := catalog.NumberOf(k)
	if catalog.KindOf(k) == catalog.Layer {
		l, _, err := parseLayer(LayerID(n), v)
		if err != nil || l.dead {
			return err
		}
		w.next = max(w.next, l.id)
		w.add(l)
	}
	if catalog.KindOf(k) != catalog.Inode {
		return nil // it is of nobody's content
	}
	if len(v) == 0 {
		delete(w.inodes, Ino(n))
		return nil
	}
	i, err := parseInode(v)
	if err == nil {
		w.inodes[Ino(n)] = i
	}
	return err
}

// readJournal brings what is there to the end of the journal, as far as batch follows batch.
func (w *Wreck) readJournal() {
	g := w.Super.Geometry
	last := w.Super.At.Seq
	j, err := journal.Open(journal.Config{Dev: w.dev, Off: g.RingOff, Size: g.Ring, Unit: g.Unit, Salt: w.Super.Salt()}, w.Super.At,
		func(b journal.Batch) error {
			err := decodeRecords(b.Payload, func(r record) error {
				w.follow(r)
				return nil
			})
			if err == nil {
				last = b.Seq
			}
			return err
		})
	if err != nil {
		w.note("the journal cannot be read behind batch %d: what was written later is not shown, and what is shown may since have been written over: %v",
			last, err)
		return
	}
	j.Close()
	if w.odd > 0 {
		w.note("%d records of the journal are of what the catalog has not, and were passed over", w.odd)
	}
}
