package daemon

import (
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/erase"
)

// withRecord fills in what a job's record in the erase log will say as well.
func withRecord(i control.JobInfo, j chain.JobInfo) control.JobInfo {
	i.Kept, i.KeptBy, i.Policy, i.First, i.Who = j.Kept, j.KeptBy, control.EraseZero, j.First, j.Who
	if j.None {
		i.Policy = control.EraseNone
	}
	if j.VolumeUUID != (uuid.UUID{}) {
		i.VolumeUUID = j.VolumeUUID.String()
	}
	for _, l := range j.Layers {
		i.Layers = append(i.Layers, l.String())
	}
	return i
}

func eraseInfoOf(p *chain.Pool, s erase.Stats, now time.Time) control.EraseInfo {
	u := p.Usage()
	i := control.EraseInfo{
		Pool: p.Name(), PoolUUID: p.UUID().String(),
		Unsched: u.Unscheduled, Dirty: u.Dirty, Freeing: u.Freeing + u.Going, Failed: u.Failed, Clean: u.Clean,
		Rate: s.Rate, Bound: s.Bound, Current: s.Current, Paused: s.Paused, Window: s.Window.String(),
		MethodSet: s.Want.String(), Method: s.Method.String(), MethodWhy: s.Why, Verify: s.Verify.String(),
		Background: s.Background, Demand: s.Demand, Released: s.Released, Jobs: []control.JobInfo{}, Counters: countersOf(s),
	}
	if !s.Opens.IsZero() {
		i.Opens = &s.Opens
	}
	i.Kept = s.Kept
	if s.Trouble != nil {
		i.Trouble = s.Trouble.Error()
	}
	l := logInfoOf(p, p.Log().State())
	l.Signed, i.Log = nil, &l
	due := map[uint64]erase.Outlook{}
	i.Late = lateOf(outlooksOf(p, s, now), due)
	ahead, current := int64(0), s.Current
	for _, j := range p.EraseJobs() {
		if !j.None {
			ahead += j.Dirty
		}
		job := control.JobInfo{
			ID: j.ID, State: j.State, Volume: j.Volume, Layer: j.Layer, Reason: j.Reason, Since: j.Since,
			Freed: j.Freed, Erased: j.Erased - j.Released, Released: j.Released, Dirty: j.Dirty, Failed: j.Failed, Error: j.Error,
			TooLate: j.Late,
		}
		if o, ok := due[j.ID]; ok {
			job.Due, job.LateBy, job.Never, job.LateWhy = &o.At, o.Late.Seconds(), o.Never, o.Why
		}
		if j.State == "erasing" {
			job.Rate, current = current, 0 // of two that share a sync the first has it
		}
		if j.Dirty > 0 && !j.None {
			job.End = endOf(s, now, ahead)
		}
		i.Counters.Queue++
		i.Counters.OldestAge = max(i.Counters.OldestAge, now.Sub(j.Since).Seconds())
		i.Jobs = append(i.Jobs, withRecord(job, j))
	}
	if left := i.Dirty + i.Freeing - i.Unsched; left > 0 {
		i.End = endOf(s, now, left)
	}
	return i
}

// outlooksOf tells what becomes of each job that is due at a time.
func outlooksOf(p *chain.Pool, s erase.Stats, now time.Time) (all []erase.Outlook) {
	for _, d := range p.Deadlines() {
		all = append(all, s.Outlook(now, d))
	}
	return all
}

// lateOf sums them up, and notes each by its job, if asked to.
func lateOf(all []erase.Outlook, by map[uint64]erase.Outlook) (l control.Late) {
	for _, o := range all {
		if by != nil {
			by[o.Job] = o
		}
	}
	var o erase.Outlook
	if o, l.Jobs, l.Broken = erase.Worst(all); l.Jobs > 0 {
		l.Job, l.Due, l.By, l.Never, l.Why = o.Job, o.At.UTC().Format(time.RFC3339), o.Late.Seconds(), o.Never, o.Why
	}
	return l
}

// endOf is when so many bytes will be zero: at the rate that holds, or, where that is unlimited, at the present one.
func endOf(s erase.Stats, now time.Time, bytes int64) *time.Time {
	rate := s.Bound
	if rate == 0 {
		rate = s.Current
	}
	end := s.Window.End(now, bytes, rate)
	if s.Paused || end.IsZero() {
		return nil
	}
	return &end
}

func countersOf(s erase.Stats) control.EraseCounters {
	c := control.EraseCounters{
		Methods: map[string]control.EraseAmounts{}, FailedBytes: s.Failed,
		Errors: map[string]int64{
			"zero": s.Errors.Zero, "read": s.Errors.Read, "verify": s.Errors.Verify, "sync": s.Errors.Sync, "report": s.Errors.Report,
			"next": s.Errors.Next,
		},
		Latency: map[string]control.LatencyCounts{"step": latencyOf(s.Step), "sync": latencyOf(s.Sync)},
	}
	for m := blockdev.Overwrite; m <= blockdev.Release; m++ {
		c.Methods[m.String()] = control.EraseAmounts(s.Methods[m])
	}
	return c
}

func latencyOf(l erase.Latency) control.LatencyCounts {
	return control.LatencyCounts{
		Count: l.Count, Sum: l.Sum.Seconds(), P50: l.Quantile(0.5).Seconds(), P99: l.Quantile(0.99).Seconds(), Max: l.Max.Seconds(),
	}
}
