package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) eraseStatusCmd() *cobra.Command {
	var f show.Format
	cmd := &cobra.Command{
		Use:   "status [-Hpj] POOL",
		Short: "Show what waits to be erased",
		Long: `Shows by which method a pool is erased, and why by that, and its erase jobs, the oldest first: whose blocks they are, why
they were freed, how many are not zero yet, and when that will be done as it looks now. States: queued, waiting (for I/O
that began before), walking (a map is being sorted), erasing, failing (its list cannot be read now; below the table stands
why), failed (it is tried again), unscheduled (erase=none: zeroed only when somebody needs the blocks). Jobs
with an erase_deadline go first, the one that is due first before the others; what is not in time, or will not be as it looks
now, is named above the table, and each such job below it. -j has counters as well: bytes by method and by what made somebody zero them, errors by kind, the queue, its oldest job's age, and times of steps.`,
		Example: `  slatefs erase status lab
  slatefs erase status -Hp /mnt/lab                 # only the jobs, for scripts`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			l, err := a.mountedPool(args[0])
			if err != nil {
				return err
			}
			info, err := control.Jobs.Call(ctx, l, control.None{})
			if err != nil {
				return err
			}
			return a.printErase(info, f)
		}),
	}
	f.Flags(cmd, "Hpj")
	return cmd
}

func (a *app) printErase(info control.EraseInfo, f show.Format) error {
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs erase status", "erase", info)
	}
	if !f.Scripted {
		if _, err := fmt.Fprint(a.stdout, eraseSummary(info, f, a.now())); err != nil || len(info.Jobs) == 0 {
			return err
		}
	}
	rows := make([][]string, len(info.Jobs))
	for i, j := range info.Jobs {
		rate := ""
		if j.Rate > 0 {
			rate = f.Size(j.Rate) + "/s"
		}
		rows[i] = []string{
			strconv.FormatUint(j.ID, 10), j.Volume, j.Layer, j.Reason, f.Size(j.Dirty + j.Failed), rate, f.End(j.End, a.now()), j.State,
		}
	}
	if err := f.Table(a.stdout, show.Columns("ID VOLUME LAYER REASON >DIRTY >RATE ETA STATE"), rows); err != nil || f.Scripted {
		return err
	}
	for _, j := range info.Jobs {
		if j.LateWhy != "" {
			if _, err := fmt.Fprintf(a.stdout, "job %d: %s\n", j.ID, show.Escape(jobLate(j, a.now()))); err != nil {
				return err
			}
		}
		if j.Error != "" {
			if _, err := fmt.Fprintf(a.stdout, "job %d %s: %s\n", j.ID, j.State, show.Escape(j.Error)); err != nil {
				return err
			}
		}
	}
	return nil
}

// eraseSummary is what stands above the jobs.
func eraseSummary(info control.EraseInfo, f show.Format, now time.Time) string {
	left := info.Dirty + info.Freeing - info.Unsched
	s := fmt.Sprintf("pool %s: ", info.Pool)
	what := "to erase"
	if info.Method == control.MethodRelease {
		what = "to release, which is not to erase"
	}
	switch {
	case left+info.Failed == 0 && info.Released > 0:
		s += fmt.Sprintf("nothing is left to erase, but %s were released since the mount, and released is not erased",
			f.Size(info.Released))
	case left+info.Failed == 0:
		s += "everything freed is erased"
	case left == 0:
	case info.Paused:
		s += fmt.Sprintf("%s %s, paused", f.Size(left), what)
	case info.Opens != nil:
		s += fmt.Sprintf("%s %s, outside the window %s", f.Size(left), what, info.Window)
	case info.Bound == 0:
		s += fmt.Sprintf("%s %s, unlimited rate, now %s/s", f.Size(left), what, f.Size(info.Current))
	default:
		s += fmt.Sprintf("%s %s at %s/s at most, now %s/s", f.Size(left), what, f.Size(info.Bound), f.Size(info.Current))
	}
	if info.End != nil {
		s += ", done about " + f.End(info.End, now)
	}
	if info.Failed > 0 && left > 0 {
		s += "; "
	}
	if info.Failed > 0 {
		s += fmt.Sprintf("%s failed to erase: they are tried again, and not used before", f.Size(info.Failed))
	}
	if info.Unsched > 0 {
		s += fmt.Sprintf("\n%s are not scheduled (erase=none): they are zeroed when somebody needs them, and never called erased",
			f.Size(info.Unsched))
	}
	if late := control.LateText(info.Late, now); late != "" {
		s += "\n" + late
	}
	if held := control.PagesText(info.PagesHeld, now, time.Second); held != "" {
		s += "\n" + held
	}
	if info.Log != nil && info.Log.Cut != nil {
		s += "\n" + cutText(info.Log.Cut)
	}
	if info.Trouble != "" {
		s += "\nit does not go on now: " + show.Escape(info.Trouble)
	}
	return s + fmt.Sprintf("\nmethod %s: %s; verify %s\n", methodWords(info), info.MethodWhy, info.Verify)
}

// jobLate is control.LateText of one job.
func jobLate(j control.JobInfo, now time.Time) string {
	return "its deadline " + control.LateWords(*j.Due, time.Duration(j.LateBy*float64(time.Second)), j.Never, now) + ": " + j.LateWhy
}

// methodWords names the method in use, and that it was found, not set.
func methodWords(info control.EraseInfo) string {
	if info.MethodSet == info.Method {
		return info.Method
	}
	return fmt.Sprintf("%s (%s is set)", info.Method, info.MethodSet)
}
