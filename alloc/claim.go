package alloc

import (
	"fmt"
	"math"
	"slices"
)

// Claim moves r from clean to claimed and puts it into the window, not ready: its record
// is not durable yet. Errors are those of Set. Replay claims the same way.
func (p *Pool) Claim(r Run) error {
	if err := p.move("claim", r, Clean, Claimed); err != nil {
		return err
	}
	p.win.add(r)
	return nil
}

// Restore puts r, which a checkpoint lists as window content, into the window again, not
// ready. It is for replay, before its first record: a record of an Unclaim may name blocks
// that were claimed before the checkpoint. A block that is not claimed is an error that
// wraps ErrState, at once or at Load; one that is in the window already stays there.
func (p *Pool) Restore(r Run) error {
	if err := p.move("restore", r, Claimed, Claimed); err != nil {
		return err
	}
	for b := r.Start; b < r.End(); b++ {
		one := Run{Start: b, Len: 1}
		if _, in := p.win.has(one); !in {
			p.win.add(one)
		}
	}
	return nil
}

// Ready makes r nameable: the record of its claim is durable. All of r must be in the
// window (else an error that wraps ErrNamed). A claim that was made while its group was
// not loaded is not verified: then an *UnloadedError, and Ready is called again after Load.
// On error nothing changes.
func (p *Pool) Ready(r Run) error {
	if err := p.check(r); err != nil {
		return fmt.Errorf("alloc: ready: %w", err)
	}
	if b, in := p.win.has(r); !in {
		return fmt.Errorf("alloc: ready: block %d: %w", b, ErrNamed)
	}
	err := p.each(r, func(g, lo, n int) error {
		for _, d := range p.groups[g].deltas() {
			if d.to == Claimed && int(d.lo) < lo+n && lo < int(d.lo+d.n) {
				return &UnloadedError{Group: g}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.win.markReady(r)
	return nil
}

// Use moves r from claimed to in use: mapped, or dirty after a plan that failed or was
// aborted. What the window has of r leaves it; outside replay r was named before, so that
// it has nothing. Errors are those of Set.
func (p *Pool) Use(r Run) error {
	if err := p.move("use", r, Claimed, InUse); err != nil {
		return err
	}
	p.win.remove(r)
	return nil
}

// Unclaim moves r, which no plan ever named, from claimed back to clean. All of r must be
// in the window, else an error that wraps ErrNamed, and nothing changes: a block that a
// plan has named, or that was claimed before a crash, is not clean any more. Outside replay
// r must be ready: else the record of this claim, once durable, would make a second claim
// of r ready before its own.
func (p *Pool) Unclaim(r Run) error {
	if err := p.check(r); err != nil {
		return fmt.Errorf("alloc: unclaim: %w", err)
	}
	if b, in := p.win.has(r); !in {
		return fmt.Errorf("alloc: unclaim: block %d: %w", b, ErrNamed)
	}
	if err := p.move("unclaim", r, Claimed, Clean); err != nil {
		return err
	}
	p.win.remove(r)
	return nil
}

// Unnamed returns the content of the window, ready or not, by address.
func (p *Pool) Unnamed() []Run { return runsOf(p.win.slots, math.MaxInt) }

// FirstUnnamed returns the first runs of that, at most most, and n blocks.
func (p *Pool) FirstUnnamed(n int64, most int) (out []Run) {
	for _, r := range runsOf(p.win.slots, most) {
		if n <= 0 || len(out) == most {
			break
		}
		r.Len = min(r.Len, n)
		n -= r.Len
		out = append(out, r)
	}
	return out
}

// Window is the content of the window at one instant.
type Window struct{ slots []slot }

// Window copies the window, which is less work than to list it: Runs, that Unnamed would have returned, needs no lock.
func (p *Pool) Window() Window { return Window{slices.Clone(p.win.slots)} }

// Runs returns what Unnamed would have returned at that instant.
func (w Window) Runs() []Run { return runsOf(w.slots, math.MaxInt) }

// WindowReady returns the number of blocks that Take may name.
func (p *Pool) WindowReady() int64 { return p.win.ready }

// WindowWaiting returns the number of blocks whose claim is not durable yet.
func (p *Pool) WindowWaiting() int64 { return p.win.waiting }

// ClaimedRuns returns all claimed blocks, named or not, by address. Groups that have some
// must be loaded, else an *UnloadedError.
func (p *Pool) ClaimedRuns() ([]Run, error) {
	var out []Run
	for g := range p.groups {
		if p.groups[g].counts[Claimed] == 0 {
			continue
		}
		if !p.Loaded(g) {
			return nil, &UnloadedError{Group: g}
		}
		p.runsIn(g, Claimed, func(r Run) bool {
			out = appendRun(out, r)
			return true
		})
	}
	return out, nil
}

// Abandon moves all claimed blocks to in use and empties the window: after a crash, what
// is claimed and not mapped may hold guest bytes and is dirty. It returns the runs, for the
// job that erases them. The same condition as for ClaimedRuns; on error nothing changes.
// The caller makes it durable before any later record may name one of these blocks.
func (p *Pool) Abandon() ([]Run, error) {
	runs, err := p.ClaimedRuns()
	if err != nil {
		return nil, err
	}
	for _, r := range runs {
		if err := p.Use(r); err != nil {
			return nil, err
		}
	}
	p.win = newWindow()
	return runs, nil
}
