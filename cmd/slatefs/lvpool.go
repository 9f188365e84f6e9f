package main

import (
	"errors"
	"fmt"
	"slices"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// named finds a pool that is not mounted by its name: one that is known here, else one on a logical volume, which another
// host may have made. A known one is where its volume is now.
func (f *finder) named(name string) (poolRef, error) {
	k, err := f.byName(name)
	if err == nil {
		if _, isLV := host.LVArgument(k.Device); isLV {
			pools, err := f.lvs()
			p, ok := host.LVByUUID(pools, k.UUID, k.Device)
			same := host.LVsOf(pools, k.UUID)
			switch {
			case ok:
				k.Device = p.Device
			case err != nil:
				return poolRef{}, err
			case len(same) > 1:
				return poolRef{}, show.Hinted(fmt.Errorf("pool %s %s lies on %s, and on %s too: all but one are copies", name, paren(k.UUID), same[0].LV, same[1].LV),
					"slatefs pool reguid VG/LV makes one a pool of its own")
			}
		}
		return poolRef{device: k.Device, id: k.UUID, name: k.Name}, nil
	}
	if !errors.Is(err, errUnknownPool) {
		return poolRef{}, err
	}
	pools, lvErr := f.lvs()
	pools = slices.DeleteFunc(slices.Clone(pools), func(p host.LVPool) bool { return p.Name != name || p.Intent != "" })
	switch len(pools) {
	case 0:
		return poolRef{}, errors.Join(err, lvErr)
	case 1:
		return poolRef{device: pools[0].Device, id: pools[0].UUID, name: name}, nil
	}
	return poolRef{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the volume", len(pools), name, pools[0].LV, pools[1].LV)
}

// inactive finds a pool by a device that is not there: a logical volume that is not active, or none.
func (f *finder) inactive(path string, missing error) (poolRef, error) {
	n, ok := host.LVArgument(path)
	if !ok {
		return poolRef{}, missing
	}
	pools, err := f.lvs()
	for _, p := range pools {
		if p.LV == n {
			return poolRef{device: p.Device, id: p.UUID, name: p.Name}, nil
		}
	}
	if err != nil {
		return poolRef{}, errors.Join(missing, err)
	}
	return poolRef{device: n.Path(), name: path}, nil
}
