package exporter

import (
	"slatefs/cmd/slatefs/internal/control"
)

// What the tables are made of.
type (
	metrics = control.PoolMetrics
	usage   = control.Usage
	volume  = control.VolumeMetrics
)

// put tells a number of a family, with the labels that it has beside the pool's.
type put func(v float64, labels ...string)

// family is numbers of one name: a gauge, or a counter where the name ends in _total.
type family struct {
	name, help string
	labels     []string // beside the pool's
	of         func(m *metrics, put put)
}

// one makes a family of one number for each pool.
func one(name, help string, of func(m *metrics) float64) family {
	return family{name, help, nil, func(m *metrics, put put) { put(of(m)) }}
}

// bytes is one of bytes, or of anything that is counted.
func bytes(name, help string, of func(u *usage, m *metrics) int64) family {
	return one(name, help, func(m *metrics) float64 { return float64(of(&m.Info.Usage, m)) })
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// poolFamilies are of each pool that answers.
var poolFamilies = []family{
	{
		"slatefs_pool_info", "What a pool is, and who serves it. The value is 1.",
		[]string{"uuid", "device", "mountpoint", "transport", "version"},
		func(m *metrics, put put) {
			l := &m.Info.Live
			put(1, l.UUID.String(), shown(l.Device), shown(l.Dir), m.Info.Transport, l.Version)
		},
	},
	one("slatefs_pool_start_time_seconds", "When the daemon began: what is counted is since then.", func(m *metrics) float64 {
		return float64(m.Info.Live.Started.UnixNano()) / 1e9
	}),
	one("slatefs_pool_read_only", "1 if an error made the pool read-only.", func(m *metrics) float64 {
		return yes(m.Info.Failed != "")
	}),
	one("slatefs_pool_mounted_read_only", "1 if it was mounted for reading.", func(m *metrics) float64 {
		return yes(m.Info.Reading)
	}),
	bytes("slatefs_pool_open_files", "Opens of volumes and snapshots.", func(_ *usage, m *metrics) int64 {
		return int64(m.Info.OpenFiles)
	}),
	bytes("slatefs_pool_takeovers_total", "How often another daemon went on with the mount.", func(_ *usage, m *metrics) int64 {
		return int64(m.Info.Takeovers)
	}),
	one("slatefs_pool_takeover_possible", "1 if the mount outlives its daemon.", func(m *metrics) float64 {
		return yes(m.Info.NoTakeover == "")
	}),

	bytes("slatefs_pool_size_bytes", "What the pool has of its device.", func(u *usage, _ *metrics) int64 { return u.Total }),
	bytes("slatefs_pool_available_bytes", "What can be written by those to whom nothing is promised.", func(u *usage, _ *metrics) int64 {
		return u.Avail
	}),
	{
		"slatefs_pool_blocks_bytes", "What the blocks of the pool are, by state; together they are its size.",
		[]string{"state"},
		func(m *metrics, put put) {
			u := &m.Info.Usage
			put(float64(u.Live), "live")
			put(float64(u.Meta), "metadata")
			put(float64(u.Clean), "clean")
			put(float64(u.Claimed), "claimed")
			put(float64(u.Dirty), "dirty")
			put(float64(u.Freeing), "freeing")
			put(float64(u.Failed), "failed")
		},
	},
	bytes("slatefs_pool_stranded_bytes", "Part of what is freeing, and can't be found now.", func(u *usage, _ *metrics) int64 {
		return u.Stranded
	}),
	bytes("slatefs_pool_reserve_bytes", "What is kept for what frees.", func(u *usage, _ *metrics) int64 { return u.Reserve }),
	bytes("slatefs_pool_promised_bytes", "What is promised and not written yet.", func(u *usage, _ *metrics) int64 {
		return u.Promised
	}),
	bytes("slatefs_pool_metadata_promised_bytes", "Metadata that promises may need.", func(u *usage, _ *metrics) int64 {
		return u.MetaProm
	}),
	bytes("slatefs_pool_promises_short_bytes", "What of the promises can't be kept.", func(u *usage, _ *metrics) int64 {
		return u.Short
	}),
	bytes("slatefs_pool_kept_bytes", "What was destroyed and is kept: part of live, and available.", func(u *usage, _ *metrics) int64 {
		return u.Kept
	}),
	bytes("slatefs_pool_writers_refused", "How often writers were told that there is no space now.", func(u *usage, _ *metrics) int64 {
		return u.Refused.Count
	}),
	bytes("slatefs_pool_space_notices_total", "How often space got low, or promises short.", func(_ *usage, m *metrics) int64 {
		return m.Info.Notices
	}),
	bytes("slatefs_pool_volumes", "Volumes.", func(u *usage, _ *metrics) int64 { return int64(u.Volumes) }),
	bytes("slatefs_pool_snapshots", "Snapshots.", func(u *usage, _ *metrics) int64 { return int64(u.Snapshots) }),
	bytes("slatefs_pool_layers", "Layers.", func(u *usage, _ *metrics) int64 { return int64(u.Layers) }),
	bytes("slatefs_pool_pages_repaired_total", "Pages of metadata that were damaged and repaired.", func(u *usage, _ *metrics) int64 {
		return u.Repairs
	}),

	{
		"slatefs_request_bytes_total", "Bytes read and written by requests of the mount.",
		[]string{"op"},
		func(m *metrics, put put) {
			for _, r := range m.Requests {
				if r.Op == "read" || r.Op == "write" {
					put(float64(r.Bytes), r.Op)
				}
			}
		},
	},
	{
		"slatefs_request_errors_total", "Requests of the mount that were answered with an I/O error.",
		[]string{"op"},
		func(m *metrics, put put) {
			for _, r := range m.Requests {
				put(float64(r.Failed), r.Op)
			}
		},
	},
	{
		"slatefs_device_errors_total", "What the kernel answered with an error when the device was asked.",
		[]string{"op"},
		func(m *metrics, put put) {
			put(float64(m.Device.Reads), "read")
			put(float64(m.Device.Writes), "write")
			put(float64(m.Device.Syncs), "sync")
		},
	},

	bytes("slatefs_journal_size_bytes", "The ring of the journal.", func(u *usage, _ *metrics) int64 { return u.Journal }),
	bytes("slatefs_journal_used_bytes", "What of the ring is in use.", func(u *usage, _ *metrics) int64 { return u.JournalUse }),
	bytes("slatefs_journal_commits_total", "Syncs of the log that somebody waited for.", func(_ *usage, m *metrics) int64 {
		return m.Work.Commits
	}),
	one("slatefs_journal_commit_seconds_total", "Time that commits took.", func(m *metrics) float64 { return m.Work.CommitTime }),
	bytes("slatefs_journal_batches_total", "Batches that were written to the ring.", func(_ *usage, m *metrics) int64 {
		return m.Work.Batches
	}),
	bytes("slatefs_journal_bytes_total", "Bytes of the ring that batches took.", func(_ *usage, m *metrics) int64 {
		return m.Work.BatchBytes
	}),
	bytes("slatefs_checkpoints_total", "Checkpoints.", func(_ *usage, m *metrics) int64 { return m.Work.Checkpoints }),
	bytes("slatefs_checkpoint_bytes_total", "Bytes that checkpoints wrote.", func(_ *usage, m *metrics) int64 {
		return m.Work.CheckpointBytes
	}),
	one("slatefs_checkpoint_seconds_total", "Time that checkpoints took.", func(m *metrics) float64 {
		return m.Work.CheckpointTime
	}),
	{
		"slatefs_checkpoint_last_seconds", "Time that the last checkpoint took.", nil,
		func(m *metrics, put put) {
			if m.Work.LastAgo >= 0 {
				put(m.Work.LastCheckpoint)
			}
		},
	},
	{
		"slatefs_checkpoint_last_timestamp_seconds", "When the last checkpoint ended.", nil,
		func(m *metrics, put put) {
			if m.Work.LastAgo >= 0 {
				put(float64(m.Info.Asked.UnixNano())/1e9 - m.Work.LastAgo)
			}
		},
	},

	bytes("slatefs_cache_used_bytes", "Pages of metadata in memory that are on the device as well.", func(_ *usage, m *metrics) int64 {
		return m.Cache.Used
	}),
	bytes("slatefs_cache_limit_bytes", "What these may take.", func(_ *usage, m *metrics) int64 { return m.Cache.Limit }),
	bytes("slatefs_cache_dirty_bytes", "Metadata that waits for a checkpoint.", func(_ *usage, m *metrics) int64 {
		return m.Cache.Dirty
	}),
	bytes("slatefs_cache_hits_total", "Pages that were found in memory.", func(_ *usage, m *metrics) int64 {
		return m.Cache.Hits
	}),
	bytes("slatefs_cache_misses_total", "Pages that were read from the device.", func(_ *usage, m *metrics) int64 {
		return m.Cache.Misses
	}),
	bytes("slatefs_memory_limit_bytes", "What the daemon may take.", func(_ *usage, m *metrics) int64 {
		return m.Info.Memory.Limit
	}),
	bytes("slatefs_memory_used_bytes", "What the daemon takes.", func(_ *usage, m *metrics) int64 { return m.Info.Memory.Used }),
	bytes("slatefs_memory_peak_bytes", "What the daemon took at most.", func(_ *usage, m *metrics) int64 {
		return m.Info.Memory.Most
	}),
}
