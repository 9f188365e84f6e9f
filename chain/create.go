package chain

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
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

// MinPool is the smallest pool that the command line makes, in bytes. Create itself takes smaller ones, for tests.
const MinPool = 64 << 20

func (f Format) geometry(dev blockdev.Device) geometry {
	g := geometry{
		blocks: dev.Size() / BlockSize, groupBlocks: f.GroupBlocks, extentBlocks: f.ExtentBlocks,
		ringOff: superSlots * BlockSize, ring: f.RingBytes, unit: dev.SectorSize(), window: f.WindowBlocks,
	}
	if g.groupBlocks == 0 {
		g.groupBlocks = 4 * BlockSize
	}
	if g.extentBlocks == 0 {
		g.extentBlocks = meta.ExtentPages
	}
	if g.ring == 0 {
		g.ring = min(max(g.blocks*BlockSize/256, 64<<10), 32<<20) / BlockSize * BlockSize
	}
	if g.window == 0 {
		g.window = max(min(64<<20/BlockSize, g.blocks/64), 2*maxIO/BlockSize)
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
	first := alloc.Run{Start: alloc.BlockID(superSlots + g.ring/BlockSize), Len: int64(2 * g.extentBlocks)}
	file, sparse := dev.(sparseFile)
	if sparse = sparse && file.Sparse(); sparse { // what the pool itself needs must not depend on its host
		first.Len += min(g.blocks/64, sparseStore) / int64(g.extentBlocks) * int64(g.extentBlocks)
	}
	if int64(first.End())+2*int64(g.extentBlocks) > g.blocks {
		return fmt.Errorf("pool %s: device of %d bytes is too small: %w", f.Name, dev.Size(), ErrInvalid)
	}
	s := superblock{generation: 1, uuid: f.UUID, geometry: g, made: f.Now(), name: f.Name, lastIno: RootIno}
	if err := s.geometry.validate(); err != nil {
		return fmt.Errorf("pool %s: %w: %w", f.Name, ErrInvalid, err)
	}
	p := newPool(dev, Options{Now: f.Now, Logger: f.Logger}, s, 1)
	j, err := journal.Open(p.journalConfig(), journal.Pos{}, func(journal.Batch) error { return nil })
	if err != nil {
		return fmt.Errorf("pool %s: %w", f.Name, err)
	}
	p.journal = j
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
	root := inode{typ: TypeDir, mode: 0o755, mtime: s.made, ctime: s.made, btime: s.made}
	p.cat.put(rowKey(rowInode, uint64(RootIno)), root.marshal())
	// Twice: both slots hold the new pool then, and neither an older one.
	for range superSlots {
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
	g := p.format
	groups := []alloc.Run{{Start: 0, Len: int64(first.End())}}
	if zeroed {
		groups[0].Len = g.blocks
	}
	for _, r := range groups { // what becomes metadata need not be zero
		if err := p.blocks.Set(r, alloc.InUse, alloc.Clean); err != nil {
			return err
		}
	}
	if err := p.blocks.Set(alloc.Run{Start: 0, Len: int64(first.Start)}, alloc.Clean, alloc.Meta); err != nil {
		return err
	}
	for r := first; r.Len > 0; r.Start, r.Len = r.Start+alloc.BlockID(g.extentBlocks), r.Len-int64(g.extentBlocks) {
		one := recGrant{alloc.Run{Start: r.Start, Len: int64(g.extentBlocks)}}
		if err := p.owner.applyRecord(&one); err != nil {
			return err
		}
	}
	if !zeroed {
		j := p.newJob(0, "", "", reasonInitial, "", p.super.made)
		p.addToJob(j, oldRun{dev: first.End(), n: g.blocks - int64(first.End())})
	}
	return nil
}
