package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// repairFlags are how pool repair was called.
type repairFlags struct {
	show.Format
	yes, takeOver bool
}

func (a *app) poolRepairCmd() *cobra.Command {
	var f repairFlags
	cmd := &cobra.Command{
		Use:   "repair [-j] [--yes] [--take-over] POOL",
		Short: "Write anew what a device has lost of a pool's metadata",
		Long: `Says what can be repaired, and does it with --yes: a lost superblock is written from the other one, and a lost copy of a page
from its twin. Each is vouched for by its checksum. Where every copy of the group table, of a group or of the free map of the metadata
store is lost, it is made anew of what says which blocks are used. Blocks that nothing names are dirty then, whether they were
clean or not: they are erased before they are used. The erase log has a record of that.

Volumes and their data are not touched. The pool may not be mounted, here or by another host; a crash meanwhile leaves each copy
as it was, or whole.

Where the superblock that is lost was the newer one a pool does not open by the other one. If the journal has all since then, and
its pages are all there, it is repaired to the last state; else nothing is written: pool salvage shows what is left.

What is wrong and cannot be repaired is listed after it. Exit code 0: nothing is wrong any more; 1: something is, or would be
repaired.`,
		Example: `  slatefs pool repair lab                           # only says what it would do
  slatefs pool repair --yes lab
  slatefs pool repair --yes /dev/vg0/lab`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.poolRepair(ctx, args[0], f) }),
	}
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&f.takeOver, "take-over", false, "even if another host holds the pool, which is off or fenced")
	f.Flags(cmd, "j")
	return cmd
}

// repairResult is what pool repair tells.
type repairResult struct {
	Pool     string   `json:"pool"`
	Device   string   `json:"device"`
	Done     bool     `json:"done"`     // what stands in repaired was done; else it would be
	Repaired []string `json:"repaired"` // in words
	Left     []string `json:"left"`     // what is wrong and cannot be repaired, in words
}

func (a *app) poolRepair(ctx context.Context, arg string, f repairFlags) (err error) {
	find, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := find.Pool(arg)
	if err != nil {
		return err
	}
	if ref.Live != nil {
		return show.Hinted(host.InUse(*ref.Live), "slatefs umount %s; a mounted pool writes by itself what it finds lost", ref.Live.Dir)
	}
	dev, name, release, err := a.reachAlone(ctx, ref)
	if errors.Is(err, super.ErrNotPool) || errors.Is(err, super.ErrCorrupt) {
		return show.Hinted(err, "slatefs pool salvage --scan %s DIR looks for volumes on the whole device", ref.Device)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	r, err := a.repair(ctx, dev, f)
	if err != nil {
		return host.TakeOverHint(fmt.Errorf("%s: %w", ref.Device, err), name)
	}
	res := repairResult{name, ref.Device, f.yes, append([]string{}, r.Did...), append([]string{}, r.Left...)}
	if f.yes && len(r.Did) > 0 {
		a.logRepair(ref.Device, res)
	}
	if err := a.printRepair(res, f); err != nil {
		return err
	}
	if len(r.Left) > 0 || len(r.Did) > 0 && !f.yes {
		return show.ErrQuiet
	}
	return nil
}

// repair repairs, or finds out over the device what that would do.
func (a *app) repair(ctx context.Context, dev *blockdev.File, f repairFlags) (*chain.RepairReport, error) {
	me, err := a.host.AsHolder(a.now())
	if err != nil {
		return nil, err
	}
	o := chain.Options{Properties: control.Served, Now: a.now, Host: me, TakeOver: f.takeOver}
	if f.yes {
		return chain.Repair(ctx, dev, o)
	}
	return chain.Repair(ctx, blockdev.NewOverlay(dev), o)
}

func (a *app) printRepair(r repairResult, f repairFlags) error {
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs pool repair", "repair", r)
	}
	word, text := "would repair", ""
	if r.Done {
		word = "repaired"
	}
	for _, d := range r.Repaired {
		text += show.Printable("%s: %s\n", word, d)
	}
	for _, l := range r.Left {
		text += show.Printable("left: %s\n", l)
	}
	switch {
	case len(r.Repaired)+len(r.Left) == 0:
		text += show.Printable("pool %s: there is nothing to repair\n", r.Pool)
	case len(r.Left) > 0:
		text += show.Printable("pool %s: %d things cannot be repaired; slatefs pool salvage copies its volumes out\n", r.Pool, len(r.Left))
	case !r.Done:
		text += show.Printable("pool %s: nothing was done; --yes does it\n", r.Pool)
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// logRepair writes into the log of the pool's daemon what was done. That it cannot is warned of: the pool is repaired.
func (a *app) logRepair(device string, r repairResult) {
	err := a.appendLog(device, func(l *slog.Logger) {
		for _, d := range r.Repaired {
			l.Warn("pool repair", "pool", r.Pool, "device", r.Device, "did", d)
		}
	})
	if err != nil {
		a.host.Warn("the repair is not in the log: %v", err)
	}
}
