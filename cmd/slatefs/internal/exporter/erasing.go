package exporter

import (
	"maps"
	"slices"

	"slatefs/cmd/slatefs/internal/control"
)

// eraseFamilies are of each pool that answers.
var eraseFamilies = []family{
	bytes("slatefs_erase_queue_jobs", "Jobs that wait to be erased.", func(_ *usage, m *metrics) int64 {
		return int64(m.Erase.Queue)
	}),
	one("slatefs_erase_oldest_job_seconds", "How long the oldest job waits.", func(m *metrics) float64 { return m.Erase.Oldest }),
	bytes("slatefs_erase_unscheduled_bytes", "What is dirty, and erased only when it is needed.", func(_ *usage, m *metrics) int64 {
		return m.Erase.Unscheduled
	}),
	bytes("slatefs_erase_rate_bytes", "What the background erased per second, over the last seconds.", func(_ *usage, m *metrics) int64 {
		return m.Erase.Current
	}),
	bytes("slatefs_erase_rate_limit_bytes", "What it may erase per second now; 0: there is no limit.", func(_ *usage, m *metrics) int64 {
		return m.Erase.Bound
	}),
	one("slatefs_erase_paused", "1 if somebody paused it.", func(m *metrics) float64 { return yes(m.Erase.Paused) }),
	one("slatefs_erase_window_closed", "1 if it waits for its window.", func(m *metrics) float64 { return yes(m.Erase.Shut) }),
	{
		"slatefs_erase_end_timestamp_seconds", "When all is zero, as it looks now.", nil,
		func(m *metrics, put put) {
			if m.Erase.End != 0 {
				put(float64(m.Erase.End))
			}
		},
	},
	{
		"slatefs_erase_bytes_total", "Bytes that were made zero, by what made somebody zero them.",
		[]string{"by"},
		func(m *metrics, put put) {
			put(float64(m.Erase.Background), "background")
			put(float64(m.Erase.Demand), "demand")
		},
	},
	bytes("slatefs_erase_released_bytes_total", "Part of these that was released only.", func(_ *usage, m *metrics) int64 {
		return m.Erase.Released
	}),
	bytes("slatefs_erase_failed_bytes_total", "Bytes that could not be erased, each attempt counted.", func(_ *usage, m *metrics) int64 {
		return m.Erase.Failed
	}),
	{
		"slatefs_erase_errors_total", "What went wrong while erasing.",
		[]string{"kind"},
		func(m *metrics, put put) {
			for _, kind := range slices.Sorted(maps.Keys(m.Erase.Errors)) {
				put(float64(m.Erase.Errors[kind]), kind)
			}
		},
	},
	bytes("slatefs_erase_deadlines_late", "Jobs that are not zero in time, or will not be.", func(_ *usage, m *metrics) int64 {
		return int64(m.Info.Late.Jobs)
	}),
	bytes("slatefs_erase_deadlines_broken", "Jobs that are not zero though their time is over.", func(_ *usage, m *metrics) int64 {
		return int64(m.Info.Late.Broken)
	}),
}

// histogram is durations of one name.
type histogram struct {
	name, help string
	labels     []string // beside the pool's
	of         func(m *metrics, put func(h control.Histogram, labels ...string))
}

var histograms = []histogram{
	{
		"slatefs_request_duration_seconds", "How long requests of the mount took.",
		[]string{"op"},
		func(m *metrics, put func(control.Histogram, ...string)) {
			for _, r := range m.Requests {
				put(r.Took, r.Op)
			}
		},
	},
	{
		"slatefs_erase_step_duration_seconds", "How long a write of zeros to the device took.", nil,
		func(m *metrics, put func(control.Histogram, ...string)) { put(m.Erase.Step) },
	},
	{
		"slatefs_erase_sync_duration_seconds", "How long a sync of the eraser took.", nil,
		func(m *metrics, put func(control.Histogram, ...string)) { put(m.Erase.Sync) },
	},
}

// buckets are a histogram in Prometheus' way: of each bound how many were below it.
func buckets(h control.Histogram) (count uint64, below map[float64]uint64) {
	below = make(map[float64]uint64, len(h.Slots))
	bound := h.First
	for i, n := range h.Slots {
		if count += uint64(n); i < len(h.Slots)-1 {
			below[bound] = count
		}
		bound *= 2
	}
	return count, below
}

// volumeFamily is a number of each volume.
type volumeFamily struct {
	name, help string
	of         func(v *volume) float64
}

var volumeFamilies = []volumeFamily{
	{"slatefs_volume_size_bytes", "The size of a volume.", func(v *volume) float64 { return float64(v.Size) }},
	{"slatefs_volume_used_bytes", "What it uses, with snapshots and promises.", func(v *volume) float64 { return float64(v.Used) }},
	{"slatefs_volume_snapshots_used_bytes", "Part of it that only snapshots show.", func(v *volume) float64 { return float64(v.UsedSnap) }},
	{"slatefs_volume_referenced_bytes", "What it shows.", func(v *volume) float64 { return float64(v.Refer) }},
	{"slatefs_volume_written_bytes", "What was written since its last snapshot.", func(v *volume) float64 { return float64(v.Written) }},
	{"slatefs_volume_promised_bytes", "What is promised and not written yet.", func(v *volume) float64 { return float64(v.Promised) }},
	{"slatefs_volume_snapshots", "Its snapshots.", func(v *volume) float64 { return float64(v.Snapshots) }},
	{"slatefs_volume_reads_total", "Reads.", func(v *volume) float64 { return float64(v.Read.Count) }},
	{"slatefs_volume_read_bytes_total", "Bytes read.", func(v *volume) float64 { return float64(v.Read.Bytes) }},
	{"slatefs_volume_read_seconds_total", "Time that reads took.", func(v *volume) float64 { return v.Read.Time }},
	{"slatefs_volume_writes_total", "Writes.", func(v *volume) float64 { return float64(v.Write.Count) }},
	{"slatefs_volume_write_bytes_total", "Bytes written.", func(v *volume) float64 { return float64(v.Write.Bytes) }},
	{"slatefs_volume_write_seconds_total", "Time that writes took.", func(v *volume) float64 { return v.Write.Time }},
	{"slatefs_volume_flushes_total", "Flushes.", func(v *volume) float64 { return float64(v.Flush.Count) }},
	{"slatefs_volume_flush_seconds_total", "Time that flushes took.", func(v *volume) float64 { return v.Flush.Time }},
}
