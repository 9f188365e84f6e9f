package alloc

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// ErrAside is returned for a change of a clean block that somebody has set aside.
var ErrAside = errors.New("block set aside")

// SetAside keeps r, all clean, for the caller, who gets it ready to leave clean while the plan lock is not held: FindClean
// passes by it, Findable leaves it out, and nobody can change it before PutBack. It stays clean, in Counts and on disk. A
// block that is not clean is an error that wraps ErrState, one that is set aside already ErrAside, a group that must be
// loaded first an *UnloadedError, and nothing changes.
func (p *Pool) SetAside(r Run) error {
	err := p.All(r, Clean)
	if a := p.asideIn(r); err == nil && a.Len > 0 {
		err = fmt.Errorf("%v: %w", a, ErrAside)
	}
	if err != nil {
		return fmt.Errorf("alloc: set aside: %v: %w", r, err)
	}
	i, _ := slices.BinarySearchFunc(p.aside, r, func(a, b Run) int { return cmp.Compare(a.Start, b.Start) })
	p.aside = slices.Insert(p.aside, i, r)
	p.asideN += r.Len
	return nil
}

// PutBack ends the SetAside of exactly r; it panics when there was none.
func (p *Pool) PutBack(r Run) {
	i := slices.Index(p.aside, r)
	if i < 0 {
		panic(fmt.Sprintf("alloc: put back: %v was not set aside", r))
	}
	p.aside = slices.Delete(p.aside, i, i+1)
	p.asideN -= r.Len
	for g := p.Group(r.Start); g <= p.Group(r.End()-1); g++ {
		p.gained(g) // what was measured was measured without it
	}
}

// Aside returns the number of blocks that are set aside.
func (p *Pool) Aside() int64 { return p.asideN }

// AsideEnd returns the first block after all that is set aside, 0 if nothing is.
func (p *Pool) AsideEnd() BlockID {
	if len(p.aside) == 0 {
		return 0
	}
	return p.aside[len(p.aside)-1].End()
}

// asideIn returns the first run set aside that has a block of r, with Len 0 where none has.
func (p *Pool) asideIn(r Run) Run {
	if p.asideN == 0 {
		return Run{}
	}
	i, _ := slices.BinarySearchFunc(p.aside, r.Start, func(a Run, b BlockID) int {
		if a.End() <= b {
			return -1
		}
		return 1
	})
	if i < len(p.aside) && p.aside[i].Start < r.End() {
		return p.aside[i]
	}
	return Run{}
}

// cleanIn calls fn for the clean runs of group g, whose states must be known, without what is set aside.
func (p *Pool) cleanIn(g int, fn func(Run) bool) {
	p.runsIn(g, Clean, func(r Run) bool {
		for r.Len > 0 {
			a := p.asideIn(r)
			if a.Len == 0 {
				return fn(r)
			}
			if head := int64(a.Start) - int64(r.Start); head > 0 && !fn(Run{Start: r.Start, Len: head}) {
				return false
			}
			if a.End() >= r.End() {
				return true
			}
			r = Run{Start: a.End(), Len: int64(r.End() - a.End())}
		}
		return true
	})
}
