package chain

import (
	"errors"
	"fmt"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/runs"
	"slatefs/chain/super"
)

// recClaim: clean blocks are handed to the window.
type recClaim struct{ runs []alloc.Run }

func (r *recClaim) encode(e *codec.Encoder) { e.Runs(r.runs) }

func (r *recClaim) decode(d *codec.Decoder) { r.runs = d.Runs() }

func (r *recClaim) apply(p *Pool) error {
	p.mu.step(len(r.runs))
	for _, run := range r.runs {
		if err := p.blocks.alloc.Claim(run); err != nil {
			return err
		}
	}
	return nil
}

// recUnclaim: blocks of the window that no plan ever named are clean again.
type recUnclaim struct{ runs []alloc.Run }

func (r *recUnclaim) encode(e *codec.Encoder) { e.Runs(r.runs) }

func (r *recUnclaim) decode(d *codec.Decoder) { r.runs = d.Runs() }

func (r *recUnclaim) apply(p *Pool) error {
	p.mu.step(len(r.runs))
	for _, run := range r.runs {
		if err := p.blocks.alloc.Unclaim(run); err != nil {
			return err
		}
	}
	return nil
}

// recGrant: clean blocks go to the metadata store.
type recGrant struct{ run alloc.Run }

func (r *recGrant) encode(e *codec.Encoder) { e.Uint(uint64(r.run.Start)); e.Int(r.run.Len) }

func (r *recGrant) decode(d *codec.Decoder) {
	r.run = alloc.Run{Start: alloc.BlockID(d.Uint()), Len: d.Int()}
}

func (*recGrant) cuts() bool { return true }

func (r *recGrant) apply(p *Pool) error {
	if err := p.blocks.alloc.Set(r.run, alloc.Clean, alloc.Meta); err != nil {
		return err
	}
	if err := p.blocks.store.AddExtent(r.run); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// recDirty: claimed blocks that a plan named and did not map are dirty. What was written to them is of the layer that was the
// volume's head when the plan was made.
type recDirty struct {
	vol   Ino
	birth LayerID
	runs  []alloc.Run
}

func (r *recDirty) encode(e *codec.Encoder) {
	e.Uint(uint64(r.vol))
	e.Uint(uint64(r.birth))
	e.Runs(r.runs)
}

func (r *recDirty) decode(d *codec.Decoder) {
	r.vol, r.birth, r.runs = Ino(d.Uint()), LayerID(d.Uint()), d.Runs()
}

func (r *recDirty) apply(p *Pool) error {
	j := p.jobs.byVol[r.vol]
	if r.birth > p.tree.nextLayer {
		return fmt.Errorf("volume %d: dirty blocks born in layer %v, which is not made: %w", r.vol, r.birth, ErrCorrupt)
	}
	for _, run := range r.runs {
		if err := p.blocks.alloc.Use(run); err != nil {
			return err
		}
		if j == nil {
			return fmt.Errorf("volume %d: block %d is dirty without a job: %w", r.vol, run.Start, ErrCorrupt)
		}
		p.jobs.addToJob(j, runs.Run{Dev: run.Start, Len: run.Len, Birth: r.birth})
		p.origins.wrote(r.birth, r.vol, run.Len)
	}
	if h := p.tree.head(r.vol); h != nil && !h.wrote {
		p.tree.touch(h)
		h.wrote = true
	}
	if l := p.tree.layers[r.birth]; (l == nil || !l.head) && r.birth != 0 { // it was sealed before that
		p.origins.seal(r.birth, r.vol, time.Time{})
	}
	return nil
}

// recDirtyPlain: the same without the birth, as journals have it that were written before it stood there. Nobody makes one.
type recDirtyPlain struct {
	vol  Ino
	runs []alloc.Run
}

func (r *recDirtyPlain) encode(e *codec.Encoder) { e.Uint(uint64(r.vol)); e.Runs(r.runs) }

func (r *recDirtyPlain) decode(d *codec.Decoder) { r.vol, r.runs = Ino(d.Uint()), d.Runs() }

func (r *recDirtyPlain) apply(p *Pool) error {
	with := recDirty{vol: r.vol, runs: r.runs}
	return with.apply(p)
}

// recRecover: after a crash, all that is claimed is dirty.
type recRecover struct{ when time.Time }

func (r *recRecover) encode(e *codec.Encoder) { e.Time(r.when) }

func (r *recRecover) decode(d *codec.Decoder) { r.when = d.Time() }

func (r *recRecover) warm(p *Pool) { p.names.warm(0) }

// prepare loads the groups of what is claimed.
func (r *recRecover) prepare(p *Pool) error {
	for {
		_, err := p.blocks.alloc.ClaimedRuns()
		var u *alloc.UnloadedError
		if !errors.As(err, &u) {
			return err
		}
		if err := p.blocks.loadGroup(u.Group); err != nil {
			return err
		}
	}
}

func (r *recRecover) apply(p *Pool) error {
	rs, err := p.blocks.abandonClaims()
	if err != nil {
		return err
	}
	j := p.jobs.newJob(0, "", "", reasonRecovery, "", r.when)
	for _, run := range rs {
		p.jobs.addToJob(j, runs.Run{Dev: run.Start, Len: run.Len})
		p.origins.wrote(0, 0, run.Len)
	}
	p.jobs.endJob(j)
	return nil
}

// recExtend: the pool has that many blocks, more than before. Those from clean on are zero on the device.
type recExtend struct {
	blocks int64
	clean  alloc.BlockID
	when   time.Time
}

func (r *recExtend) encode(e *codec.Encoder) {
	e.Int(r.blocks)
	e.Uint(uint64(r.clean))
	e.Time(r.when)
}

func (r *recExtend) decode(d *codec.Decoder) {
	r.blocks, r.clean, r.when = d.Int(), alloc.BlockID(d.Uint()), d.Time()
}

func (*recExtend) cuts() bool { return true }

func (r *recExtend) warm(p *Pool) { p.names.warm(0) }

func (r *recExtend) apply(p *Pool) error {
	old := p.blocks.alloc.Total()
	if r.blocks <= old || r.blocks > super.MaxBlocks || int64(r.clean) < old || int64(r.clean) > r.blocks {
		return fmt.Errorf("pool of %d blocks extended to %d, clean from %d: %w", old, r.blocks, r.clean, ErrCorrupt)
	}
	if r.blocks*BlockSize > p.dev.Size() {
		return fmt.Errorf("pool extended to %d bytes, its device has %d: %w", r.blocks*BlockSize, p.dev.Size(), ErrCorrupt)
	}
	p.blocks.setTotal(r.blocks)
	if n := int64(r.clean) - old; n > 0 {
		p.jobs.addToJob(p.jobs.newJob(0, "", "", reasonInitial, "", r.when), runs.Run{Dev: alloc.BlockID(old), Len: n})
		p.origins.wrote(0, 0, n)
	}
	if n := r.blocks - int64(r.clean); n > 0 {
		return p.blocks.alloc.Set(alloc.Run{Start: r.clean, Len: n}, alloc.InUse, alloc.Clean)
	}
	return nil
}

// recReduce: the pool has that many blocks, fewer than before. The others were clean.
type recReduce struct{ blocks int64 }

func (r *recReduce) encode(e *codec.Encoder) { e.Int(r.blocks) }

func (r *recReduce) decode(d *codec.Decoder) { r.blocks = d.Int() }

func (*recReduce) cuts() bool { return true }

func (r *recReduce) apply(p *Pool) error {
	old := p.blocks.alloc.Total()
	if r.blocks >= old || r.blocks < p.format.Window || int64(p.blocks.storeEnd()) > r.blocks {
		return fmt.Errorf("pool of %d blocks reduced to %d: %w", old, r.blocks, ErrCorrupt)
	}
	err := p.blocks.loadGroupOf(alloc.BlockID(r.blocks))
	if err == nil {
		err = p.blocks.alloc.Set(alloc.Run{Start: alloc.BlockID(r.blocks), Len: old - r.blocks}, alloc.Clean, alloc.InUse)
	}
	if err == nil {
		err = p.blocks.alloc.Shrink(r.blocks)
	}
	if err != nil {
		return err
	}
	for g := p.blocks.alloc.Groups(); g < len(p.blocks.groupPtrs); g++ {
		p.blocks.groupsCut = append(p.blocks.groupsCut, cutGroup{g, p.blocks.groupPtrs[g]})
	}
	p.blocks.setTotal(r.blocks)
	return nil
}

func (r *recReduce) prepare(p *Pool) error {
	if r.blocks <= 0 || r.blocks >= p.blocks.alloc.Total() {
		return nil // apply refuses it
	}
	return p.blocks.loadGroupOf(alloc.BlockID(r.blocks))
}
