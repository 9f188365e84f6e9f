package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

const poolDestroyHelp = `Destroys a pool that is not mounted: its device is no pool any more. What volumes wrote stays on the device, so a pool
that holds any, or has blocks that are not erased yet, is refused unless forced: destroy the volumes, and wait with
slatefs erase wait, first. A pool file is left for you to remove.`

func (a *app) poolDestroyCmd() *cobra.Command {
	var dry, force bool
	cmd := &cobra.Command{
		Use:   "destroy [-n] [--force] POOL",
		Short: "Destroy a pool",
		Long:  poolDestroyHelp,
		Example: `  slatefs pool destroy lab
  slatefs pool destroy -n lab                       # only say what would be lost
  slatefs pool destroy --force ./lab.pool           # with all volumes, nothing erased`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePools(0),
		RunE:              plain(func(_ context.Context, args []string) error { return a.poolDestroy(args[0], dry, force) }),
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "only say what would be done")
	cmd.Flags().BoolVar(&force, "force", false, "even if bytes of volumes stay on the device")
	return cmd
}

func (a *app) poolDestroy(arg string, dry, force bool) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := f.pool(arg)
	if err != nil {
		return err
	}
	if ref.live != nil {
		return hinted(inUse(*ref.live), "slatefs umount %s", ref.live.Dir)
	}
	if _, err := os.Stat(ref.device); errors.Is(err, os.ErrNotExist) && ref.id != (uuid{}) && force && !dry {
		return a.host.forget(ref.id) // nothing is left of it but its name
	}
	dev, err := a.host.openDevice(ref.device, blockdev.Options{})
	if err != nil {
		return err
	}
	return errors.Join(a.destroyOn(dev, ref, dry, force), dev.Close())
}

// destroyOn destroys the pool on an open device, which holds its lock.
func (a *app) destroyOn(dev *blockdev.File, ref poolRef, dry, force bool) error {
	p, err := chain.Open(dev, chain.Options{Now: a.now, ReadOnly: true})
	switch {
	case errors.Is(err, chain.ErrNotPool):
		return fmt.Errorf("%s: %w", ref.device, err)
	case err != nil && !force:
		return hinted(fmt.Errorf("%s: %w", ref.device, err), "--force destroys what is left of it")
	case err == nil:
		ref.name, ref.id = p.Name(), p.UUID()
		lock, err := a.host.lockPool(ref.id) // against the same pool through a loop device
		if err != nil {
			return errors.Join(err, p.Close())
		}
		defer func() { _ = lock.release() }() //nolint:errcheck // it ends with the process
		u := p.Usage()
		if err := p.Close(); err != nil {
			return err
		}
		if err := a.mayDestroy(ref, u, dry, force); err != nil || dry {
			return err
		}
	case dry:
		_, err := fmt.Fprintf(a.stdout, "would destroy the pool on %s\n", ref.device)
		return err
	}
	if err := chain.Wipe(dev); err != nil {
		return err
	}
	if ref.id != (uuid{}) {
		if err := a.host.forget(ref.id); err != nil {
			return err
		}
	}
	if !dev.IsBlockDevice() {
		return a.note("the pool file is left: rm %s", ref.device)
	}
	return nil
}

// mayDestroy refuses to leave bytes of volumes behind, and says what would be done.
func (a *app) mayDestroy(ref poolRef, u chain.Usage, dry, force bool) error {
	left := u.Live + u.Claimed + u.Dirty + u.Freeing + u.Failed
	if !force && (u.Volumes > 0 || left > 0) {
		return hinted(fmt.Errorf("pool %s holds %d volumes, and %s on %s would stay there, not erased", ref.name, u.Volumes, formatSize(left), ref.device),
			"destroy the volumes and slatefs erase wait %s, or --force", ref.name)
	}
	if !dry {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "would destroy pool %s on %s: %d volumes, %s not erased\n", ref.name, ref.device, u.Volumes, formatSize(left))
	return err
}
