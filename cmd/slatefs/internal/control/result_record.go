package control

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/chain/evidence"
)

// EraseRecord is a record of the erase log as -j, exports and the system journal have it. Numbers are bytes:
// freed = zeroed + released + failed + kept.
type EraseRecord struct {
	Kind   string         `json:"kind"`                   // job, day, nothing, cut, closed
	Seq    uint64         `json:"seq,omitempty"`          // its number in the chain that the log is
	Prev   *evidence.Hash `json:"prev,omitempty"`         // the hash of the one before it
	Hash   *evidence.Hash `json:"hash,omitempty"`         // its own
	Row    []byte         `json:"row,omitempty"`          // the bytes that the hash is of: all else follows from them, but for the pool's name
	Before bool           `json:"before_chain,omitempty"` // it is from before there was a chain, and nothing ties it
	Open   bool           `json:"open,omitempty"`         // the line of a day that is not over; it is not in the chain yet

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

	Written int64 `json:"written,omitempty"` // of what is closed: ever written to the layers; each block is in the record of what zeroed it

	Cut *LogCut `json:"cut,omitempty"` // of a record that says that the log was cut
}

// LogCut is what is known of the records that have left the log. Numbers are bytes, but of records.
type LogCut struct {
	Seq      uint64        `json:"seq"`  // the last that left: the log begins behind it
	Hash     evidence.Hash `json:"hash"` // and has that hash
	Records  int64         `json:"records"`
	Before   int64         `json:"before_chain,omitempty"` // of them, from before there was a chain
	Exported int64         `json:"exported"`               // of them, before they left; the others are lost
	From     *time.Time    `json:"from,omitempty"`
	To       *time.Time    `json:"to,omitempty"`

	Freed     int64 `json:"freed"`
	Erased    int64 `json:"zeroed"`
	Released  int64 `json:"released"`
	Unclaimed int64 `json:"unclaimed,omitempty"` // part of zeroed: under erase=none
	Kept      int64 `json:"kept"`
}

// LogCutOf is nil where nothing has left.
func LogCutOf(s *evidence.Summary) *LogCut {
	if s == nil || s.Records() == 0 {
		return nil
	}
	const unit = evidence.BlockSize
	return &LogCut{
		Seq: s.At.Seq, Hash: s.At.Hash, Records: s.Records(), Before: s.Before, Exported: s.Exported, From: momentOf(s.From), To: momentOf(s.To),
		Freed: s.Freed * unit, Erased: (s.Erased - s.Released) * unit, Released: s.Released * unit,
		Unclaimed: s.Unclaimed * unit, Kept: s.Kept * unit,
	}
}

// recordKinds are the words for kinds of records.
var recordKinds = map[evidence.Kind]string{
	evidence.Job: "job", evidence.Day: "day", evidence.Nothing: "nothing", evidence.Cut: "cut", evidence.Closed: "closed",
}

// RecordOf is a row of a pool's log as others see it.
func RecordOf(pool string, id uuid.UUID, r *evidence.Row) EraseRecord {
	const unit = evidence.BlockSize
	e := EraseRecord{
		Kind: recordKinds[r.Kind], Pool: pool, PoolUUID: id, Device: r.How.Device, Volume: r.Path, Snapshot: r.Name, Reason: r.Reason, Who: r.Who,
		Policy: EraseZero, Freed: r.Freed * unit, Erased: (r.Erased - r.Released) * unit, Released: r.Released * unit, Kept: r.Kept * unit,
		KeptBy: r.KeptBy, Method: r.How.Method, Verify: r.How.Verify, Program: r.How.Program,
		Since: momentOf(r.Since), First: momentOf(r.First), Last: momentOf(r.Last),
		Deadline: r.Deadline.Within.Seconds(), Late: r.Deadline.Late * unit, Longest: r.Deadline.Longest.Seconds(),
		Written: r.Written * unit, Cut: LogCutOf(r.Cut),
	}
	switch r.Kind {
	case evidence.Job:
		e.ID = r.Number
	case evidence.Day, evidence.Nothing:
		e.Day = time.Unix(int64(r.Number)*86400, 0).UTC().Format(time.DateOnly)
	case evidence.Cut, evidence.Closed: // have no number
	}
	if r.None {
		e.Policy = EraseNone
	}
	if r.Volume != 0 {
		e.VolumeUUID = evidence.VolumeUUID(id, r.Volume).String()
	}
	for _, l := range r.Layers {
		e.Layers = append(e.Layers, evidence.LayerUUID(id, l).String())
	}
	who := strings.SplitN(r.Who, ", ", 3)
	if uid, err := strconv.ParseUint(strings.TrimPrefix(who[0], "uid "), 10, 32); err == nil {
		e.UID = new(uint32(uid))
		who = append(who, "", "")
		e.Command, e.Actor = who[1], who[2]
	}
	return e
}

// ChainedRecordOf is RecordOf of a record with its place in the chain. Its row must be there.
func ChainedRecordOf(pool string, id uuid.UUID, entry evidence.Entry, r *evidence.Row) EraseRecord {
	e := RecordOf(pool, id, r)
	e.Seq, e.Prev, e.Hash, e.Row = entry.Seq, &entry.Prev, new(entry.Head().Hash), entry.Row
	return e
}

// momentOf is a time in UTC, or nil for none.
func momentOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
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

// Title names what the record is of.
func (r *EraseRecord) Title() string {
	if r.Reason == evidence.ReasonRollback && r.Snapshot != "" {
		return "rollback of " + r.Volume + " to @" + r.Snapshot
	}
	return Subject(r.Volume, r.Snapshot)
}

// Subject names what a job erases, or erased.
func Subject(volume, layer string) string {
	if layer == "" {
		return volume
	}
	return volume + "@" + layer
}
