package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// poolCreateFlags are the flags of pool create.
type poolCreateFlags struct {
	force, dry, sparse  bool
	assumeZero, zeroNow bool
	props               []string
	size                size
}

const poolCreateHelp = `Makes a pool on a block device or logical volume, or in a new file or logical volume of --size. DEVICE starts with / or ./,
or is VG/LV.

A new file is written with zeros, which takes its time and makes every block ready; with --sparse it is not, and blocks
cost more on their first write. A device may hold anything, a new logical volume too: all of it is erased first, in the
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
		Long:  poolCreateHelp + propHelp(chain.OnPool),
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
	cmd.Flags().BoolVar(&f.sparse, "sparse", false, "do not write a new pool file with zeros")
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
	settings []chain.Setting
	old      uuid // of the pool that is lost
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
			what = fmt.Sprintf("on a new logical volume %s of %s", n.lv.name, formatSize(n.lv.bytes))
		case n.file > 0:
			what = fmt.Sprintf("in a new file %s of %s", n.device, formatSize(n.file))
		}
		_, err := fmt.Fprint(a.stdout, printable("would create pool %s %s\n", n.name, what))
		return err
	}
	return a.makePool(ctx, n)
}

// planPool checks all that can be checked before anything is changed.
func (a *app) planPool(ctx context.Context, name, device string, f poolCreateFlags) (n newPool, err error) {
	if !poolName.MatchString(name) {
		return n, usagef("pool name %q: want letters, digits, and - _ . : inside, at most 100", name)
	}
	lv, isLV := lvArgument(device)
	if !isLV && !isPath(device) {
		return n, hinted(usagef("%s: is neither a path nor VG/LV", device), "a device starts with / or ./, as ./%s; an LV is VG/LV", device)
	}
	n = newPool{name: name, sparse: f.sparse, zeroed: f.assumeZero, zeroNow: f.zeroNow}
	if n.settings, err = parseSettings(f.props, chain.OnPool); err != nil {
		return n, err
	}
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
		return n, errors.Join(n.planFile(f), a.nameFree(ctx, name, n.device))
	case err != nil:
		return n, err
	case f.size.set || f.sparse:
		return n, usagef("%s: exists, --size and --sparse are for a new file", device)
	}
	if n.old, err = a.deviceFree(ctx, n.device, st, f.force); err != nil {
		return n, err
	}
	return n, a.nameFree(ctx, name, n.device)
}

// planFile checks the size of a new file.
func (n *newPool) planFile(f poolCreateFlags) error {
	switch {
	case isDeviceName(n.device):
		return fmt.Errorf("%s: no such device", n.device)
	case !f.size.set:
		return usagef("%s: does not exist; --size makes a new file, as --size 20G", n.device)
	case f.zeroNow || f.assumeZero:
		return usagef("%s: --zero-now and --assume-zero are for devices; a new file is zeros", n.device)
	case f.size.bytes%chain.BlockSize != 0:
		return usagef("--size %d: must be a multiple of %s", f.size.bytes, formatSize(chain.BlockSize))
	}
	n.file = f.size.bytes
	return errors.Join(bigEnough(n.file), n.roomForFile())
}

// isDeviceName tells whether a path that is not there could only be a device: it lies below /dev, and on no other file
// system than /dev itself, as /dev/shm is.
func isDeviceName(path string) bool {
	var dev, dir unix.Stat_t
	if !strings.HasPrefix(path, "/dev/") {
		return false
	}
	err := errors.Join(unix.Stat("/dev", &dev), unix.Stat(filepath.Dir(path), &dir))
	return err != nil || dev.Dev == dir.Dev
}

// roomForFile refuses a file of zeros that surely does not fit: writing it would fill the file system before it fails.
func (n *newPool) roomForFile() error {
	if n.sparse {
		return nil
	}
	dir := filepath.Dir(n.device)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if free := st.Bavail * uint64(st.Frsize); uint64(n.file) > free {
		return hinted(fmt.Errorf("%s: has %s free, a pool file of %s does not fit", dir, formatSize(int64(free)), formatSize(n.file)),
			"--sparse makes a file that takes its space when it is written to")
	}
	return nil
}

func bigEnough(bytes int64) error {
	if bytes < chain.MinPool {
		return fmt.Errorf("%s is too small for a pool, which has at least %s", formatSize(bytes), formatSize(chain.MinPool))
	}
	return nil
}

// nameFree refuses a name that another pool of this host has. Known pools that are no longer where they were do not
// count.
func (a *app) nameFree(ctx context.Context, name, device string) error {
	for _, k := range a.knownPools() {
		if k.Name != name || k.Device == device {
			continue
		}
		if a.stillThere(ctx, k) {
			return hinted(fmt.Errorf("a pool %s exists, on %s", name, k.Device), "take another name, or slatefs pool destroy %s", name)
		}
		a.warnOnce("pool %s %s, which was known to lie on %s, is forgotten: it is not there any more", k.Name, paren(k.UUID), k.Device)
		a.forget(k.UUID)
	}
	return nil
}

// makePool makes the pool, and a new file for it where wanted, which does not stay if that fails.
func (a *app) makePool(ctx context.Context, n newPool) (err error) {
	id, err := newUUID()
	if err != nil {
		return err
	}
	if n.lv != nil {
		err = a.makeOnLV(ctx, n, id)
	} else {
		err = a.makeOnDevice(ctx, n, id)
	}
	if err != nil {
		return err
	}
	if n.old != (uuid{}) {
		a.gone(n.device)
	}
	if err := a.remember(known{UUID: id, Name: n.name, Device: n.device}); err != nil {
		a.warnOnce("the pool is made, but its name is not known here: %v; slatefs mount %s DIR finds it by its device", err, n.device)
	}
	return nil
}

func (a *app) makeOnDevice(ctx context.Context, n newPool, id uuid) (err error) {
	var dev *blockdev.File
	if n.file > 0 {
		dev, err = a.createFile(ctx, n)
	} else {
		dev, err = a.host.openDevice(n.device, blockdev.Options{})
	}
	if err != nil {
		return err
	}
	err = errors.Join(a.layPool(ctx, dev, n, id), dev.Close())
	if err != nil && n.file > 0 {
		return errors.Join(err, os.Remove(n.device))
	}
	return err
}

// createFile makes a new pool file, and shows progress when that takes long. When ctx ends the file is removed; the
// process is to end then, for what writes it goes on.
func (a *app) createFile(ctx context.Context, n newPool) (*blockdev.File, error) {
	type result struct {
		f   *blockdev.File
		err error
	}
	done := make(chan result, 1)
	go func() {
		f, err := blockdev.Create(n.device, n.file, n.sparse)
		done <- result{f, err}
	}()
	var show *progress
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	for start := a.now(); ; {
		select {
		case r := <-done:
			switch {
			case show == nil:
			case r.err == nil:
				return r.f, errors.Join(show.set(n.file, n.file), show.end())
			default: // as far as it came
				return r.f, errors.Join(r.err, show.end())
			}
			return r.f, r.err
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), os.Remove(n.device))
		case <-t.C:
			if show == nil && a.now().Sub(start) > 2*time.Second {
				show = a.newProgress("zeros")
				show.start, show.last = start, start // its rate counts the time before it was shown
			}
			if st, err := os.Stat(n.device); err == nil && show != nil {
				if err := show.set(st.Size(), n.file); err != nil {
					return nil, err
				}
			}
		}
	}
}
