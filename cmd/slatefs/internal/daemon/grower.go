package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/lvm"
	"slatefs/chain/size"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Grower makes a pool and its device larger or smaller: when told to, and, as far as the pool's properties say, by itself,
// ahead of need. On a logical volume it asks LVM first.
type Grower struct {
	dev       *blockdev.File
	pool      *chain.Pool
	log       *slog.Logger
	chronicle *chronicle // nil: nobody notes events
	lv        lvm.Name   // zero: the device is none

	turn     chan struct{}   // capacity 1: who has put something in makes the one change at a time
	runner   *lvm.Runner     // nil: not looked for yet; for who has the turn
	life     context.Context // of steps by itself: until the daemon ends
	end      context.CancelFunc
	patience time.Duration // growWait

	state     sync.Mutex // guards what follows
	now       *attempt   // nil: none runs
	threshold int64      // percent; 100: never by itself
	percent   int64
	most      int64     // bytes; 0: no bound
	failed    string    // why the last step by itself was not made
	retry     time.Time // not before
}

// NewGrower makes a grower of a pool on an open device, both of which stay the caller's. It does nothing by itself before it runs.
func NewGrower(dev *blockdev.File, pool *chain.Pool, log *slog.Logger) *Grower {
	g := &Grower{dev: dev, pool: pool, log: log, turn: make(chan struct{}, 1), patience: growWait, threshold: 100}
	g.life, g.end = context.WithCancel(context.Background())
	g.lv, _ = lvm.OfDevice(dev.Path())
	return g
}

// configure takes the pool's properties in.
func (g *Grower) configure() error {
	var n [3]int64
	for i, name := range []string{control.PropAutoThreshold, control.PropAutoPercent, control.PropAutoMax} {
		v, err := g.pool.Prop(chain.RootIno, name)
		if err != nil {
			return err
		}
		if v.Value == "none" {
			continue
		}
		if n[i], err = strconv.ParseInt(v.Value, 10, 64); err != nil {
			return fmt.Errorf("pool %s: %s: %w", g.pool.Name(), name, err)
		}
	}
	g.state.Lock()
	g.threshold, g.percent, g.most = n[0], n[1], n[2]
	g.retry, g.failed = time.Time{}, ""
	g.state.Unlock()
	if n[0] >= 100 {
		g.pool.SetGrower(nil)
	} else {
		g.pool.SetGrower(g.ask)
	}
	return nil
}

func (g *Grower) stuck() string {
	g.state.Lock()
	defer g.state.Unlock()
	return g.failed
}

// lookTime is how often the grower looks whether the pool is to grow, and retryTime how long it waits after it could not.
// A writer who finds no space asks at once.
const (
	lookTime  = 500 * time.Millisecond
	retryTime = 30 * time.Second
)

// run grows the pool ahead of need until ctx is done.
func (g *Grower) run(ctx context.Context) error {
	defer g.stop()
	t := time.NewTicker(lookTime)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		g.state.Lock()
		wait := g.threshold >= 100 || time.Now().Before(g.retry)
		again := !wait && !g.retry.IsZero()
		g.state.Unlock()
		if again {
			g.pool.Growable()
		}
		if !wait && g.wanted() {
			g.ahead(ctx)
		}
	}
}

// wanted tells whether the threshold is reached.
func (g *Grower) wanted() bool {
	total := g.pool.Size()
	avail, _ := g.pool.Headroom()
	g.state.Lock()
	defer g.state.Unlock()
	return (total-avail)*100 >= total*g.threshold
}

// step grows the pool once by itself, for somebody who lacks so many bytes, or ahead of need. That it can't is told once, in
// the log and by pool status; that somebody wants more than can be had, to him alone.
func (g *Grower) step(ctx context.Context, lack int64) error {
	before, after, err := g.change(ctx, func(total, free, unit int64) (int64, error) { return g.nextStep(total, free, unit, lack) })
	if errors.Is(err, chain.ErrNoSpace) {
		return err
	}
	g.state.Lock()
	defer g.state.Unlock()
	if err == nil {
		g.chronicle.noteResized("by itself", before, after)
		g.log.Info("the pool has grown by itself", "pool", g.pool.Name(), "from", size.Format(before), "to", size.Format(after))
		g.failed, g.retry = "", time.Time{}
		return nil
	}
	if err.Error() != g.failed {
		g.log.Warn("the pool wanted to grow, and goes on with what it has", "pool", g.pool.Name(), "size", size.Format(before), "error", err)
	}
	g.failed, g.retry = err.Error(), time.Now().Add(retryTime)
	return err
}

// nextStep is the size after a step by itself. free is what the volume group has, in extents of unit bytes; without one
// both are 0. chain.ErrNoSpace: less than lack can be had.
func (g *Grower) nextStep(total, free, unit, lack int64) (int64, error) {
	g.state.Lock()
	percent, most := g.percent, g.most
	g.state.Unlock()
	by := max(total/100*percent, unit, 4*chain.BlockSize)
	if lack += lack / 32; lack > by { // the pool keeps a part of what it gains
		by = lack
	}
	if most > 0 && total+by > most {
		if by = most - total; by < max(unit, chain.BlockSize) {
			return 0, fmt.Errorf("it has %s of an autoextend_max of %s", size.Format(total), size.Format(most))
		}
		if unit > 0 {
			by = by / unit * unit
		}
	}
	if unit > 0 && free < by {
		if by = free / unit * unit; by == 0 {
			return 0, fmt.Errorf("volume group %s: has %s free", g.lv.VG, size.Format(free))
		}
	}
	if by < lack {
		return 0, fmt.Errorf("pool %s: %s more are needed, and %s can be had: %w", g.pool.Name(), size.Format(lack),
			size.Format(by), chain.ErrNoSpace)
	}
	return (total + by) / chain.BlockSize * chain.BlockSize, nil
}

// ExtendOp is the operation of the control protocol.
func (g *Grower) ExtendOp(ctx context.Context, who control.Peer, args control.ExtendArgs) (r control.PoolSize, err error) {
	r.Before, r.After, err = g.extend(ctx, args)
	g.told(who, r)
	return r, err
}

// told logs what a command has made of the pool's size, also one that failed on its way.
func (g *Grower) told(who control.Peer, r control.PoolSize) {
	if r.After != r.Before {
		g.chronicle.noteResized(who.Op+" by "+who.String(), r.Before, r.After)
		g.log.Info("changed by a command", "command", who.Op, "pool", g.pool.Name(), "by", who.String(), "from", show.FormatSize(r.Before), "to", show.FormatSize(r.After))
	}
}

// extend makes the pool larger as it was asked to.
func (g *Grower) extend(ctx context.Context, args control.ExtendArgs) (before, after int64, err error) {
	return g.change(ctx, func(total, free, unit int64) (int64, error) {
		size := args.Size
		if args.More {
			size += total
		}
		switch {
		case size == 0 && !g.dev.IsBlockDevice():
			return 0, show.Usagef("a pool file has no size but the pool's: give one, as +10G")
		case size != 0 && size < total:
			return 0, fmt.Errorf("pool %s has %s already", g.pool.Name(), show.FormatSize(total))
		case size-total > free && unit > 0:
			return 0, fmt.Errorf("volume group %s: has %s free, %s more do not fit", g.lv.VG, show.FormatSize(free), show.FormatSize(size-total))
		}
		return size, nil
	})
}

// change makes the device larger, where it is for us to do so, and then the pool. size says how large, 0 as large as the
// device is, by what there is.
//
// LVM's change is one step, and needs no intent: a volume that is larger than its pool is an extension that did not come to
// its end, and the next one takes it in.
func (g *Grower) change(ctx context.Context, size func(total, free, unit int64) (int64, error)) (before, after int64, err error) {
	if err := g.take(ctx); err != nil {
		return 0, 0, err
	}
	defer g.leave()
	before = g.pool.Size()
	if g.lv == (lvm.Name{}) {
		bytes, err := size(before, 0, 0)
		if err == nil {
			err = g.pool.Extend(bytes)
		}
		return before, g.pool.Size(), err
	}
	ctx, cancel := context.WithTimeout(ctx, host.LVTime)
	defer cancel()
	r, v, vg, err := g.volume(ctx)
	if err != nil {
		return before, before, err
	}
	// What the volume has beyond the pool is there already.
	bytes, err := size(before, vg.Free+v.Size-before, vg.Extent)
	if err == nil && bytes > v.Size {
		err = r.Extend(ctx, g.lv, (bytes+vg.Extent-1)/vg.Extent*vg.Extent)
	}
	if err == nil {
		err = g.pool.Extend(0)
	}
	return before, g.pool.Size(), err
}

// ReduceOp is the operation of the control protocol.
func (g *Grower) ReduceOp(ctx context.Context, who control.Peer, args control.ReduceArgs) (r control.PoolSize, err error) {
	r.Before, r.After, err = g.reduce(ctx, args.Least)
	g.told(who, r)
	return r, err
}

// reduce gives the free and erased end of the pool back to the volume group, down to least bytes. The pool's new size is
// durable before the volume is cut; a volume that was not cut is taken in again by the next extension.
func (g *Grower) reduce(ctx context.Context, least int64) (before, after int64, err error) {
	if err := g.take(ctx); err != nil {
		return 0, 0, err
	}
	defer g.leave()
	before = g.pool.Size()
	if g.lv == (lvm.Name{}) {
		return before, before, fmt.Errorf("%s: is no logical volume, there is nobody to give space back to", g.dev.Path())
	}
	ctx, cancel := context.WithTimeout(ctx, host.LVTime)
	defer cancel()
	r, v, vg, err := g.volume(ctx)
	if err != nil {
		return before, before, err
	}
	after, err = g.pool.Reduce(max(least, chain.MinPool), vg.Extent)
	if err == nil && after < v.Size {
		err = errors.Join(r.Reduce(ctx, g.lv, after), g.dev.Cut())
	}
	return before, after, err
}

// volume asks LVM for the device's volume and its group. The Runner is the same each time: it knows of a command that hangs.
func (g *Grower) volume(ctx context.Context) (*lvm.Runner, lvm.Volume, lvm.Group, error) {
	if g.runner == nil {
		r, err := lvm.Find()
		if err != nil {
			return nil, lvm.Volume{}, lvm.Group{}, err
		}
		g.runner = r
	}
	v, vg, err := g.runner.Volume(ctx, g.lv)
	return g.runner, v, vg, err
}
