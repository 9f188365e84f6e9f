package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// eraseLogFlags are the flags of erase log.
type eraseLogFlags struct {
	since, volume string
	export, from  string
	show.Format
}

func (a *app) eraseLogCmd() *cobra.Command {
	var f eraseLogFlags
	cmd := &cobra.Command{
		Use:   "log [-Hpj] [--since TIME] [--volume NAME|UUID] POOL|--from FILE",
		Short: "Show what was erased",
		Long: `Shows the erase log of a pool, the oldest first: a record for each job that has ended, and a line for each day and
volume for what was overwritten and discarded. In each, freed = zeroed + released + failed + kept: kept is what a destroyed
thing owned and others still showed when it was destroyed. Each record carries the SHA-256 of the one before it. The log lies in
the pool and is bounded; what leaves it is first appended to the file that erase_log_export names, and leaves its sums. -j has all
of a record, UUIDs and hashes too.

--export writes all of it to a new file, durably. --from shows such a file, or the one of erase_log_export, without the pool,
and proves that no record in it was changed, taken out, put in or moved; the exit code is 1 when some are missing.`,
		Example: `  slatefs erase log lab
  slatefs erase log --since 2026-11-01 --volume vm.raw lab
  slatefs erase log -j --since 7d lab | jq '.log[].layer_uuids'
  slatefs erase log --export /srv/evidence/lab-2026.jsonl lab
  slatefs erase log --from /srv/evidence/lab-2026.jsonl`,
		Args: arguments(0, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			if (f.from != "") == (len(args) > 0) || f.from != "" && f.export != "" {
				return show.Usagef("erase log wants a POOL, or --from FILE and no pool")
			}
			if f.from != "" {
				return a.eraseLogFrom(f)
			}
			return a.eraseLog(ctx, args[0], f)
		}),
	}
	cmd.Flags().StringVar(&f.since, "since", "",
		"only what ended at `TIME` or later: 2026-11-25, 2026-11-25T14:00, or 7d, that is 7 days ago")
	cmd.Flags().StringVar(&f.volume, "volume", "", "only this volume's, by `NAME` as it was, or UUID")
	cmd.Flags().StringVar(&f.export, "export", "", "write all of the log to a new `FILE`, as lines of JSON, with mode 0600")
	cmd.Flags().StringVar(&f.from, "from", "", "show and prove what was exported to `FILE`")
	f.Flags(cmd, "Hpj")
	return cmd
}

func (a *app) eraseLog(ctx context.Context, pool string, f eraseLogFlags) error {
	since, err := a.parseSince(f.since)
	if err != nil {
		return err
	}
	l, err := a.mountedPool(pool)
	if err != nil {
		return err
	}
	if f.export != "" {
		return a.exportLog(ctx, l, f.export)
	}
	var recs []control.EraseRecord
	info, err := control.EraseRecs.Call(ctx, l, control.None{}, func(some []control.EraseRecord) {
		recs = append(recs, f.only(some, since)...)
	})
	if err != nil {
		return err
	}
	if err := a.showLog(recs, f); err != nil {
		return err
	}
	return a.sayCut(info.Cut)
}

// sayCut says that the log does not begin with the first record, where somebody reads.
func (a *app) sayCut(c *control.LogCut) error {
	if c == nil {
		return nil
	}
	_, err := fmt.Fprintln(a.stderr, cutText(c))
	return err
}

// cutText says where the log begins, and what is known of what was before.
func cutText(c *control.LogCut) string {
	return fmt.Sprintf("the log begins at record %d; before it only sums are known: %d records, %d of them exported, freed %s, zeroed %s",
		c.Seq+1, c.Records, c.Exported, show.FormatSize(c.Freed), show.FormatSize(c.Erased))
}

// only are the records that are asked for.
func (f eraseLogFlags) only(recs []control.EraseRecord, since time.Time) []control.EraseRecord {
	return slices.DeleteFunc(recs, func(r control.EraseRecord) bool {
		other := f.volume != "" && f.volume != r.Volume && !strings.EqualFold(f.volume, r.VolumeUUID)
		return other || !since.IsZero() && r.Ended().Before(since)
	})
}

func (a *app) showLog(recs []control.EraseRecord, f eraseLogFlags) error {
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs erase log", "log", recs)
	}
	rows := make([][]string, len(recs))
	for i, r := range recs {
		id, note := strconv.FormatUint(r.ID, 10), r.Method
		if r.ID == 0 {
			id = ""
		}
		if !r.Claimed() {
			note = strings.TrimPrefix(note+", not called erased", ", ")
		}
		if r.Late > 0 {
			note = strings.TrimPrefix(note+", "+f.Size(r.Late)+" late", ", ")
		}
		rows[i] = []string{
			id, f.Time(r.Ended()), f.Size(r.Freed), f.Size(r.Erased), f.Size(r.Kept), note, r.Who, r.Reason,
			r.Title(),
		}
	}
	return f.Table(a.stdout, show.Columns("ID ENDED >FREED >ZEROED >KEPT METHOD WHO REASON VOLUME"), rows)
}

// parseSince reads a moment: a date, a date with a time, or how long ago.
func (a *app) parseSince(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if d, err := show.ParseDuration(s); err == nil && d >= 0 {
		return a.now().Add(-d), nil
	}
	return time.Time{}, show.Usagef(
		"--since %s: want a date as 2026-11-25 or 2026-11-25T14:00, or how long ago, as 24h, 7d or 2w", s)
}
