package chain

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/catalog"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// Format is how a pool is made. Zero fields are chosen by the device's size.
type Format struct {
	Name         string
	UUID         uuid.UUID // zero: random
	Zeroed       bool      // the device is known to read zero everywhere: a new pool file. Else all of it is dirty
	GroupBlocks  int
	ExtentBlocks int
	RingBytes    int64
	WindowBlocks int64
	Now          func() time.Time // required
	Logger       *slog.Logger
}

// MaxPool is the largest pool, in bytes.
const MaxPool = super.MaxBlocks * BlockSize

// MinPool is the smallest pool that the command line makes, in bytes. Create itself takes smaller ones, for tests.
const MinPool = 64 << 20

func (f Format) geometry(dev blockdev.Device) super.Geometry {
	g := super.Geometry{
		Blocks: dev.Size() / BlockSize, GroupBlocks: f.GroupBlocks, ExtentBlocks: f.ExtentBlocks,
		RingOff: super.Slots * BlockSize, Ring: f.RingBytes, Unit: dev.SectorSize(), Window: f.WindowBlocks,
	}
	if g.GroupBlocks == 0 {
		g.GroupBlocks = 4 * BlockSize
	}
	if g.ExtentBlocks == 0 {
		g.ExtentBlocks = meta.ExtentPages
	}
	if g.Ring == 0 {
		g.Ring = min(max(g.Blocks*BlockSize/256, 64<<10), 32<<20) / BlockSize * BlockSize
	}
	if g.Window == 0 {
		g.Window = max(min(64<<20/BlockSize, g.Blocks/64), 2*maxIO/BlockSize)
	}
	return g
}

// Create makes an empty pool on dev and returns when it is durable. What lay there is lost.
func Create(dev blockdev.Device, f Format) error {
	if err := CheckPoolName(f.Name); err != nil {
		return err
	}
	if f.UUID == uuid.Nil {
		var err error
		if f.UUID, err = uuid.NewRandom(); err != nil {
			return fmt.Errorf("pool %s: uuid: %w", f.Name, err)
		}
	}
	g := f.geometry(dev)
	first := alloc.Run{Start: alloc.BlockID(super.Slots + g.Ring/BlockSize), Len: int64(2 * g.ExtentBlocks)}
	file, sparse := dev.(sparseFile)
	if sparse = sparse && file.Sparse(); sparse { // what the pool itself needs must not depend on its host
		first.Len += min(g.Blocks/64, sparseStore) / int64(g.ExtentBlocks) * int64(g.ExtentBlocks)
	}
	if int64(first.End())+2*int64(g.ExtentBlocks) > g.Blocks {
		return fmt.Errorf("pool %s: device of %d bytes is too small: %w", f.Name, dev.Size(), ErrInvalid)
	}
	s := super.Block{Generation: 1, UUID: f.UUID, Geometry: g, Made: f.Now(), Name: f.Name, LastIno: uint64(RootIno)}
	if err := s.Geometry.Validate(); err != nil {
		return fmt.Errorf("pool %s: %w: %w", f.Name, ErrInvalid, err)
	}
	p := newPool(dev, Options{Now: f.Now, Logger: f.Logger}, s, 1)
	j, err := journal.Open(p.persist.journalConfig(), journal.Pos{}, func(journal.Batch) error { return nil })
	if err != nil {
		return fmt.Errorf("pool %s: %w", f.Name, err)
	}
	p.commits.journal = j
	if !f.Zeroed { // no job has what becomes metadata
		if err := dev.Zero(0, int64(first.End())*BlockSize, blockdev.Overwrite); err != nil {
			return fmt.Errorf("pool %s: %w", f.Name, err)
		}
	}
	if sparse {
		if _, err := file.Prepare(0, int64(first.End())*BlockSize); err != nil {
			return p.hostError(err)
		}
	}
	if err := p.lay(first, f.Zeroed); err != nil {
		return fmt.Errorf("pool %s: %w", f.Name, err)
	}
	root := inode{typ: TypeDir, mode: 0o755, mtime: s.Made, ctime: s.Made, btime: s.Made}
	p.names.cat.Put(catalog.Key(catalog.Inode, uint64(RootIno)), root.marshal())
	// Twice: both slots hold the new pool then, and neither an older one.
	for range super.Slots {
		if err := p.Checkpoint(); err != nil {
			return fmt.Errorf("pool %s: %w", f.Name, err)
		}
	}
	return nil
}

// sparseStore bounds, in blocks, what the store of a pool file with holes is given at first: 64 MiB.
const sparseStore = 64 << 20 / BlockSize

// lay gives every block of a new pool its state: superblocks, ring and first extents are metadata, the rest clean on
// a device of zeros, else dirty in the job `initial`.
func (p *Pool) lay(first alloc.Run, zeroed bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.origins.begin(0, 0)
	g := p.format
	groups := []alloc.Run{{Start: 0, Len: int64(first.End())}}
	if zeroed {
		groups[0].Len = g.Blocks
	}
	for _, r := range groups { // what becomes metadata need not be zero
		if err := p.blocks.alloc.Set(r, alloc.InUse, alloc.Clean); err != nil {
			return err
		}
	}
	if err := p.blocks.alloc.Set(alloc.Run{Start: 0, Len: int64(first.Start)}, alloc.Clean, alloc.Meta); err != nil {
		return err
	}
	for r := first; r.Len > 0; r.Start, r.Len = r.Start+alloc.BlockID(g.ExtentBlocks), r.Len-int64(g.ExtentBlocks) {
		one := recGrant{alloc.Run{Start: r.Start, Len: int64(g.ExtentBlocks)}}
		if err := p.commits.owner.applyRecord(&one); err != nil {
			return err
		}
	}
	if !zeroed {
		j := p.jobs.newJob(0, "", "", reasonInitial, "", p.supers.super.Made)
		n := g.Blocks - int64(first.End())
		p.jobs.addToJob(j, runs.Run{Dev: first.End(), Len: n})
		p.origins.wrote(0, 0, n)
	}
	return nil
}
