package host

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
)

// What the tags of a logical volume say of the pool on it. They are LVM's own metadata: any host that sees the volume
// group reads them, whether the volume is active or not, and they change together with the volume.
//
// An intent stands with the host that has it, in hexadecimal digits: the volume is made for a pool, or was there and is taken, or
// its pool ends. It goes when that is done. A volume that has it without a process that works on it is unfinished: the next
// command of that host undoes the first two and completes the last.
const (
	TagPool   = "slatefs"         // all of them have it
	TagUUID   = "slatefs-"        // and the pool's UUID
	TagName   = "slatefs-name="   // and the pool's name
	TagMade   = "slatefs-made"    // pool create made the volume, pool destroy removes it
	TagMaking = "slatefs-making=" // intents
	TagTaking = "slatefs-taking="
	TagEnding = "slatefs-ending="
)

var intents = []string{TagMaking, TagTaking, TagEnding}

// LVTime bounds what commands of lvm2 are waited for: they wait for each other's locks, and for devices.
const LVTime = 2 * time.Minute

// LVPool is a pool on a logical volume, as its tags tell.
type LVPool struct {
	Known
	LV     lvm.Name
	Volume lvm.Volume
	Free   int64  // of the volume group
	Intent string // one of intents, with the host; empty: it is whole
}

// lvPoolOf reads the tags of a volume; false: it is no pool's.
func lvPoolOf(v lvm.Volume, g lvm.Group) (p LVPool, ok bool) {
	if !v.Tagged(TagPool) {
		return p, false
	}
	p = LVPool{Known: Known{Device: v.Name.Path()}, LV: v.Name, Volume: v, Free: g.Free}
	for _, t := range v.Tags {
		if slices.ContainsFunc(intents, func(i string) bool { return strings.HasPrefix(t, i) }) {
			p.Intent = t
		} else if name, is := strings.CutPrefix(t, TagName); is {
			p.Name = name
		} else if id, is := strings.CutPrefix(t, TagUUID); is {
			if id, err := uuid.Parse(id); err == nil {
				p.UUID, ok = id, true
			}
		}
	}
	return p, ok
}

// LVPools lists the pools on the named volume groups, or on all that this host sees. Without lvm2, and for users who may not
// ask it, there are none. With an error those that were found are listed all the same: others may be missing.
func LVPools(ctx context.Context, names ...string) (pools []LVPool, err error) {
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
	ctx, cancel := context.WithTimeout(ctx, LVTime)
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

// LVByUUID finds the volume of a pool that is known to lie on device: that one, or where it was renamed the only one that has the
// pool's UUID. A clone of a volume group has all tags twice: which of two volumes it is then, nobody can say.
func LVByUUID(pools []LVPool, id uuid.UUID, device string) (p LVPool, ok bool) {
	same := LVsOf(pools, id)
	if i := slices.IndexFunc(same, func(p LVPool) bool { return p.At(device) }); i >= 0 {
		return same[i], true
	}
	if len(same) == 1 {
		return same[0], true
	}
	return p, false
}

// LVsOf are the volumes that have a pool's UUID; more than one: all but one are copies.
func LVsOf(pools []LVPool, id uuid.UUID) []LVPool {
	return slices.DeleteFunc(slices.Clone(pools), func(p LVPool) bool { return p.UUID != id || id == uuid.Nil })
}

// At tells whether a device is the pool's volume.
func (p LVPool) At(device string) bool {
	n, ok := LVArgument(device)
	return device == p.Device || ok && n == p.LV
}

// LVArgument tells which logical volume a device argument means: VG/LV, or a path. A path that is there means what it
// is; one that is not is a volume that may not be active.
func LVArgument(arg string) (lvm.Name, bool) {
	if IsPath(arg) {
		if _, err := os.Stat(arg); err == nil {
			return lvm.OfDevice(arg)
		}
		if !strings.HasPrefix(arg, "/dev/") || strings.HasPrefix(arg, "/dev/mapper/") ||
			!mayBeGroup(filepath.Dir(filepath.Clean(arg))) {
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

// Activate makes the device of a pool's volume, exclusively, and returns what takes it away again: always, for who is to
// leave the pool to other hosts, or only if it was not there before. On an
// error there is nothing to undo. Where the device is no logical volume nothing is done.
func Activate(ctx context.Context, device string, always bool) (undo func() error, err error) {
	undo = func() error { return nil }
	n, ok := LVArgument(device)
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
	limited, cancel := context.WithTimeout(ctx, LVTime)
	defer cancel()
	v, _, err := r.Volume(limited, n)
	if err == nil {
		err = r.Activate(limited, n)
	}
	switch {
	case err != nil && statErr != nil:
		return undo, fmt.Errorf("%w: %w", statErr, err)
	case err != nil, v.Active && !always, v.Active && !v.Tagged(TagPool):
		return undo, err
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), LVTime)
		defer cancel()
		err := r.Deactivate(ctx, n)
		if errors.Is(err, lvm.ErrInUse) {
			return nil // by somebody who came later, and takes it away
		}
		return err
	}, nil
}

// TaggedLV is the logical volume of a pool that lies at a device, and what runs lvm2 for it; nil: there is none, or an
// error.
func TaggedLV(ctx context.Context, device string) (*lvm.Runner, lvm.Name, lvm.Volume, error) {
	n, ok := LVArgument(device)
	if !ok {
		return nil, n, lvm.Volume{}, nil
	}
	r, err := lvm.Find()
	if errors.Is(err, lvm.ErrMissing) {
		return nil, n, lvm.Volume{}, nil
	}
	if err != nil {
		return nil, n, lvm.Volume{}, err
	}
	v, _, err := r.Volume(ctx, n)
	if err != nil || !v.Tagged(TagPool) {
		return nil, n, v, err
	}
	return r, n, v, nil
}

// OwnTags are the tags of a volume that are slatefs's, in a list of its own.
func OwnTags(v lvm.Volume) []string {
	return slices.DeleteFunc(slices.Clone(v.Tags), func(t string) bool { return t != TagPool && !strings.HasPrefix(t, TagUUID) })
}

// IsPath tells a path from a name.
func IsPath(arg string) bool {
	return filepath.IsAbs(arg) || arg == "." || arg == ".." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../")
}
