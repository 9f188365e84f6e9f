package chain

import (
	"context"

	"slatefs/chain/meta"
)

// erase=none: what a volume frees is not zeroed in the background. A block is zeroed all the same before anybody gets
// it, the volume that had it included (invariant 2): a writer that finds nothing clean has it done. The policy of a
// volume goes into each of its jobs when that is made, and stays what it was then.

// PropErase is the property's name, ErasePolicies its values: the default first.
const PropErase = "erase"

// The policies.
const (
	EraseZero = "zero"
	EraseNone = "none"
)

// unscheduled tells whether what a volume frees now is passed by: its own property, or the nearest directory's above.
func (p *Pool) unscheduled(vol Ino) bool {
	for at := vol; at != 0; {
		if v, ok := p.propOf(at, PropErase); ok {
			return v == EraseNone
		}
		if at == RootIno {
			return false
		}
		n, err := p.inode(at)
		if err != nil {
			return false
		}
		if at = n.parent; at == 0 { // an orphan: no directory's any more
			at = RootIno
		}
	}
	return false
}

func (p *Pool) propOf(ino Ino, name string) (string, bool) {
	v, ok, err := p.cat.get(meta.Key{Hi: rowKey(rowProperty, uint64(ino)).Hi, Lo: nameHash(name)})
	if err != nil || !ok {
		return "", false
	}
	d := decoder{b: v}
	if d.str() != name {
		return "", false
	}
	return d.str(), d.err == nil
}

// demanded is zeroNow, while which the queue hands out the jobs of erase=none as well; nil if there is none. The plan
// lock is held.
func (p *Pool) demanded() func(ctx context.Context, bytes int64) (int64, error) {
	if p.zeroNow == nil {
		return nil
	}
	zero := p.zeroNow
	count := func(n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.demand += n
	}
	return func(ctx context.Context, bytes int64) (int64, error) {
		count(1)
		defer count(-1)
		return zero(ctx, bytes)
	}
}
