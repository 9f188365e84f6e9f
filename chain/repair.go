package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"slatefs/chain/blockdev"
	"slatefs/chain/meta"
	"slatefs/chain/super"
)

// RepairReport is what a repair has done, and what it has not.
type RepairReport struct {
	Did  []string // nothing: there was nothing to do
	Left []string // what is wrong, and stays so
}

// Repair writes anew what the device has lost of a pool's metadata and what is there a second time: superblocks, and copies of
// pages. What it copies is vouched for by checksums; guest data and what a superblock names is not
// touched, and a crash leaves each copy as it was or right. Over a blockdev.Overlay it tells what it would do.
//
// A superblock is written only if the pool opens by the other one. Where that is the older one, and the journal says that the
// lost one was in use, Open refuses; a repair follows the journal over it, and if that has no gap and all the pages that it needs are
// there, whose check finds nothing, the lost superblock is made of the older one: the state is the last one then.
//
// Where every copy of what says where blocks are free is lost it is made anew, of what says where they are used: see mend.go. Then
// one checkpoint is taken, and no block is clean that was not known to be.
//
// Errors: those of Open for a pool that is not to be touched (held by another host, of a later program, without any superblock),
// the device's, and ctx's. What cannot be repaired stands in the report.
func Repair(ctx context.Context, dev blockdev.Device, o Options) (*RepairReport, error) {
	s, slot, err := super.Read(dev)
	if err != nil {
		return nil, wrapCorrupt(err)
	}
	if err := o.mayRepair(dev, &s); err != nil {
		return nil, err
	}
	o.ReadOnly, o.ZeroNow = true, nil
	r := &repairer{ctx: ctx, dev: dev, opt: o, super: s, slot: slot, lost: super.Lost(dev, s.UUID), report: &RepairReport{}}
	for _, step := range []func() error{r.look, r.copies, r.known, r.derive, r.superblocks} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

// mayRepair refuses what Open does.
func (o Options) mayRepair(dev blockdev.Device, s *super.Block) error {
	if s.Size() > dev.Size() {
		return fmt.Errorf("pool %s has %d bytes, its device %d: %w", s.Name, s.Size(), dev.Size(), ErrCorrupt)
	}
	if unknown := s.UnknownReadOnly(); unknown != 0 {
		return fmt.Errorf("pool %s can only be opened read-only, features %s: %w", s.Name, s.Named(unknown), ErrFeature)
	}
	o.ReadOnly = false
	return o.mayHold(s)
}

// repairer is one Repair.
type repairer struct {
	ctx    context.Context
	dev    blockdev.Device
	opt    Options
	super  super.Block // the newest that can be read
	slot   int
	lost   []string // superblocks
	opens  bool     // by that one
	older  bool     // only what the journal has behind it tells that it is the older one
	report *RepairReport
}

func (r *repairer) did(format string, a ...any) { note(&r.report.Did, format, a...) }
func (r *repairer) left(what ...string) {
	for _, w := range what {
		note(&r.report.Left, "%s", w)
	}
}

// look opens the pool in memory, as it would be opened, and checks it.
func (r *repairer) look() error {
	top := r.super.Generation
	p, err := r.open(nil)
	if errors.Is(err, ErrCorrupt) && len(r.lost) > 0 {
		q, again := r.open(&top)
		switch {
		case again == nil:
			p, err = q, nil
		case !errors.Is(again, ErrCorrupt):
			return again
		}
	}
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			return err
		}
		r.left(err.Error())
		return nil
	}
	defer p.commits.journal.Close()
	c, err := p.checkMemory(r.ctx, false)
	if err != nil {
		return err
	}
	r.left(c.Errors...)
	r.left(c.Leaks...)
	beyond := top > r.super.Generation
	r.older = beyond
	if r.opens = !beyond || len(c.Errors) == 0; !r.opens {
		r.left(fmt.Sprintf("the older superblock and the journal do not come to a pool that is whole: %s", r.lost[0]))
	}
	r.super.Generation = top
	return nil
}

// open opens the pool in memory. beyond: see checkpointer.
func (r *repairer) open(beyond *uint64) (*Pool, error) {
	p := newPool(r.dev, r.opt, r.super, r.slot)
	p.persist.beyond = beyond
	if err := mount(p); err != nil {
		return nil, fmt.Errorf("pool %s: %w", r.super.Name, err)
	}
	return p, nil
}

// copies rewrites copies of pages from their twins: all that the superblock names, which the journal may have left.
func (r *repairer) copies() error {
	for turn := range copyTurns {
		n, lost, err := r.rewrite()
		if err != nil || len(lost)+int(n) == 0 {
			return err
		}
		if err := r.dev.Sync(); err != nil {
			return err
		}
		if turn == 0 {
			r.did("%d copies of metadata pages are written anew from their twins", max(n, uint64(len(lost))))
			for _, l := range lost {
				r.did("%s", l)
			}
		}
	}
	r.left("copies of metadata pages cannot be written: see to the device")
	return nil
}

// copyTurns is how often copies are written: a write that fails is no error there, and the last turn sees what is left.
const copyTurns = 3

// rewrite is one turn of copies: how many were written, or should have been, and which were lost, as far as that is known.
func (r *repairer) rewrite() (n uint64, lost []string, err error) {
	view := newPool(r.dev, r.opt, r.super, r.slot)
	view.blocks.store.ReadOnly, view.blocks.store.OnRepair = false, nil
	c, err := &CheckReport{}, wrapCorrupt(loadAlone(view))
	switch {
	case err == nil:
		c, err = view.checkMemory(r.ctx, false)
	case errors.Is(err, ErrCorrupt):
		err = r.survey(view)
	}
	return view.blocks.store.Repairs(), c.Lost, err
}

// survey reads what it can of the trees that the superblock names, where they cannot be loaded: what is read is repaired.
func (r *repairer) survey(view *Pool) error {
	for _, t := range []struct {
		of   *meta.Family
		tree meta.Tree
	}{{view.blocks.groups, r.super.GroupTable}, {view.names.cat.Family, r.super.Catalog}} {
		err := t.of.SurveyPages(t.tree, func(p meta.Ptr, _ bool) error {
			view.blocks.store.Check(p)
			return nil
		}, func(meta.Ptr, error) error { return nil })
		if err != nil {
			return err
		}
	}
	return nil
}

// derive makes anew what follows from the rest, where something is wrong that has no second copy.
func (r *repairer) derive() error {
	if len(r.report.Left) == 0 || r.older {
		return nil
	}
	done, err := r.mend()
	if err != nil || !done {
		return err
	}
	if r.super, r.slot, err = super.Read(r.dev); err != nil {
		return wrapCorrupt(err)
	}
	r.lost, r.report.Left = super.Lost(r.dev, r.super.UUID), nil
	return r.look()
}

// known writes the superblocks that are lost if the pool opens by the other one, whatever becomes of the rest.
func (r *repairer) known() error {
	if len(r.lost) == 0 || !r.opens {
		return nil
	}
	sb := superblocks{core: &core{dev: r.dev}, super: r.super, slot: r.slot}
	s := r.super
	s.Generation++
	if err := sb.writeSuper(&s); err != nil {
		return err
	}
	r.did("the superblock is written anew from the other one: %s", r.lost[0])
	r.super, r.slot, r.lost = sb.super, sb.slot, nil
	return nil
}

// superblocks writes those that are lost still.
func (r *repairer) superblocks() error {
	if !r.opens {
		r.left(r.lost...)
		return nil
	}
	return r.known()
}

// Done tells whether nothing is left to repair.
func (r *RepairReport) Done() bool { return len(r.Left) == 0 }

// Same tells whether two repairs come to the same.
func (r *RepairReport) Same(o *RepairReport) bool {
	return slices.Equal(r.Did, o.Did) && slices.Equal(r.Left, o.Left)
}
