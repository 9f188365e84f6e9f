package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// destroyFlags are the flags of destroy.
type destroyFlags struct {
	snapshots, clones, deferred, verbose, wait, dryRun, now bool
	show.Format
}

const destroyHelp = `Destroys a volume, or snapshots of one. It returns at once; what is freed is erased in the background, and nothing gets
it before. --wait waits for that.

SNAPS are names of snapshots with commas between, and ranges: A%B is from A to B in the order of their making, both included, A%
is A and all after it, %B all up to B, and % all. DIR@SNAPS means those of each volume in DIR that has them, of a range where both
ends are there. What refuses one of them refuses all, before anything is done. Then they go in order: after a crash in the
middle the same command does the rest.

A volume with snapshots needs -r. What clones hang on is refused: -R destroys the clones too, -d lets them live, and
keeps what they need. What is open is refused as well.

Where the pool's property destroy_delay is set, what is destroyed is kept for that time: list -t destroyed shows it,
undestroy brings it back, and it is erased after it. --now keeps nothing. -vp has lines "kept", with the name, the time in
seconds since 1970 and the ID.`

func (a *app) destroyCmd() *cobra.Command {
	var f destroyFlags
	cmd := &cobra.Command{
		Use:   "destroy [-rRdnvp] [--now] [--wait] FILE|FILE@SNAPS|DIR@SNAPS",
		Short: "Destroy a volume or snapshots",
		Long:  destroyHelp,
		Example: `  slatefs destroy /mnt/lab/vm.raw@clean
  slatefs destroy /mnt/lab/vm.raw@mon,tue,wed
  slatefs destroy /mnt/lab/vm.raw@%2026-10          # all up to that one
  slatefs destroy -rnv /mnt/lab@mon%wed             # of every volume of the pool: what would that free?
  slatefs destroy -r /mnt/lab/vm.raw                # with its snapshots
  slatefs destroy -rnv /mnt/lab/vm.raw              # what would that free?
  slatefs destroy -rv --wait /mnt/lab/vm.raw        # and return when it is erased`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.destroy(ctx, args[0], f) }),
	}
	cmd.Flags().BoolVarP(&f.snapshots, "recursive", "r", false, "a volume with its snapshots; of DIR@SNAPS the volumes below DIR as well")
	cmd.Flags().BoolVarP(&f.clones, "clones", "R", false, "clones as well, with all that they have")
	cmd.Flags().BoolVarP(&f.deferred, "defer", "d", false, "let clones live; what they need stays without a name")
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false,
		"destroy nothing; with -v say what would be freed, and when it would be erased")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say what was destroyed, and what that frees")
	cmd.Flags().BoolVar(&f.now, "now", false, "keep nothing, whatever destroy_delay says")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait until it is erased")
	f.Flags(cmd, "p")
	return cmd
}

func (a *app) destroy(ctx context.Context, arg string, f destroyFlags) error {
	find, err := a.finder()
	if err != nil {
		return err
	}
	l, o, err := objectAt(find, arg)
	if err != nil {
		return err
	}
	args := control.DestroyArgs{
		Object: o, Snapshots: f.snapshots, Clones: f.clones, Deferred: f.deferred, DryRun: f.dryRun, Now: f.now, Jobs: f.wait,
	}
	res, err := control.Destroy.Call(ctx, l, args)
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.printForecast(res, f)
	}
	if f.verbose {
		if err := printDestroyed(a.stdout, res, f.Exact); err != nil {
			return err
		}
	}
	if f.wait && len(res.Kept) > 0 {
		text := fmt.Sprintf("kept until %s, and not erased before; destroy --now keeps nothing\n", show.FormatTime(*res.Kept[0].Goes))
		_, _ = io.WriteString(a.stderr, text) //nolint:errcheck // a remark
	}
	if !f.wait || len(res.Jobs) == 0 {
		return nil
	}
	return a.waitErased(ctx, l, newEraseWait(res.Jobs))
}

// printDestroyed says what was destroyed; parsable as zfs does it, a keyword and a tab.
func printDestroyed(w io.Writer, res control.DestroyResult, parsable bool) error {
	var b strings.Builder
	for _, name := range res.Destroyed {
		if parsable {
			b.WriteString("destroy\t" + show.Escape(name) + "\n")
		} else {
			b.WriteString("destroyed " + show.Escape(name) + "\n")
		}
	}
	for _, k := range res.Kept {
		if parsable {
			fmt.Fprintf(&b, "kept\t%s\t%d\t%d\n", show.Escape(k.Name), k.Goes.Unix(), *k.ID)
		} else {
			b.WriteString(show.Printable("kept %s until %s, as ID %d\n", k.Name, show.FormatTime(*k.Goes), *k.ID))
		}
	}
	switch {
	case parsable:
		fmt.Fprintf(&b, "reclaim\t%d\n", res.Reclaim)
	case len(res.Kept) == 0:
		fmt.Fprintf(&b, "reclaims %s\n", show.FormatSize(res.Reclaim))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printForecast says what would be destroyed, and what that would free.
func (a *app) printForecast(res control.DestroyResult, f destroyFlags) error {
	if !f.verbose {
		return nil
	}
	var b strings.Builder
	for _, name := range res.Destroyed {
		if f.Exact {
			b.WriteString("destroy\t" + show.Escape(name) + "\n")
		} else {
			b.WriteString("would destroy " + show.Escape(name) + "\n")
		}
	}
	if f.Exact {
		fmt.Fprintf(&b, "reclaim\t%d\n", res.Forecast.Frees)
	} else {
		b.WriteString(forecastText(res.Forecast, a.now()) + "\n")
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// forecastText is a forecast in a line.
func forecastText(d *control.DestroyForecast, now time.Time) string {
	s := "would free " + show.FormatSize(d.Frees)
	if d.Kept > 0 {
		s += show.Printable(" (of %s; %s is still seen by %s)",
			show.FormatSize(d.Frees+d.Kept), show.FormatSize(d.Kept), strings.Join(d.SeenBy, ", "))
	}
	erased := d.Frees - d.None
	switch {
	case erased == 0:
	case d.Paused:
		s += "; erase is paused"
	case d.Done == nil:
		s += "; erase at an unlimited rate"
	default:
		s += fmt.Sprintf("; erase at %s/s done about %s", show.FormatSize(d.Rate), show.ClockTime(*d.Done, now, "15:04"))
	}
	if d.Delay != "" {
		s += fmt.Sprintf("; all that after it was kept for %s", d.Delay)
	}
	if d.None > 0 {
		s += fmt.Sprintf("; %s are not erased (erase=none)", show.FormatSize(d.None))
	}
	return s
}
