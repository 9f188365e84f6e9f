package chain

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/codec"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// A dump is all metadata of a pool, one line after the other, each a value that encodes to a JSON object. Its field kind says what
// it is of; docs/recovery.md has the kinds. Blocks are counted from the start of the device. Texts are bytes that anybody may have
// chosen; what has no fields of its own is in bytes, coded as docs/format.md says.

// DumpLine is one of the types below.
type DumpLine any

// The lines of a dump, by the word in their field Kind.
type (
	// DumpSuper is a superblock ("superblock"), or why there is none.
	DumpSuper struct {
		Kind       string     `json:"kind"`
		Slot       int        `json:"slot"` // from 1 on
		Used       bool       `json:"used"` // what follows is read by this one
		Error      string     `json:"error,omitempty"`
		Generation uint64     `json:"generation"`
		UUID       string     `json:"uuid"`
		Name       string     `json:"name"`
		Made       *time.Time `json:"made"`
		Host       string     `json:"host"` // that holds it; empty: nobody
		Machine    string     `json:"host_machine"`
		Since      *time.Time `json:"host_since"`
		Features   [3]uint64  `json:"features"` // compatible, read-only compatible, incompatible
		FeatNames  string     `json:"feature_names,omitempty"`
		Blocks     int64      `json:"blocks"`
		Group      int        `json:"group_blocks"`
		Extent     int        `json:"extent_blocks"`
		Window     int64      `json:"window"`         // blocks
		RingOff    int64      `json:"journal_offset"` // bytes
		Ring       int64      `json:"journal_bytes"`
		Unit       int        `json:"journal_unit"`  // bytes
		Batch      uint64     `json:"journal_batch"` // the last one that the pages contain
		Next       int64      `json:"journal_next"`  // offset in the ring, bytes, of the one behind it
		BatchSum   string     `json:"journal_sum"`   // of that last one
		Layer      uint64     `json:"last_layer"`
		Job        uint64     `json:"last_job"`
		Inode      uint64     `json:"last_inode"`
		Store      DumpPage   `json:"store"`
		Groups     DumpTree   `json:"groups"`
		Catalog    DumpTree   `json:"catalog"`
	}
	// DumpTree is where the root of a tree lies.
	DumpTree struct {
		DumpPage
		Height  int    `json:"height"` // levels of pages
		Entries uint64 `json:"entries"`
	}
	// DumpPage is where a page lies.
	DumpPage struct {
		Block uint64 `json:"block"` // 0: there is none
		Twin  uint64 `json:"twin"`  // 0: none
		Sum   string `json:"sum"`
	}
	// DumpRow is a row of the catalog ("row").
	DumpRow struct {
		Kind   string `json:"kind"`
		Of     string `json:"of"` // inode, name, …
		Number uint64 `json:"number"`
		Lo     uint64 `json:"lo"`
		Value  any    `json:"value,omitempty"`
		Bytes  []byte `json:"bytes,omitempty"` // where there is no value
		Error  string `json:"error,omitempty"` // why it cannot be decoded
	}
	// DumpRuns are runs of a map ("map") or of a list ("list").
	DumpRuns struct {
		Kind string      `json:"kind"`
		Of   string      `json:"of"`
		Runs [][4]uint64 `json:"runs"` // map: logical block, blocks, device block, birth; list: birth, device block, blocks, 1 if it is a page
	}
	// DumpGroup is the state of a group ("group").
	DumpGroup struct {
		Kind   string      `json:"kind"`
		Group  uint64      `json:"group"`
		Counts [4]int64    `json:"counts"` // blocks in use, claimed, of metadata, clean
		Page   DumpPage    `json:"page"`
		State  int         `json:"state"`            // of all blocks, where there is no page
		Runs   [][3]uint64 `json:"states,omitempty"` // block, blocks, state: 0 in use, 1 claimed, 2 metadata, 3 clean
	}
	// DumpExtent is an extent of the metadata store ("extent").
	DumpExtent struct {
		Kind   string `json:"kind"`
		Block  uint64 `json:"block"`
		Blocks int64  `json:"blocks"`
		Used   int    `json:"used"` // pages
	}
	// DumpBatch is a batch of the journal that follows ("batch").
	DumpBatch struct {
		Kind       string       `json:"kind"`
		Seq        uint64       `json:"seq"`
		Generation uint64       `json:"generation"`
		Records    []DumpRecord `json:"records"`
	}
	// DumpRecord is a record of a batch.
	DumpRecord struct {
		Record string `json:"record"`
		Bytes  []byte `json:"bytes"`
	}
	// DumpLost is something that cannot be read ("lost").
	DumpLost struct {
		Kind  string `json:"kind"`
		Of    string `json:"of"`
		Error string `json:"error"`
	}
)

// dumper is one dump.
type dumper struct {
	ctx  context.Context
	dev  blockdev.Device
	s    super.Block
	maps bool
	emit func(DumpLine) error
	lost int

	store *meta.Store
	lists *meta.Family
	row   partsOf
}

// Dump tells all metadata of the pool on dev, which may not open: as its newest superblock has it, and the journal behind that. What
// cannot be read is told as lost, and counted. Without maps the runs of layers are left out. An error is emit's, or ctx's, or that
// there is no superblock, which is told first.
func Dump(ctx context.Context, dev blockdev.Device, maps bool, emit func(DumpLine) error) (lost int, err error) {
	s, slot, err := super.Read(dev)
	d := newDumper(ctx, dev, s, maps, emit)
	for i := range super.Slots {
		one, bad := super.ReadSlot(dev, i)
		if e := d.superblock(i, one, bad, err == nil && i == slot); e != nil {
			return d.lost, e
		}
	}
	if err == nil {
		err = d.all()
	}
	if err == nil {
		err = d.batches()
	}
	return d.lost, wrapCorrupt(err)
}

// DumpOnline is Dump of a pool in use, as a checkpoint left it that is taken first. Nobody waits for it. Errors: ErrOvertaken, too.
func DumpOnline(ctx context.Context, p *Pool, maps bool, emit func(DumpLine) error) (lost int, err error) {
	if p.opt.ReadOnly {
		return Dump(ctx, p.dev, maps, emit)
	}
	view, pin, err := pinCheckpoint(p)
	if err != nil {
		return 0, err
	}
	s := view.supers.super
	d := newDumper(ctx, p.dev, s, maps, emit)
	if err = d.superblock(view.supers.slot, s, nil, true); err == nil {
		err = d.all()
	}
	if whole := pin.Release(); !whole && err == nil {
		err = fmt.Errorf("pool %s: dump: %w", p.name, ErrOvertaken)
	}
	return d.lost, err
}

func newDumper(ctx context.Context, dev blockdev.Device, s super.Block, maps bool, emit func(DumpLine) error) *dumper {
	store := meta.NewStore(dev, s.Geometry.Blocks, wreckCache)
	store.ReadOnly = true
	d := &dumper{ctx: ctx, dev: dev, s: s, maps: maps, store: store, lists: &meta.Family{Store: store, Kind: 'L', Weight: runs.WeighEntry}}
	d.emit = func(l DumpLine) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return emit(l)
	}
	return d
}

// miss tells of something that is lost.
func (d *dumper) miss(of string, err error) error {
	d.lost++
	return d.emit(DumpLost{"lost", of, err.Error()})
}

func pageOf(p meta.Ptr) DumpPage {
	return DumpPage{uint64(p.Addr), uint64(p.Twin), fmt.Sprintf("%016x", p.Sum)}
}

func treeOf(t meta.Tree) DumpTree { return DumpTree{pageOf(t.Root), int(t.Height), t.Entries} }

func whenOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (d *dumper) superblock(slot int, s super.Block, bad error, used bool) error {
	if bad != nil {
		d.lost++
		return d.emit(DumpSuper{Kind: "superblock", Slot: slot + 1, Error: bad.Error()})
	}
	l := DumpSuper{
		Kind: "superblock", Slot: slot + 1, Used: used, Generation: s.Generation, UUID: s.UUID.String(), Name: s.Name, Made: whenOf(s.Made),
		Features: [3]uint64{s.Compatible, s.ReadOnly, s.Incompatible}, FeatNames: s.FeatureNames,
		Blocks: s.Geometry.Blocks, Group: s.Geometry.GroupBlocks, Extent: s.Geometry.ExtentBlocks, Window: s.Geometry.Window,
		RingOff: s.Geometry.RingOff, Ring: s.Geometry.Ring, Unit: s.Geometry.Unit,
		Batch: s.At.Seq, Next: s.At.Off, BatchSum: fmt.Sprintf("%016x", s.At.Sum),
		Layer: uint64(s.LastLayer), Job: s.LastJob, Inode: s.LastIno,
		Store: pageOf(s.StoreRoot), Groups: treeOf(s.GroupTable), Catalog: treeOf(s.Catalog),
	}
	if !s.Host.None() {
		l.Host, l.Machine, l.Since = s.Host.String(), hex.EncodeToString(s.Host.Machine[:]), whenOf(s.Host.Since)
	}
	return d.emit(l)
}

// all is what the superblock names.
func (d *dumper) all() error {
	for _, step := range []func() error{d.extents, d.groups, d.catalog} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) extents() error {
	if err := d.store.LoadMap(d.s.StoreRoot); err != nil {
		return d.miss("metadata store", err)
	}
	for _, r := range d.store.Extents() {
		used := 0
		for b := r.Start; b < r.End(); b++ {
			if d.store.InUse(b) {
				used++
			}
		}
		if err := d.emit(DumpExtent{"extent", uint64(r.Start), r.Len, used}); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) groups() error {
	table := meta.Family{Store: d.store, Kind: 'G'}
	return table.Survey(d.s.GroupTable, func(k meta.Key, v []byte) error {
		var r groupRow
		of := fmt.Sprintf("group %d", k.Hi)
		if err := r.unmarshal(v); err != nil {
			return d.miss(of, err)
		}
		l := DumpGroup{
			Kind: "group", Group: k.Hi, Counts: [4]int64{r.counts.InUse, r.counts.Claimed, r.counts.Meta, r.counts.Clean},
			Page: pageOf(r.ptr), State: int(r.state),
		}
		if !r.ptr.IsNil() {
			page, err := d.store.Get(r.ptr, wholePage)
			if err != nil {
				if err := d.miss(of, err); err != nil {
					return err
				}
			} else {
				l.Runs = stateRuns(page.([]byte), int64(k.Hi)*int64(d.s.Geometry.GroupBlocks), r.counts.Total())
			}
		}
		return d.emit(l)
	}, func(from meta.Key, n uint64, err error) error {
		return d.miss(fmt.Sprintf("group table: %d rows from group %d on", n, from.Hi), err)
	})
}

// stateRuns are the states in the page of a group.
func stateRuns(page []byte, first, blocks int64) (out [][3]uint64) {
	for i := range min(blocks, int64(len(page))*4) {
		st := uint64(page[i/4]>>(i%4*2)) & 3
		if k := len(out) - 1; k >= 0 && out[k][2] == st {
			out[k][1]++
			continue
		}
		out = append(out, [3]uint64{uint64(first + i), 1, st})
	}
	return out
}

// batches are those that follow the superblock, as far as they follow each other.
func (d *dumper) batches() error {
	g := d.s.Geometry
	var told error
	j, err := journal.Open(journal.Config{Dev: d.dev, Off: g.RingOff, Size: g.Ring, Unit: g.Unit, Salt: d.s.Salt()}, d.s.At, func(b journal.Batch) error {
		l := DumpBatch{Kind: "batch", Seq: b.Seq, Generation: b.Gen, Records: []DumpRecord{}}
		err := decodeRecords(b.Payload, func(r record) error {
			e := codec.Encoder{}
			r.encode(&e)
			l.Records = append(l.Records, DumpRecord{kinds[kindOf(r)].name, e.B})
			return nil
		})
		if told = d.emit(l); told != nil {
			return told
		}
		return err
	})
	switch {
	case told != nil:
		return told
	case err != nil:
		return d.miss("journal", err)
	}
	j.Close()
	return nil
}

// runsInLine is how many runs stand in one line.
const runsInLine = 512

// runsOf collects runs into lines.
type runsOf struct {
	d    *dumper
	line DumpRuns
}

func (r *runsOf) add(x [4]uint64) error {
	r.line.Runs = append(r.line.Runs, x)
	if len(r.line.Runs) < runsInLine {
		return nil
	}
	return r.end()
}

func (r *runsOf) end() error {
	if len(r.line.Runs) == 0 {
		return nil
	}
	line := r.line
	r.line.Runs = nil
	return r.d.emit(line)
}

func (d *dumper) mapOf(m meta.Map, of string) error {
	if !d.maps {
		return nil
	}
	out := runsOf{d, DumpRuns{Kind: "map", Of: of}}
	ms := meta.Maps{Store: d.store}
	err := ms.Survey(m, 0, mapEnd, func(p meta.Piece) error {
		return out.add([4]uint64{uint64(p.Start), uint64(p.Len), uint64(p.Dev), uint64(p.Birth)})
	}, func(lo, hi int64, n uint64, err error) error {
		return d.miss(fmt.Sprintf("map of %s: %d blocks mapped in %d to %d", of, n, lo, hi), err)
	})
	if err != nil {
		return err
	}
	return out.end()
}

func (d *dumper) listOf(trees []meta.Tree, of string) error {
	out := runsOf{d, DumpRuns{Kind: "list", Of: of}}
	for _, t := range trees {
		err := d.lists.Survey(t, func(k meta.Key, v []byte) error {
			e, err := runs.ParseEntry(v)
			if err != nil {
				return d.miss(of, err)
			}
			page := uint64(0)
			if e.Page {
				page = 1
			}
			return out.add([4]uint64{k.Hi, k.Lo, uint64(e.Len), page})
		}, func(_ meta.Key, n uint64, err error) error { return d.miss(fmt.Sprintf("%s: %d entries", of, n), err) })
		if err != nil {
			return err
		}
	}
	return out.end()
}

// catalog tells its rows, and behind a row what hangs on it.
func (d *dumper) catalog() error {
	take := func() error {
		row := d.row
		if d.row = (partsOf{}); row.val == nil {
			return nil
		}
		return d.rowLine(row.key, row.val)
	}
	rows := meta.Family{Store: d.store, Kind: 'C'}
	err := rows.Survey(d.s.Catalog, func(k meta.Key, v []byte) error {
		if d.row.more(k, v) {
			return nil
		}
		err := take()
		d.row = partsOf{key: k, val: append([]byte{}, v...)}
		return err
	}, func(from meta.Key, n uint64, err error) error {
		return d.miss(fmt.Sprintf("catalog: %d rows from number %d of kind %d on", n, catalog.NumberOf(from), catalog.KindOf(from)), err)
	})
	if err != nil {
		return err
	}
	return take()
}

// blockRuns are runs of blocks as a line has it.
func blockRuns(rs []alloc.Run) (out [][2]uint64) {
	for _, r := range rs {
		out = append(out, [2]uint64{uint64(r.Start), uint64(r.Len)})
	}
	return out
}
