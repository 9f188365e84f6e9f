package control

import "time"

// EraseInfo is what waits to be erased, and what was. Numbers are bytes; what was done and what went wrong are sums
// since the mount.
type EraseInfo struct {
	Pool       string     `json:"pool"`
	PoolUUID   string     `json:"pool_uuid"`
	Unsched    int64      `json:"unscheduled"` // part of dirty: of jobs with erase=none
	Dirty      int64      `json:"dirty"`
	Freeing    int64      `json:"freeing"` // and in no job yet
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
	PagesHeld  *HeldInfo  `json:"pages_held,omitempty"`
	Late       Late       `json:"deadlines"`
	Log        *LogInfo   `json:"log,omitempty"` // without signatures
	Jobs       []JobInfo  `json:"jobs"`

	Counters EraseCounters `json:"counters"`
}

// HeldInfo is a destroyed snapshot of which the kernel was told to give up what it has cached, and has not.
type HeldInfo struct {
	Snapshot string    `json:"snapshot"`         // as it was called last; empty: that is not known any more
	Since    time.Time `json:"since"`            // when it was told
	Error    string    `json:"error,omitempty"`  // why it could not be told, the last time; empty: it waits for a read to end
	All      bool      `json:"holds_all"`        // nothing that was freed since is erased; else only what the snapshot shows
	Kept     bool      `json:"kept,omitempty"`   // it is not told again before the pool is mounted anew
	More     int       `json:"others,omitempty"` // that wait as well
}

// Late is what erase_deadline was promised of and is not, or will not be as it looks now.
type Late struct {
	Jobs   int     `json:"late"`          // that are not in time
	Broken int     `json:"broken"`        // of these, whose time is over
	Job    uint64  `json:"job,omitempty"` // the latest of them
	Due    string  `json:"due,omitempty"` // of that, RFC 3339
	By     float64 `json:"late_seconds"`  // of that: how much later it is or will be zero, or is now if Never
	Never  bool    `json:"never"`         // as things are it will not be zero at all
	Why    string  `json:"why,omitempty"`
}

// EraseCounters are sums since the mount, but for what waits.
type EraseCounters struct {
	Queue       int                      `json:"queue"`              // jobs
	OldestAge   float64                  `json:"oldest_age_seconds"` // of the oldest job
	Methods     map[string]EraseAmounts  `json:"bytes_by_method"`
	Errors      map[string]int64         `json:"errors"`
	FailedBytes int64                    `json:"failed_bytes"` // each attempt counted
	Latency     map[string]LatencyCounts `json:"latency"`      // of a step, of a sync
}

// EraseAmounts are bytes by what made somebody zero them.
type EraseAmounts struct {
	Background int64 `json:"background"`
	Demand     int64 `json:"on_demand"`
}

// LatencyCounts are in seconds; the quantiles are right to a factor of two.
type LatencyCounts struct {
	Count int64   `json:"count"`
	Sum   float64 `json:"sum_seconds"`
	P50   float64 `json:"p50_seconds"`
	P99   float64 `json:"p99_seconds"`
	Max   float64 `json:"max_seconds"`
}

// JobInfo is an erase job.
type JobInfo struct {
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

	Due     *time.Time `json:"due,omitempty"` // erase_deadline after since; absent: at no time
	LateBy  float64    `json:"late_seconds"`  // how much later it is or will be zero; 0: it is in time
	Never   bool       `json:"late_never"`    // as things are it will not be zero at all
	LateWhy string     `json:"late_why,omitempty"`
	TooLate int64      `json:"erased_late"` // part of erased and released: zero only after it was due

	Kept       int64    `json:"kept"` // part of freed: others still showed it when it was destroyed
	KeptBy     string   `json:"kept_by,omitempty"`
	Policy     string   `json:"policy"`
	First      bool     `json:"first"`
	Who        string   `json:"who,omitempty"`
	VolumeUUID string   `json:"volume_uuid,omitempty"`
	Layers     []string `json:"layer_uuids,omitempty"`
}

// AuditInfo is what an audit found, in bytes.
type AuditInfo struct {
	Pool   string   `json:"pool"`
	Clean  int64    `json:"clean_read"`
	Lost   int64    `json:"unowned_read"`
	Queued int64    `json:"queued_read"`
	NotYet int64    `json:"queued_not_zero"`
	Found  []int64  `json:"residue"` // device addresses
	More   int64    `json:"residue_beyond_these"`
	Unread []string `json:"unreadable"`
}
