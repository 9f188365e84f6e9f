package chain

import "slatefs/chain/meta"

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
