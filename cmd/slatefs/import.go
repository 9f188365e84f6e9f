package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) importCmd() *cobra.Command {
	var (
		props []string
		from  source
		dry   bool
	)
	cmd := &cobra.Command{
		Use:   "import [-n] [-f FORMAT] [--below NAME]… [-o PROP=VALUE]… IMAGE NEWFILE",
		Short: "Make a volume of a raw image, or with its snapshots of a chain of qcow2 images",
		Long: `Makes the volume NEWFILE of IMAGE: a raw file, a block device, or the newest one of a chain of qcow2 images, as Proxmox VE keeps
them in a volume group (snap_VOLUME_NAME.qcow2) or a directory (snap-NAME-VOLUME.qcow2). Each image below it becomes a snapshot of
that NAME, the oldest first, and each has only the bytes of its own. All are compared with the source by qemu-img before the
command returns. The source is only read. While a qemu runs from it, or a block device of it is mounted or held, it is refused.

IMAGE is qcow2 if its name ends so, else raw; what it begins with its guest may have written. What an image says lies below it must
lie in the same directory, raw or qcow2 by its own word, and be called a snapshot of the same volume, or be named by --below:
in a volume group the disks of all guests lie side by side. Anything else is refused. So are encrypted and compressed images, and
those with snapshots or data elsewhere, and chains of more than 200 images.

Until it is whole and was compared the volume is called NEWFILE.importing. If the import fails or is interrupted nothing is left;
what one leaves that was killed the next import to NEWFILE takes away. It knows that by a mark, the attribute user.slatefs.importing:
a volume of that name without it is refused, and stays. What carries the mark gets no automatic snapshots.

Properties for -o:` + propHelp(control.OnVolume),
		Example: `  slatefs import /dev/vg0/vm-102-disk-0.qcow2 /mnt/pve/slate/images/102/vm-102-disk-0.raw
  slatefs import -o refreservation=auto /srv/old.raw /mnt/lab/old.raw
  slatefs import -n /dev/vg0/vm-102-disk-0.qcow2 /mnt/lab/vm.raw    # what would become what?`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			settings, err := parseSettings(props, control.OnVolume)
			if err != nil {
				return err
			}
			if from.image = args[0]; from.format != "" && from.format != "raw" && from.format != "qcow2" {
				return fmt.Errorf("--format %s: want raw or qcow2: %w", show.Escape(from.format), control.ErrInvalid)
			}
			return a.importImage(ctx, from, args[1], settings, dry)
		}),
	}
	cmd.Flags().BoolVarP(&dry, "dry-run", "n", false, "only say which image would become what, and whether it would be refused")
	cmd.Flags().StringVarP(&from.format, "format", "f", "", "IMAGE is raw or qcow2, whatever its name says, as `FORMAT`")
	cmd.Flags().StringArrayVar(&from.below, "below", nil, "an image called `NAME` may lie below others: a template")
	cmd.Flags().StringArrayVarP(&props, "property", "o", nil, "set a property of the volume, as `PROP=VALUE`")
	return cmd
}

func (a *app) importImage(ctx context.Context, from source, file string, settings []control.Setting, dry bool) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGHUP) // of a terminal that went away: what was begun is taken back
	defer stop()
	file = strings.TrimRight(file, "/")
	for _, p := range []string{from.image, file} {
		if err := importable(p); err != nil {
			return err
		}
	}
	chain, err := from.chain(ctx)
	if err != nil {
		return err
	}
	release, err := holdDevices(chain)
	if err != nil {
		return err
	}
	defer release()
	names, err := snapshotNames(chain)
	if err != nil {
		return err
	}
	j := importJob{app: a, path: file, chain: chain, names: names, settings: settings}
	forecasts, err := j.admit(ctx, dry)
	if err == nil && !dry {
		err = j.run(ctx)
	}
	if err != nil {
		return err
	}
	return errors.Join(a.printImport(file, chain, names), a.printForecasts(forecasts))
}

// printImport says which image becomes what.
func (a *app) printImport(file string, chain []foreign, names []string) error {
	for i, f := range chain {
		what := file
		if i < len(names) {
			what += "@" + names[i]
		}
		if _, err := fmt.Fprintf(a.stdout, "%s of %s\n", show.Escape(what), show.Escape(f.path)); err != nil {
			return err
		}
	}
	return nil
}

// snapshotNames are the names of the snapshots that all but the last one of some images become.
func snapshotNames(chain []foreign) (names []string, err error) {
	top := chain[len(chain)-1]
	for i, f := range chain[:len(chain)-1] {
		name := layerName(f.path, top.path)
		if err := control.CheckSnapshotName(name); err != nil {
			return nil, show.Hinted(fmt.Errorf("%s: would become a snapshot: %w", f.path, err),
				"give the image another name, and rebase what lies on it")
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("%s: would be a second snapshot %s", f.path, name)
		}
		if f.size > chain[i+1].size {
			return nil, fmt.Errorf("%s: is larger than what lies on it", f.path)
		}
		names = append(names, name)
	}
	return names, nil
}
