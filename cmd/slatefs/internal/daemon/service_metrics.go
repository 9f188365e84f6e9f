package daemon

import (
	"context"
	"errors"
	"path"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/erase"
	"slatefs/fs"
)

// volumesTime is how long the volumes of a pool may take to be told: who asks waits for two seconds.
const volumesTime = time.Second

// metrics tells all numbers of the pool.
func (d *Daemon) metrics(ctx context.Context, _ control.Peer, args control.MetricsArgs) (control.PoolMetrics, error) {
	m, err := d.service.Metrics(ctx, args)
	m.Info = d.poolInfo()
	return m, err
}

// Metrics are the numbers that the pool, its eraser and the mount have; of Info what they know of it. Without the volumes it looks at
// no list that grows with what is in the pool, but for the jobs that have a deadline.
func (s *Service) Metrics(ctx context.Context, args control.MetricsArgs) (control.PoolMetrics, error) {
	m := s.poolMetrics()
	if !args.Volumes {
		return m, nil
	}
	limited, cancel := context.WithTimeout(ctx, volumesTime)
	defer cancel()
	err := s.volumeMetrics(limited, &m, chain.RootIno, "")
	if m.Left = limited.Err() != nil; m.Left {
		err = ctx.Err()
	}
	return m, err
}

func (s *Service) poolMetrics() control.PoolMetrics {
	u := s.Pool.Usage()
	w := u.Work
	m := control.PoolMetrics{
		Info: s.Info(),
		Work: control.WorkMetrics{
			Commits: w.Commits.Count, Batches: w.Batches, BatchBytes: w.BatchBytes, CommitTime: w.Commits.Time.Seconds(),
			Checkpoints: w.Checkpoints.Count, CheckpointBytes: w.CheckpointAll,
			CheckpointTime: w.Checkpoints.Time.Seconds(), LastCheckpoint: w.LastCheckpoint.Seconds(), LastAgo: w.LastAgo.Seconds(),
		},
		Cache: control.CacheMetrics{
			Used: u.Cache.Bytes, Limit: u.Cache.Limit, Dirty: u.DirtyMemory, Hits: u.Cache.Hits, Misses: u.Cache.Misses,
		},
	}
	for k, a := range s.View.Answered() {
		m.Requests = append(m.Requests, control.RequestMetrics{
			Op: fs.Kind(k).String(), Bytes: a.Bytes, Failed: a.Failed, Took: histogramOf(fs.LatencyUnit, a.Time, a.Slots[:]),
		})
	}
	if f, ok := s.Pool.Device().(interface{ Failures() blockdev.Failures }); ok {
		m.Device = control.DeviceFailures(f.Failures())
	}
	if s.Eraser != nil {
		m.Erase = eraseMetricsOf(u, s.Eraser.Stats(), s.Now())
	}
	return m
}

func eraseMetricsOf(u chain.Usage, s erase.Stats, now time.Time) control.EraseMetrics {
	c := countersOf(s)
	m := control.EraseMetrics{
		Rate: s.Rate, Bound: s.Bound, Current: s.Current, Paused: s.Paused, Shut: !s.Opens.IsZero(), Queue: u.Jobs,
		Unscheduled: u.Unscheduled, Background: s.Background, Demand: s.Demand, Released: s.Released, Failed: s.Failed, Errors: c.Errors,
		Step: histogramOf(erase.LatencyUnit, s.Step.Sum, s.Step.Slots[:]), Sync: histogramOf(erase.LatencyUnit, s.Sync.Sum, s.Sync.Slots[:]),
	}
	if !u.OldestJob.IsZero() {
		m.Oldest = max(0, now.Sub(u.OldestJob).Seconds())
	}
	if left := u.Dirty + u.Freeing + u.Going - u.Unscheduled; left > 0 {
		if end := endOf(s, now, left); end != nil {
			m.End = end.Unix()
		}
	}
	return m
}

// histogramOf is a latency as it travels; the slots are copied.
func histogramOf(first, sum time.Duration, slots []int64) control.Histogram {
	return control.Histogram{First: first.Seconds(), Sum: sum.Seconds(), Slots: append([]int64{}, slots...)}
}

// volumeMetrics adds the volumes in a directory and below it, which is called name. They follow from the names on the way: each is
// asked of the engine once.
func (s *Service) volumeMetrics(ctx context.Context, m *control.PoolMetrics, dir chain.Ino, name string) error {
	entries, err := s.entries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := path.Join(name, e.Name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case e.Type == chain.TypeFile:
			err = s.volumeMetric(m, e.Ino, at)
		case e.Type == chain.TypeDir:
			err = s.volumeMetrics(ctx, m, e.Ino, at)
		}
		if err != nil && !errors.Is(err, chain.ErrNotFound) { // it went meanwhile
			return err
		}
	}
	return nil
}

func (s *Service) volumeMetric(m *control.PoolMetrics, ino chain.Ino, name string) error {
	i, err := s.Pool.VolumeInfo(ino)
	if err != nil {
		return err
	}
	u := s.View.VolumeUse(ino)
	m.Volumes = append(m.Volumes, control.VolumeMetrics{
		Name: name, UUID: s.Pool.VolumeUUID(ino), Size: i.Size, Used: i.Used, UsedSnap: i.UsedSnap, Refer: i.Refer, Written: i.Written,
		Promised: i.UsedRefreserv, Snapshots: i.Snapshots, Read: useOf(u.Read), Write: useOf(u.Write), Flush: useOf(u.Flush),
	})
	return nil
}

func useOf(u fs.Use) control.Use {
	return control.Use{Count: u.Count, Bytes: u.Bytes, Time: u.Time.Seconds()}
}
