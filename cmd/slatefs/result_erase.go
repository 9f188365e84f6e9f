package main

import (
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/erase"
)

// eraseInfo is what waits to be erased, and what was. Numbers are bytes; what was done and what went wrong are sums
// since the mount.
type eraseInfo struct {
	Pool       string     `json:"pool"`
	PoolUUID   string     `json:"pool_uuid"`
	Unsched    int64      `json:"unscheduled"` // part of dirty: of jobs with erase=none
	Dirty      int64      `json:"dirty"`
	Freeing    int64      `json:"freeing"`
	Failed     int64      `json:"failed"`
	Clean      int64      `json:"clean"`
	Rate       int64      `json:"rate"`    // upper bound, per second; 0: unlimited
	Bound      int64      `json:"bound"`   // the one that holds now: more than rate while clean is below the reserve
	Current    int64      `json:"current"` // per second, over the last seconds
	Paused     bool       `json:"paused"`
	Window     string     `json:"window"`
	Opens      *time.Time `json:"window_opens,omitempty"` // absent: it is open
	End        *time.Time `json:"end,omitempty"`          // of all, as it looks now
	MethodSet  string     `json:"method_set"`
	Method     string     `json:"method"` // auto: not known yet
	MethodWhy  string     `json:"method_reason"`
	Verify     string     `json:"verify"`
	Background int64      `json:"erased_in_background"`
	Demand     int64      `json:"erased_on_demand"`
	Released   int64      `json:"released"`          // zero, and free, and not erased
	Kept       int64      `json:"kept"`              // zero on the device; the pool did not take the report, which is tried again
	Trouble    string     `json:"trouble,omitempty"` // why nothing is handed out or no report is taken, or why the eraser rests
	Jobs       []jobInfo  `json:"jobs"`

	Counters eraseCounters `json:"counters"`
}

// eraseCounters are sums since the mount, but for what waits.
type eraseCounters struct {
	Queue       int                      `json:"queue"`              // jobs
	OldestAge   float64                  `json:"oldest_age_seconds"` // of the oldest job
	Methods     map[string]eraseAmounts  `json:"bytes_by_method"`
	Errors      map[string]int64         `json:"errors"`
	FailedBytes int64                    `json:"failed_bytes"` // each attempt counted
	Latency     map[string]latencyCounts `json:"latency"`      // of a step, of a sync
}

// eraseAmounts are bytes by what made somebody zero them.
type eraseAmounts struct {
	Background int64 `json:"background"`
	Demand     int64 `json:"on_demand"`
}

// latencyCounts are in seconds; the quantiles are right to a factor of two.
type latencyCounts struct {
	Count int64   `json:"count"`
	Sum   float64 `json:"sum_seconds"`
	P50   float64 `json:"p50_seconds"`
	P99   float64 `json:"p99_seconds"`
	Max   float64 `json:"max_seconds"`
}

// jobInfo is an erase job.
type jobInfo struct {
	ID       uint64     `json:"id"`
	State    string     `json:"state"`
	Volume   string     `json:"volume"`
	Layer    string     `json:"layer,omitempty"`
	Reason   string     `json:"reason"`
	Since    time.Time  `json:"since"`
	Freed    int64      `json:"freed"`
	Erased   int64      `json:"erased"`
	Released int64      `json:"released"`
	Dirty    int64      `json:"dirty"`
	Failed   int64      `json:"failed"`
	Error    string     `json:"error,omitempty"` // why it is failing, or failed before anything was erased
	Rate     int64      `json:"rate"`            // per second now
	End      *time.Time `json:"end,omitempty"`   // as it looks now; absent: that cannot be said

	Kept       int64    `json:"kept"` // part of freed: others still showed it when it was destroyed
	KeptBy     string   `json:"kept_by,omitempty"`
	Policy     string   `json:"policy"`
	First      bool     `json:"first"`
	Who        string   `json:"who,omitempty"`
	VolumeUUID string   `json:"volume_uuid,omitempty"`
	Layers     []string `json:"layer_uuids,omitempty"`
}

// of fills in what a job's record in the erase log will say as well.
func (i jobInfo) of(j chain.JobInfo) jobInfo {
	i.Kept, i.KeptBy, i.Policy, i.First, i.Who = j.Kept, j.KeptBy, chain.EraseZero, j.First, j.Who
	if j.None {
		i.Policy = chain.EraseNone
	}
	if j.VolumeUUID != (uuid.UUID{}) {
		i.VolumeUUID = j.VolumeUUID.String()
	}
	for _, l := range j.Layers {
		i.Layers = append(i.Layers, l.String())
	}
	return i
}

func eraseInfoOf(p *chain.Pool, s erase.Stats, now time.Time) eraseInfo {
	u := p.Usage()
	i := eraseInfo{
		Pool: p.Name(), PoolUUID: p.UUID().String(),
		Unsched: u.Unscheduled, Dirty: u.Dirty, Freeing: u.Freeing, Failed: u.Failed, Clean: u.Clean,
		Rate: s.Rate, Bound: s.Bound, Current: s.Current, Paused: s.Paused, Window: s.Window.String(),
		MethodSet: s.Want.String(), Method: s.Method.String(), MethodWhy: s.Why, Verify: s.Verify.String(),
		Background: s.Background, Demand: s.Demand, Released: s.Released, Jobs: []jobInfo{}, Counters: countersOf(s),
	}
	if !s.Opens.IsZero() {
		i.Opens = &s.Opens
	}
	i.Kept = s.Kept
	if s.Trouble != nil {
		i.Trouble = s.Trouble.Error()
	}
	ahead, current := int64(0), s.Current
	for _, j := range p.EraseJobs() {
		if !j.None {
			ahead += j.Dirty
		}
		job := jobInfo{
			ID: j.ID, State: j.State, Volume: j.Volume, Layer: j.Layer, Reason: j.Reason, Since: j.Since,
			Freed: j.Freed, Erased: j.Erased - j.Released, Released: j.Released, Dirty: j.Dirty, Failed: j.Failed, Error: j.Error,
		}
		if j.State == "erasing" {
			job.Rate, current = current, 0 // of two that share a sync the first has it
		}
		if j.Dirty > 0 && !j.None {
			job.End = endOf(s, now, ahead)
		}
		i.Counters.Queue++
		i.Counters.OldestAge = max(i.Counters.OldestAge, now.Sub(j.Since).Seconds())
		i.Jobs = append(i.Jobs, job.of(j))
	}
	if left := i.Dirty + i.Freeing - i.Unsched; left > 0 {
		i.End = endOf(s, now, left)
	}
	return i
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

func countersOf(s erase.Stats) eraseCounters {
	c := eraseCounters{
		Methods: map[string]eraseAmounts{}, FailedBytes: s.Failed,
		Errors: map[string]int64{
			"zero": s.Errors.Zero, "read": s.Errors.Read, "verify": s.Errors.Verify, "sync": s.Errors.Sync, "report": s.Errors.Report,
			"next": s.Errors.Next,
		},
		Latency: map[string]latencyCounts{"step": latencyOf(s.Step), "sync": latencyOf(s.Sync)},
	}
	for m := blockdev.Overwrite; m <= blockdev.Release; m++ {
		c.Methods[m.String()] = eraseAmounts(s.Methods[m])
	}
	return c
}

func latencyOf(l erase.Latency) latencyCounts {
	return latencyCounts{l.Count, l.Sum.Seconds(), l.Quantile(0.5).Seconds(), l.Quantile(0.99).Seconds(), l.Max.Seconds()}
}
