package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) eraseStatusCmd() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "status [-Hpj] POOL",
		Short: "Show what waits to be erased",
		Long: `Shows the erase jobs of a pool, the oldest first: what was freed, and how far it is. States: queued, waiting (for I/O that
began before), walking (a map is being sorted), erasing, failed (it is tried again), unscheduled (erase=none: zeroed
only when somebody needs the blocks).`,
		Example: `  slatefs erase status lab
  slatefs erase status -Hp /mnt/lab                 # only the jobs, for scripts`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completePools(0),
		RunE: plain(func(ctx context.Context, args []string) error {
			find, err := a.finder()
			if err != nil {
				return err
			}
			l, err := find.mountedPool(args[0])
			if err != nil {
				return err
			}
			info, err := call[eraseInfo](ctx, l, opJobs, none{})
			if err != nil {
				return err
			}
			return a.printErase(info, f)
		}),
	}
	f.flags(cmd, "Hpj")
	return cmd
}

func (a *app) printErase(info eraseInfo, f format) error {
	if f.json {
		return writeJSON(a.stdout, "slatefs erase status", "erase", info)
	}
	if !f.scripted {
		if _, err := fmt.Fprint(a.stdout, eraseSummary(info, f)); err != nil || len(info.Jobs) == 0 {
			return err
		}
	}
	rows := make([][]string, len(info.Jobs))
	for i, j := range info.Jobs {
		rows[i] = []string{
			strconv.FormatUint(j.ID, 10), j.State, f.size(j.Freed), f.size(j.Erased), f.size(j.Dirty), f.size(j.Failed),
			f.time(j.Since), j.Reason, subject(j.Volume, j.Layer),
		}
	}
	return f.table(a.stdout, parseColumns("ID STATE >FREED >ERASED >DIRTY >FAILED SINCE REASON VOLUME"), rows)
}

// subject names what a job erases.
func subject(volume, layer string) string {
	if layer == "" {
		return volume
	}
	return volume + "@" + layer
}

// eraseSummary is what stands above the jobs.
func eraseSummary(info eraseInfo, f format) string {
	left := info.Dirty + info.Freeing - info.Unsched
	s := fmt.Sprintf("pool %s: ", info.Pool)
	switch rate := info.Rate; {
	case left+info.Failed == 0:
		s += "everything freed is erased"
	case info.Paused:
		s += fmt.Sprintf("%s to erase, paused", f.size(left))
	case rate == 0:
		s += fmt.Sprintf("%s to erase, unlimited rate, now %s/s", f.size(left), f.size(info.Current))
	default:
		eta := (time.Duration(float64(left)/float64(rate)) * time.Second).Round(time.Second)
		s += fmt.Sprintf("%s to erase at %s/s at most, now %s/s, %v to go", f.size(left), f.size(rate), f.size(info.Current), eta)
	}
	if info.Unsched > 0 {
		s += fmt.Sprintf("\n%s are not scheduled (erase=none): they are zeroed when somebody needs them, and never called erased", f.size(info.Unsched))
	}
	if info.Failed > 0 {
		s += fmt.Sprintf("\n%s failed to erase: they are tried again, and not used before", f.size(info.Failed))
	}
	return s + "\n"
}
