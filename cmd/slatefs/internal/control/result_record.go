package control

import (
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
)

// EraseRecord is a record of the erase log as -j, exports and the system journal have it. Numbers are bytes:
// freed = zeroed + released + failed + kept.
type EraseRecord struct {
	ID         uint64    `json:"id,omitempty"`  // of the job
	Day        string    `json:"day,omitempty"` // of what a volume overwrote and discarded in a day, UTC
	Pool       string    `json:"pool"`
	PoolUUID   uuid.UUID `json:"pool_uuid"`
	Device     string    `json:"device"`
	Volume     string    `json:"volume,omitempty"`
	VolumeUUID string    `json:"volume_uuid,omitempty"`
	Snapshot   string    `json:"snapshot,omitempty"`
	Layers     []string  `json:"layer_uuids,omitempty"`
	Reason     string    `json:"reason"`
	Who        string    `json:"who,omitempty"`
	UID        *uint32   `json:"uid,omitempty"`
	Command    string    `json:"command,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	Policy     string    `json:"policy"`

	Freed    int64  `json:"freed"`
	Erased   int64  `json:"zeroed"`
	Released int64  `json:"released"`
	Failed   int64  `json:"failed"`
	Kept     int64  `json:"kept"`
	KeptBy   string `json:"kept_by,omitempty"`

	Method  string     `json:"method,omitempty"`
	Verify  string     `json:"verify,omitempty"`
	Program string     `json:"version,omitempty"`
	Since   *time.Time `json:"freed_at,omitempty"`
	First   *time.Time `json:"first_zeroed,omitempty"`
	Last    *time.Time `json:"last_zeroed,omitempty"`

	Deadline float64 `json:"deadline_seconds,omitempty"` // that erase_deadline gave it, from freed_at on; 0: none
	Late     int64   `json:"zeroed_late,omitempty"`      // part of zeroed and released: only after that
	Longest  float64 `json:"longest_seconds,omitempty"`  // that a block took
}

// InTime tells whether all was zero in time, where a time was set.
func (e EraseRecord) InTime() (kept, set bool) { return e.Late == 0 && e.Failed == 0, e.Deadline > 0 }

// Policies of what is freed.
const (
	EraseZero = chain.EraseZero // it is zeroed, and called erased
	EraseNone = chain.EraseNone // it is zeroed when somebody needs it, and nothing is claimed
)

// Claimed tells whether the zeroed blocks of a record may be called erased.
func (e EraseRecord) Claimed() bool { return e.Policy != EraseNone && e.Released == 0 }

// Ended is when the last block was zeroed, or else when all was kept.
func (e EraseRecord) Ended() time.Time {
	if e.Last != nil {
		return *e.Last
	}
	if e.Since != nil {
		return *e.Since
	}
	return time.Time{}
}

// Subject names what a job erases, or erased.
func Subject(volume, layer string) string {
	if layer == "" {
		return volume
	}
	return volume + "@" + layer
}
