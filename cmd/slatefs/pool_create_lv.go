package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/lvm"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// newLV is the logical volume of a pool that is to be made.
type newLV struct {
	run   *lvm.Runner
	name  lvm.Name
	bytes int64    // of a new volume; 0: it is there
	tags  []string // that an old pool left
}

// forsake ends a pool that never was: a volume that was made for it goes, one that was there loses the tags.
func (lv *newLV) forsake(ctx context.Context, tags []string) error {
	if lv.bytes > 0 {
		return lv.run.Remove(ctx, lv.name)
	}
	return lv.run.Tag(ctx, lv.name, nil, tags)
}

// wholeVolumes are the layouts of volumes that own all of their space. A thin volume, or one that keeps an origin, could
// run out of it under the pool, which has promised it.
var wholeVolumes = []string{"linear", "striped", "mirror", "raid", "raid1", "raid4", "raid5", "raid6", "raid10"}

// planLV checks all that can be checked before anything is changed.
func (a *app) planLV(ctx context.Context, n *newPool, name lvm.Name, f poolCreateFlags) error {
	if f.sparse {
		return show.Usagef("%s: --sparse is for a new pool file", name)
	}
	r, err := lvm.Find()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	n.lv = &newLV{run: r, name: name}
	if !f.dry {
		a.host.FinishLVs(ctx)
	}
	g, err := r.Group(ctx, name.VG)
	if err != nil {
		return show.Hinted(err, "%s is taken for VG/LV; a path starts with / or ./", name)
	}
	if v, ok := g.Volume(name.LV); ok {
		return a.planOldLV(ctx, n, v, f)
	}
	switch {
	case !f.size.Given:
		return show.Usagef("logical volume %s: does not exist; --size makes it, as --size 20G", name)
	case f.size.Bytes%chain.BlockSize != 0:
		return show.Usagef("--size %d: must be a multiple of %s", f.size.Bytes, show.FormatSize(chain.BlockSize))
	case g.Missing:
		return fmt.Errorf("volume group %s: a physical volume is missing", g.Name)
	}
	n.lv.bytes = (f.size.Bytes + g.Extent - 1) / g.Extent * g.Extent
	if n.lv.bytes > g.Free {
		return fmt.Errorf("volume group %s: has %s free, a logical volume of %s does not fit",
			g.Name, show.FormatSize(g.Free), show.FormatSize(n.lv.bytes))
	}
	n.growByItself()
	return bigEnough(n.lv.bytes)
}

// lvThreshold is the autoextend_threshold of a pool whose logical volume is made for it, LVM's own example.
const lvThreshold = "80"

// growByItself makes the pool grow, unless it was said when. A volume that somebody else made keeps its size.
func (n *newPool) growByItself() {
	if !slices.ContainsFunc(n.settings, func(s control.Setting) bool { return s.Name == control.PropAutoThreshold }) {
		n.settings = append(n.settings, control.Setting{Name: control.PropAutoThreshold, Value: lvThreshold})
	}
}

// planOldLV checks a volume that is there: of a kind that a pool can lie on, not in use, and, unless forced, without a
// signature that blkid knows.
func (a *app) planOldLV(ctx context.Context, n *newPool, v lvm.Volume, f poolCreateFlags) (err error) {
	if f.size.Given {
		return show.Usagef("logical volume %s: exists, --size is for a new one", v.Name)
	}
	for _, layout := range strings.Split(v.Layout, ",") {
		if !slices.Contains(wholeVolumes, layout) {
			return fmt.Errorf("logical volume %s: is %s; a pool needs one that owns its space, as linear, striped or mirrored ones do",
				v.Name, v.Layout)
		}
	}
	for _, t := range v.Tags {
		if strings.HasPrefix(t, host.TagPool) {
			n.lv.tags = append(n.lv.tags, t)
		}
	}
	undo, err := host.Activate(ctx, n.device, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	st, err := os.Stat(n.device)
	if err != nil {
		return err
	}
	n.old, err = a.deviceFree(ctx, n.device, st, f.force)
	return err
}

// makeOnLV makes the logical volume, where wanted, and a pool on it.
//
// The intent stands in the tags, by the same change of LVM's metadata that makes the volume; it goes when all is done,
// which is the moment at which the pool exists. Who finds it without this process, which has the pool's lock, undoes.
func (a *app) makeOnLV(ctx context.Context, n newPool, id uuid.UUID) (err error) {
	lock, err := a.host.LockPool(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	me, err := a.host.MachineID()
	if err != nil {
		return err
	}
	lv, intent := n.lv, hex.EncodeToString(me[:])
	tags := []string{host.TagPool, host.TagUUID + id.String(), host.TagName + n.name}
	if lv.bytes > 0 {
		tags, intent = append(tags, host.TagMade), host.TagMaking+intent
		err = lv.run.Create(ctx, lv.name, lv.bytes, append(tags, intent)...)
	} else {
		intent = host.TagTaking + intent
		err = lv.run.Tag(ctx, lv.name, append(tags, intent), lacking(lv.tags, tags))
	}
	if err != nil {
		return err
	}
	if err := a.layOnLV(ctx, n, id); err != nil {
		undoing, cancel := context.WithTimeout(context.WithoutCancel(ctx), host.LVTime)
		defer cancel()
		return errors.Join(err, lv.forsake(undoing, append(tags, intent)))
	}
	return lv.run.Tag(ctx, lv.name, nil, []string{intent})
}

// layOnLV makes the pool on a volume, which is not active afterwards.
func (a *app) layOnLV(ctx context.Context, n newPool, id uuid.UUID) error {
	undo, err := host.Activate(ctx, n.device, true)
	if err != nil {
		return err
	}
	dev, err := a.host.OpenDevice(n.device, blockdev.Options{})
	if err != nil {
		return errors.Join(err, undo())
	}
	return errors.Join(a.layVeiled(ctx, dev, n, id), dev.Close(), undo())
}

// lacking is the texts in a that are not in b.
func lacking(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
