package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

const poolDestroyHelp = `Destroys a pool that is not mounted: its device is no pool any more. A pool file is left for you to remove;
a logical volume that pool create made is removed, any other is left.

What volumes wrote stays on the device, so a pool that holds any, or has blocks that are not erased yet, is refused.
--erase zeroes all that was ever used, volumes and metadata, and reads it back, as fast as the device goes; it shows
progress, and can be started again if it was interrupted. --force erases nothing, and says what it leaves. Together
they erase the whole device of a pool that cannot be opened any more.

--certificate reads the whole device back besides, and certifies all volumes that ever were in the pool, as slatefs erase certificate does:
to FILE, as a page if that ends in .html, as JSON if in .json, else as text, and in a file of the host. Only then it is no pool any more.
FILE is there when it is whole. Where the certificate is not complete, as something was only released or the log is not what this host has
seen of it, the pool is destroyed nonetheless; the exit code is 1 then, and the error says why.`

// poolDestroyFlags are the flags of pool destroy.
type poolDestroyFlags struct {
	dry, erase, force     bool
	certificate, template string
	fields                []string
}

func (a *app) poolDestroyCmd() *cobra.Command {
	var f poolDestroyFlags
	cmd := &cobra.Command{
		Use:   "destroy [-n] [--erase [--certificate FILE]] [--force] POOL",
		Short: "Destroy a pool",
		Long:  poolDestroyHelp,
		Example: `  slatefs pool destroy lab
  slatefs pool destroy -n --erase lab               # only say what would be done
  slatefs pool destroy --erase lab                  # with all volumes, everything zeroed
  slatefs pool destroy --erase --certificate lab.html --template dc2.conf lab
  slatefs pool destroy --force ./lab.pool           # with all volumes, nothing erased`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.poolDestroy(ctx, args[0], f) }),
	}
	cmd.Flags().BoolVarP(&f.dry, "dry-run", "n", false, "only say what would be done")
	cmd.Flags().BoolVar(&f.erase, "erase", false, "zero all that was ever used first")
	cmd.Flags().BoolVar(&f.force, "force", false, "even if bytes of volumes stay on the device, or the pool is damaged")
	cmd.Flags().StringVar(&f.certificate, "certificate", "", "with --erase: certify it, in a new `FILE`")
	cmd.Flags().StringVar(&f.template, "template", "", "for the certificate: what people know, `FILE` of KEY=VALUE lines or JSON")
	cmd.Flags().StringArrayVar(&f.fields, "field", nil, "the same, as `KEY=VALUE`; goes before the template")
	return cmd
}

func (a *app) poolDestroy(ctx context.Context, arg string, flags poolDestroyFlags) error {
	if flags.certificate == "" && (flags.template != "" || len(flags.fields) > 0) || flags.certificate != "" && !flags.erase {
		return show.Usagef("--certificate is for --erase, --template and --field are for --certificate")
	}
	_, ref, err := a.unmounted(arg)
	if err != nil {
		return err
	}
	dev, release, err := a.host.Reach(ctx, ref, blockdev.Options{}, false)
	if errors.Is(err, os.ErrNotExist) && ref.UUID != uuid.Nil && flags.force && !flags.dry {
		return a.host.Forget(ref.UUID) // nothing is left of it but its name
	}
	if err != nil {
		return err
	}
	lv, onLV := host.LVArgument(ref.Device)
	lack, err := a.destroyOn(ctx, dev, ref, flags)
	err = errors.Join(err, release())
	if err == nil && onLV && !flags.dry {
		err = a.host.EndLV(ctx, lv)
	}
	if err == nil && lack != "" {
		err = fmt.Errorf("the pool on %s is destroyed, and its certificate is %s", ref.Device, lack)
	}
	return err
}

// destroyOn destroys the pool on an open device, which holds its lock. lack is why its certificate is not complete; empty: it is, or none was
// wanted.
func (a *app) destroyOn(ctx context.Context, dev *blockdev.File, ref host.PoolRef, flags poolDestroyFlags) (lack string, err error) {
	end := poolEnd{PoolRef: ref, left: leftAnywhere(dev)}
	defer func() { err = errors.Join(err, end.paper.drop()) }()
	if err := a.destroyIt(ctx, dev, &end, flags); err != nil || end.paper == nil {
		return "", err
	}
	return end.paper.lack, nil
}

// destroyIt finds out what ends, and ends it.
func (a *app) destroyIt(ctx context.Context, dev *blockdev.File, end *poolEnd, flags poolDestroyFlags) error {
	if i, err := chain.Identify(dev); err == nil {
		if err := a.host.HeldElsewhere(i.Name, i.Host); err != nil {
			return err
		}
	}
	p, err := chain.Open(dev, chain.Options{Properties: control.Served, Now: a.now, ReadOnly: true})
	switch {
	case errors.Is(err, chain.ErrNotPool):
		return fmt.Errorf("%s: %w", end.Device, err)
	case err != nil && !flags.force:
		return show.Hinted(fmt.Errorf("%s: %w", end.Device, err),
			"--force destroys what is left of it, --erase --force zeroes the whole device, and with --certificate goes on with one that was begun")
	case err == nil:
		end.Name, end.UUID = p.Name(), p.UUID()
		unlock, err := a.lockCopy(end.UUID, dev) // against the same pool through a loop device
		if err != nil {
			return errors.Join(err, p.Close())
		}
		defer func() { _ = unlock() }() //nolint:errcheck // it ends with the process
		usage := p.Usage()
		end.usage = &usage
		if end.left, err = leftBy(p); err == nil {
			end.paper, err = a.paperOf(ctx, p, dev, end.PoolRef, flags)
		}
		if err := errors.Join(err, p.Close()); err != nil {
			return err
		}
	default:
		if end.paper, err = a.paperOf(ctx, nil, dev, end.PoolRef, flags); err != nil {
			return err
		}
	}
	if err := end.allowed(flags); err != nil {
		return err
	}
	if flags.dry {
		_, err := fmt.Fprintln(a.stdout, show.Escape(end.forecast(flags)))
		return err
	}
	return a.endPool(ctx, dev, end, flags)
}

// endPool does it.
func (a *app) endPool(ctx context.Context, dev *blockdev.File, end *poolEnd, flags poolDestroyFlags) (err error) {
	if end.paper != nil {
		if err := a.begin(end.paper); err != nil {
			return err
		}
	}
	if flags.erase {
		if end.did, err = a.eraseAll(ctx, dev, end.left); err != nil {
			return err
		}
	}
	if end.paper != nil {
		if err := a.finish(ctx, end.paper, dev, *end); err != nil {
			return err
		}
	}
	if err := a.host.MarkEnding(ctx, end.Device); err != nil {
		return err
	}
	if err := super.Wipe(dev); err != nil {
		return err
	}
	a.host.Gone(end.UUID, end.Device)
	if _, err := a.host.KnownAs(end.UUID); err != nil { // it was no copy
		if err := a.host.DropSettings(end.UUID); err != nil {
			a.warnOnce("the pool is gone, but what this host did for it is left: %v", err)
		}
		if err := a.host.DropKey(end.UUID); err != nil {
			a.warnOnce("the pool is gone, but its key is left: %v", err)
		}
	}
	if text := end.leaves(); text != "" && !flags.erase {
		if err := a.note("left on %s, not erased: %s", end.Device, text); err != nil {
			return err
		}
	}
	if !dev.IsBlockDevice() {
		return a.note("the pool file is left: rm %s", end.Device)
	}
	return nil
}

// poolEnd is a pool that is to be destroyed.
type poolEnd struct {
	host.PoolRef
	usage *chain.Usage // nil: it cannot be opened
	left  leftovers
	paper *endPaper                // nil: none is wanted
	did   map[blockdev.Method]bool // what zeroed
}

// leaves says what of volumes is on the device; empty: nothing.
func (e poolEnd) leaves() string {
	u := e.usage
	if u == nil {
		return "all that it held"
	}
	dirty := u.Claimed + u.Dirty + u.Freeing + u.Failed
	if u.Volumes == 0 && u.Live+dirty == 0 {
		return ""
	}
	return fmt.Sprintf("%d volumes, %s in use and %s freed", u.Volumes, show.FormatSize(u.Live), show.FormatSize(dirty))
}

// allowed refuses to leave bytes of volumes behind.
func (e poolEnd) allowed(flags poolDestroyFlags) error {
	text := e.leaves()
	if flags.erase || flags.force || text == "" {
		return nil
	}
	return show.Hinted(fmt.Errorf("pool %s: would leave on %s, not erased: %s", e.Name, e.Device, text),
		"--erase zeroes that first, --force leaves it")
}

// forecast is what -n says.
func (e poolEnd) forecast(flags poolDestroyFlags) string {
	s := "would destroy the pool on " + e.Device
	if e.usage != nil {
		s = fmt.Sprintf("would destroy pool %s on %s", e.Name, e.Device)
	}
	text := e.leaves()
	switch {
	case flags.erase && e.usage == nil:
		return fmt.Sprintf("%s, and zero the whole device, %s", s, show.FormatSize(e.left.bytes()+super.Bytes))
	case flags.erase && text != "":
		return fmt.Sprintf("%s, and zero %s: %s, and metadata", s, show.FormatSize(e.left.bytes()+super.Bytes), text)
	case flags.erase:
		return fmt.Sprintf("%s, and zero %s of metadata", s, show.FormatSize(e.left.bytes()+super.Bytes))
	case text != "":
		return fmt.Sprintf("%s, and leave, not erased: %s", s, text)
	}
	return s + ", which holds nothing"
}
