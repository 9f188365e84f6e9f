package host

import (
	"errors"
	"fmt"
	"slices"

	"slatefs/cmd/slatefs/internal/show"
)

// named finds a pool that is not mounted by its name: one that is known here, else one on a logical volume, which another
// host may have made. A known one is where its volume is now.
func (f *Finder) named(name string) (PoolRef, error) {
	k, err := f.byName(name)
	if err == nil {
		if _, isLV := LVArgument(k.Device); isLV {
			pools, err := f.LVs()
			p, ok := LVByUUID(pools, k.UUID, k.Device)
			same := LVsOf(pools, k.UUID)
			switch {
			case ok:
				k.Device = p.Device
			case err != nil:
				return PoolRef{}, err
			case len(same) > 1:
				return PoolRef{}, show.Hinted(fmt.Errorf("pool %s %s lies on %s, and on %s too: all but one are copies",
					name, Paren(k.UUID), same[0].LV, same[1].LV),
					"slatefs pool reguid VG/LV makes one a pool of its own")
			}
		}
		return PoolRef{Device: k.Device, UUID: k.UUID, Name: k.Name}, nil
	}
	if !errors.Is(err, ErrUnknown) {
		return PoolRef{}, err
	}
	pools, lvErr := f.LVs()
	pools = slices.DeleteFunc(slices.Clone(pools), func(p LVPool) bool { return p.Name != name || p.Intent != "" })
	switch len(pools) {
	case 0:
		return PoolRef{}, errors.Join(err, lvErr)
	case 1:
		return PoolRef{Device: pools[0].Device, UUID: pools[0].UUID, Name: name}, nil
	}
	return PoolRef{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the volume", len(pools), name, pools[0].LV, pools[1].LV)
}

// inactive finds a pool by a device that is not there: a logical volume that is not active, or none.
func (f *Finder) inactive(path string, missing error) (PoolRef, error) {
	n, ok := LVArgument(path)
	if !ok {
		return PoolRef{}, missing
	}
	pools, err := f.LVs()
	for _, p := range pools {
		if p.LV == n {
			return PoolRef{Device: p.Device, UUID: p.UUID, Name: p.Name}, nil
		}
	}
	if err != nil {
		return PoolRef{}, errors.Join(missing, err)
	}
	return PoolRef{Device: n.Path(), Name: path}, nil
}
