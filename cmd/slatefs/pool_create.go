package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// poolCreateFlags are the flags of pool create.
type poolCreateFlags struct {
	force, dry, sparse  bool
	assumeZero, zeroNow bool
	props               []string
	size                show.Size
}

const poolCreateHelp = `Makes a pool on a block device or logical volume, or in a new file or logical volume of --size. DEVICE starts with / or ./,
or is VG/LV.

A new file is written with zeros, which takes its time and makes every block ready; with --sparse only what the pool
itself needs is, and all else takes its space on the host when it is first written, if the host has some. A device may hold anything, a new logical volume too: all of it is erased first, in the
background, and can be used meanwhile. With --zero-now the command waits for that, and shows progress; --assume-zero is for
those who know that the device reads as zero everywhere: what does not could be read through the pool's volumes.
A device that is in use is refused; one that holds something needs -f.

A logical volume gets the tags slatefs, slatefs-UUID and slatefs-name=NAME, and is active only while the pool is mounted.
A pool whose logical volume is made with --size grows by itself, with autoextend_threshold=80 where -o gives none; any other
has 100, never.

Properties for -o:`

func (a *app) poolCreateCmd() *cobra.Command {
	var f poolCreateFlags
	cmd := &cobra.Command{
		Use:   "create [-f] [-n] [-o PROP=VALUE]… [--size S] [--sparse|--zero-now|--assume-zero] NAME DEVICE",
		Short: "Make a pool",
		Long:  poolCreateHelp + propHelp(control.OnPool),
		Example: `  slatefs pool create --size 20G lab /var/lib/lab.pool
  slatefs pool create --size 1T --sparse lab ./lab.pool
  slatefs pool create --size 200G vms vg0/vms       # makes the logical volume
  slatefs pool create --zero-now vms /dev/vg0/old   # one that is there
  slatefs pool create -f -o erase_throughput=200M vms /dev/sdb`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error { return a.poolCreate(ctx, args[0], args[1], f) }),
	}
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "even if the device holds something, which is lost")
	cmd.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "only say what would be done")
	cmd.Flags().StringArrayVarP(&f.props, "property", "o", nil, "set a property, as `PROP=VALUE`")
	cmd.Flags().Var(&f.size, "size", "size of a new pool file or logical volume, as 20G")
	cmd.Flags().BoolVar(&f.sparse, "sparse", false, "write only what the pool itself needs of a new pool file")
	cmd.Flags().BoolVar(&f.zeroNow, "zero-now", false, "erase the device before the command returns")
	cmd.Flags().BoolVar(&f.assumeZero, "assume-zero", false, "trust that the device reads as zero everywhere")
	cmd.MarkFlagsMutuallyExclusive("sparse", "zero-now", "assume-zero")
	return cmd
}

// newPool is a pool that is to be made.
type newPool struct {
	name     string
	device   string // absolute path
	file     int64  // bytes of a new file; 0: the device is there
	sparse   bool
	lv       *newLV // it lies on a logical volume
	zeroed   bool   // the device reads as zero everywhere
	zeroNow  bool
	settings []control.Setting // of the pool
	ofHost   []control.Setting // what this host does for it
	old      uuid.UUID         // of the pool that is lost
}

var poolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$`)

func (a *app) poolCreate(ctx context.Context, name, device string, f poolCreateFlags) error {
	n, err := a.planPool(ctx, name, device, f)
	if err != nil {
		return err
	}
	if f.dry {
		what := "on " + n.device
		switch {
		case n.lv != nil && n.lv.bytes > 0:
			what = fmt.Sprintf("on a new logical volume %s of %s", n.lv.name, show.FormatSize(n.lv.bytes))
		case n.file > 0:
			what = fmt.Sprintf("in a new file %s of %s", n.device, show.FormatSize(n.file))
		}
		_, err := fmt.Fprint(a.stdout, show.Printable("would create pool %s %s\n", n.name, what))
		return err
	}
	return a.makePool(ctx, n)
}

// planPool checks all that can be checked before anything is changed.
func (a *app) planPool(ctx context.Context, name, device string, f poolCreateFlags) (n newPool, err error) {
	if !poolName.MatchString(name) {
		return n, show.Usagef("pool name %q: want letters, digits, and - _ . : inside, at most 100", name)
	}
	lv, isLV := host.LVArgument(device)
	if !isLV && !host.IsPath(device) {
		return n, show.Hinted(show.Usagef("%s: is neither a path nor VG/LV", device),
			"a device starts with / or ./, as ./%s; an LV is VG/LV", device)
	}
	n = newPool{name: name, sparse: f.sparse, zeroed: f.assumeZero, zeroNow: f.zeroNow}
	settings, err := parseSettings(f.props, control.OnPool)
	if err != nil {
		return n, err
	}
	n.ofHost, n.settings = daemon.SplitSettings(settings)
	if isLV {
		n.device = lv.Path()
		return n, errors.Join(a.planLV(ctx, &n, lv, f), a.nameFree(ctx, name, n.device))
	}
	if n.device, err = filepath.Abs(device); err != nil {
		return n, err
	}
	st, err := os.Stat(n.device)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if !f.dry {
			a.clearHalfMade(filepath.Dir(n.device))
		}
		return n, errors.Join(n.planFile(f), a.nameFree(ctx, name, n.device))
	case err != nil:
		return n, err
	case f.size.Given || f.sparse:
		err := show.Usagef("%s: exists, --size and --sparse are for a new file", device)
		if i, held := a.identifyPath(n.device); held {
			err = show.Hinted(err, "it holds the pool %s: slatefs mount %s DIR mounts it", i.Name, device)
		}
		return n, err
	}
	if n.old, err = a.deviceFree(ctx, n.device, st, f.force); err != nil {
		return n, err
	}
	return n, a.nameFree(ctx, name, n.device)
}

func bigEnough(bytes int64) error {
	switch {
	case bytes < chain.MinPool:
		return fmt.Errorf("%s is too small for a pool, which has at least %s", show.FormatSize(bytes), show.FormatSize(chain.MinPool))
	case bytes > chain.MaxPool:
		return fmt.Errorf("%s is too big for a pool, which has at most %s", show.FormatSize(bytes), show.FormatSize(chain.MaxPool))
	}
	return nil
}

// nameFree refuses a name that another pool of this host has. Known pools that are no longer where they were do not
// count.
func (a *app) nameFree(ctx context.Context, name, device string) error {
	for _, k := range a.host.KnownPools() {
		if k.Name != name || k.Device == device {
			continue
		}
		if a.host.StillThere(ctx, k) {
			return show.Hinted(fmt.Errorf("a pool %s exists, on %s", name, k.Device),
				"take another name, or slatefs pool destroy %s", name)
		}
		a.warnOnce("pool %s %s, which was known to lie on %s, is forgotten: it is not there any more",
			k.Name, host.Paren(k.UUID), k.Device)
		a.host.Drop(k.UUID)
	}
	return nil
}

// makePool makes the pool, and a new file for it where wanted, which does not stay if that fails.
//
// A pool is there whole or not at all, wherever this process is killed: a file gets its name, a device its superblocks, and a
// logical volume its last tags when all else is durable. The registry comes last: a pool without an entry is found by its
// device.
func (a *app) makePool(ctx context.Context, n newPool) (err error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	own, err := daemon.ReadSettings(a.host, id)
	if err != nil {
		return err
	}
	undo, err := own.Change(daemon.HostSettings(n.ofHost))
	if err != nil {
		return err
	}
	switch {
	case n.lv != nil:
		err = a.makeOnLV(ctx, n, id)
	case n.file > 0:
		err = a.makeInFile(ctx, n, id)
	default:
		err = a.makeOnDevice(ctx, n, id)
	}
	if err != nil {
		return errors.Join(err, undo())
	}
	if val, set := own.Get(control.PropEraseKey); !set || val == "none" {
		if _, err := a.host.MakeKey(id); err != nil {
			a.warnOnce("the pool is made, but no key that signs its certificates: %v; it is made when it is needed", err)
		}
	}
	if n.old != uuid.Nil {
		a.host.Gone(n.old, n.device)
	}
	if err := a.host.Remember(host.Known{UUID: id, Name: n.name, Device: n.device}); err != nil {
		a.warnOnce("the pool is made, but its name is not known here: %v; slatefs mount %s DIR finds it by its device", err, n.device)
	}
	return nil
}

// makeOnDevice makes the pool on a device that is there. There is none on it, neither the old one nor the new, before all of
// the new one is durable.
func (a *app) makeOnDevice(ctx context.Context, n newPool, id uuid.UUID) error {
	dev, err := a.host.OpenDevice(n.device, blockdev.Options{})
	if err != nil {
		return err
	}
	return errors.Join(a.layVeiled(ctx, dev, n, id), dev.Close())
}
