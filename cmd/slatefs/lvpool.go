package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/lvm"
	"slatefs/cmd/slatefs/internal/show"
)

// What the tags of a logical volume say of the pool on it. They are LVM's own metadata: any host that sees the volume
// group reads them, whether the volume is active or not, and they change together with the volume.
const (
	tagPool = "slatefs"       // all of them have it
	tagUUID = "slatefs-"      // and the pool's UUID
	tagName = "slatefs-name=" // and the pool's name
	tagMade = "slatefs-made"  // pool create made the volume, pool destroy removes it
	// An intent, with the host that has it: the volume is made for a pool, or was there and is taken, or its pool ends. It
	// goes when that is done. A volume that has it without a process that works on it is unfinished: the next command of
	// that host undoes the first two and completes the last.
	tagMaking = "slatefs-making="
	tagTaking = "slatefs-taking="
	tagEnding = "slatefs-ending="
)

var intents = []string{tagMaking, tagTaking, tagEnding}

// lvTime bounds what commands of lvm2 are waited for: they wait for each other's locks, and for devices.
const lvTime = 2 * time.Minute

// lvPool is a pool on a logical volume, as its tags tell.
type lvPool struct {
	known
	lv     lvm.Name
	vol    lvm.Volume
	free   int64  // of the volume group
	intent string // one of intents, with the host; empty: it is whole
}

// lvPoolOf reads the tags of a volume; false: it is no pool's.
func lvPoolOf(v lvm.Volume, g lvm.Group) (p lvPool, ok bool) {
	if !v.Tagged(tagPool) {
		return p, false
	}
	p = lvPool{known: known{Device: v.Name.Path()}, lv: v.Name, vol: v, free: g.Free}
	for _, t := range v.Tags {
		if slices.ContainsFunc(intents, func(i string) bool { return strings.HasPrefix(t, i) }) {
			p.intent = t
		} else if name, is := strings.CutPrefix(t, tagName); is {
			p.Name = name
		} else if id, is := strings.CutPrefix(t, tagUUID); is {
			if id, err := uuid.Parse(id); err == nil {
				p.UUID, ok = id, true
			}
		}
	}
	return p, ok
}

// lvPools lists the pools on the named volume groups, or on all that this host sees. Without lvm2, and for users who may not ask it,
// there are none. With an error those that were found are listed all the same: others may be missing.
func lvPools(ctx context.Context, names ...string) (pools []lvPool, err error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	r, err := lvm.Find()
	if errors.Is(err, lvm.ErrMissing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lvTime)
	defer cancel()
	groups, err := r.Groups(ctx, names...)
	for _, g := range groups {
		for _, v := range g.Volumes {
			if p, ok := lvPoolOf(v, g); ok {
				pools = append(pools, p)
			}
		}
	}
	return pools, err
}

// lvByUUID finds the volume of a pool that is known to lie on device: that one, or where it was renamed the only one that has the
// pool's UUID. A clone of a volume group has all tags twice: which of two volumes it is then, nobody can say.
func lvByUUID(pools []lvPool, id uuid.UUID, device string) (p lvPool, ok bool) {
	same := lvsOf(pools, id)
	if i := slices.IndexFunc(same, func(p lvPool) bool { return p.at(device) }); i >= 0 {
		return same[i], true
	}
	if len(same) == 1 {
		return same[0], true
	}
	return p, false
}

// lvsOf are the volumes that have a pool's UUID; more than one: all but one are copies.
func lvsOf(pools []lvPool, id uuid.UUID) []lvPool {
	return slices.DeleteFunc(slices.Clone(pools), func(p lvPool) bool { return p.UUID != id || id == uuid.Nil })
}

// at tells whether a device is the pool's volume.
func (p lvPool) at(device string) bool {
	n, ok := lvArgument(device)
	return device == p.Device || ok && n == p.lv
}

// lvArgument tells which logical volume a device argument means: VG/LV, or a path. A path that is there means what it
// is; one that is not is a volume that may not be active.
func lvArgument(arg string) (lvm.Name, bool) {
	if isPath(arg) {
		if _, err := os.Stat(arg); err == nil {
			return lvm.OfDevice(arg)
		}
		if !strings.HasPrefix(arg, "/dev/") || strings.HasPrefix(arg, "/dev/mapper/") || !mayBeGroup(filepath.Dir(filepath.Clean(arg))) {
			return lvm.Name{}, false
		}
	}
	n, err := lvm.ParseName(arg)
	return n, err == nil
}

// mayBeGroup tells whether a directory below /dev may be that of a volume group: it is not there, for no volume of the group
// is active, or it holds nothing but links to devices of the device-mapper. LVM takes no name that is there already.
func mayBeGroup(dir string) bool {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return true
	}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || !strings.HasPrefix(filepath.Base(to), "dm-") && filepath.Base(filepath.Dir(to)) != "mapper" {
			return false
		}
	}
	return err == nil && len(entries) > 0
}

// activate makes the device of a pool's volume, exclusively, and returns what takes it away again: always, for who is to
// leave the pool to other hosts, or only if it was not there before. Where the device is no logical volume nothing is done.
func activate(ctx context.Context, device string, always bool) (undo func() error, err error) {
	undo = func() error { return nil }
	n, ok := lvArgument(device)
	if !ok {
		return undo, nil
	}
	_, statErr := os.Stat(device)
	r, err := lvm.Find()
	if err != nil {
		if statErr == nil {
			return undo, nil // somebody else made the device
		}
		return undo, fmt.Errorf("%w: %w", statErr, err)
	}
	limited, cancel := context.WithTimeout(ctx, lvTime)
	defer cancel()
	v, _, err := r.Volume(limited, n)
	if err == nil {
		err = r.Activate(limited, n)
	}
	switch {
	case err != nil && statErr != nil:
		return undo, fmt.Errorf("%w: %w", statErr, err)
	case err != nil, v.Active && !always, v.Active && !v.Tagged(tagPool):
		return undo, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lvTime)
		defer cancel()
		err := r.Deactivate(ctx, n)
		if errors.Is(err, lvm.ErrInUse) {
			return nil // by somebody who came later, and takes it away
		}
		return err
	}, nil
}

// named finds a pool that is not mounted by its name: one that is known here, else one on a logical volume, which another
// host may have made. A known one is where its volume is now.
func (f *finder) named(name string) (poolRef, error) {
	k, err := f.byName(name)
	if err == nil {
		if _, isLV := lvArgument(k.Device); isLV {
			pools, err := f.lvs()
			p, ok := lvByUUID(pools, k.UUID, k.Device)
			same := lvsOf(pools, k.UUID)
			switch {
			case ok:
				k.Device = p.Device
			case err != nil:
				return poolRef{}, err
			case len(same) > 1:
				return poolRef{}, show.Hinted(fmt.Errorf("pool %s %s lies on %s, and on %s too: all but one are copies", name, paren(k.UUID), same[0].lv, same[1].lv),
					"slatefs pool reguid VG/LV makes one a pool of its own")
			}
		}
		return poolRef{device: k.Device, id: k.UUID, name: k.Name}, nil
	}
	if !errors.Is(err, errUnknownPool) {
		return poolRef{}, err
	}
	pools, lvErr := f.lvs()
	pools = slices.DeleteFunc(slices.Clone(pools), func(p lvPool) bool { return p.Name != name || p.intent != "" })
	switch len(pools) {
	case 0:
		return poolRef{}, errors.Join(err, lvErr)
	case 1:
		return poolRef{device: pools[0].Device, id: pools[0].UUID, name: name}, nil
	}
	return poolRef{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the volume", len(pools), name, pools[0].lv, pools[1].lv)
}

// inactive finds a pool by a device that is not there: a logical volume that is not active, or none.
func (f *finder) inactive(path string, missing error) (poolRef, error) {
	n, ok := lvArgument(path)
	if !ok {
		return poolRef{}, missing
	}
	pools, err := f.lvs()
	for _, p := range pools {
		if p.lv == n {
			return poolRef{device: p.Device, id: p.UUID, name: p.Name}, nil
		}
	}
	if err != nil {
		return poolRef{}, errors.Join(missing, err)
	}
	return poolRef{device: n.Path(), name: path}, nil
}
