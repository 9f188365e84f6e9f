package certificate

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Form is the number of the layout that this package makes: of the fields of a document and of the looks of its sheet. It reads the
// older ones, too, and lays them out as they were: text and page are compared with what was signed.
//
// Form 1 knew nothing of zeros that are in no record of the certificate: what had left the log had never been written.
const Form = 2

// Document is what is signed: the sample certificate of NIST SP 800-88 Rev. 1, field by field, and what it is founded on. Numbers
// are bytes.
type Document struct {
	Form int       `json:"form"`
	ID   uuid.UUID `json:"certificate_id"`
	Made time.Time `json:"made"` // UTC, whole seconds

	Complete bool     `json:"complete"` // nothing in Left, and nothing in Reasons
	Reasons  []string `json:"incomplete_because"`
	Left     []Part   `json:"left"`

	Asked    []string     `json:"asked_for"`
	Of       []Thing      `json:"of"` // what that is
	Fields   Fields       `json:"fields"`
	Host     string       `json:"host"`
	Pool     Pool         `json:"pool"`
	Media    []host.Media `json:"media"`
	Method   Method       `json:"method"`
	Amounts  Amounts      `json:"amounts"`
	Account  *Account     `json:"account,omitempty"`
	Deadline string       `json:"deadline,omitempty"` // what was promised, and whether it was kept
	End      *PoolEnd     `json:"end_of_pool,omitempty"`

	Log     Log      `json:"log"`
	Records []Record `json:"records"`
}

// Thing is what a certificate is of: a volume, a snapshot, a job, all of a pool.
type Thing struct {
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	UUID string `json:"uuid,omitempty"`
}

// Part is what is left on the device of what was asked for.
type Part struct {
	Bytes int64  `json:"bytes"`
	State string `json:"state"`        // as states have it
	By    string `json:"by,omitempty"` // who shows it, or what it is of
	ID    uint64 `json:"id,omitempty"` // of the erase job that has it, or of what is kept
	UpTo  bool   `json:"up_to,omitempty"`
}

// States of what is left.
const (
	Shown       = "shown"
	Kept        = "kept"
	Destroyed   = "destroyed"
	Queued      = "queued"
	Failed      = "failed"
	Released    = "released"
	Unscheduled = "unscheduled"
)

// states says in words what a part is, with who has it, and of which ID.
var states = map[string]struct{ words, by, id string }{
	Shown:       {"still shown", " by ", ""},
	Kept:        {"shown by others when it was destroyed", ": ", ", job "},
	Destroyed:   {"destroyed, and can be brought back", ": ", ", undestroy "},
	"open":      {"of a destroyed snapshot whose file is open", ": ", ""},
	"freeing":   {"freed, and on its way to an erase job", ": ", ""},
	Queued:      {"not erased yet", ": ", ", job "},
	Failed:      {"could not be zeroed", ": ", ", job "},
	Unscheduled: {"not scheduled (erase=none)", ": ", ", job "},
	Released:    {"released, not erased", ": ", ""},
	"writing":   {"being written now", ": ", ""},
	"crash":     {"left by a crash, whose nobody knows", ": ", ", job "},
	"initial":   {"there before the pool was made or grew", ": ", ", job "},
}

// IsState tells whether a part can be in such a state.
func IsState(s string) bool { _, ok := states[s]; return ok }

// Words says how much it is, what it is, and who has it.
func (p Part) Words() string {
	s := states[p.State]
	text := show.FormatSize(p.Bytes) + " " + s.words
	if p.UpTo {
		text = "at most " + text
	}
	if p.By != "" {
		text += s.by + p.By
	}
	if p.ID != 0 && s.id != "" {
		text += s.id + strconv.FormatUint(p.ID, 10)
	}
	return text
}

// Account is what was ever written by what was asked for, and what became of it: written = zeroed + released + left.
type Account struct {
	Written  int64 `json:"written"`
	Zeroed   int64 `json:"zeroed"`
	Released int64 `json:"released"`
	Left     int64 `json:"left"`
}

// Unrecorded is how much of the account was zeroed, at least, and is in no record of the certificate: the record has left the log,
// is another's who showed the blocks last, or is not made yet. By which method nobody knows from the certificate.
func (d *Document) Unrecorded() int64 {
	if d.Account == nil {
		return 0
	}
	n := d.Account.Zeroed
	for _, r := range d.Records {
		if r.Counts() {
			n -= r.Shown.Erased
		}
	}
	return max(n, 0)
}

// neverWritten tells whether nothing was ever written to what the certificate is of.
func (d *Document) neverWritten() bool {
	if d.Amounts.Freed > 0 || len(d.Records) > 0 || d.End != nil {
		return false
	}
	return d.Form == 1 || d.Account == nil || d.Account.Written == 0
}

// Leave notes a part that is left; 0 bytes are none.
func (d *Document) Leave(p Part) {
	if p.Bytes > 0 {
		d.Left = append(d.Left, p)
	}
}

// Pool is the pool as a logical device.
type Pool struct {
	Name   string    `json:"name"`
	UUID   uuid.UUID `json:"uuid"`
	Device string    `json:"device"`
	Size   int64     `json:"size"`
}

// Method is how it was erased.
type Method struct {
	Type     string `json:"type"` // of NIST SP 800-88: always Clear
	Used     string `json:"used"`
	Details  string `json:"details"`
	Tool     string `json:"tool"`
	Verify   string `json:"verification"`
	Verified string `json:"verification_result"`
}

// Amounts are the sums of the records.
type Amounts struct {
	Freed    int64 `json:"freed"`
	Erased   int64 `json:"erased"`
	Unproven int64 `json:"not_claimed"` // zeroed for reuse or released only: never called erased
	Kept     int64 `json:"kept"`        // others showed it when it was destroyed
}

// PoolEnd is what was done at the end of a pool.
type PoolEnd struct {
	Whole    bool   `json:"whole_device"` // every block; else every one that was ever used, and the others read as zeros
	Zeroed   int64  `json:"zeroed"`       // now
	ReadBack int64  `json:"read_back"`    // as zeros, all of the device but the superblocks
	Super    int64  `json:"superblocks"`  // zeroed after this was written
	Method   string `json:"method"`
	Volumes  int    `json:"volumes_ended"`
}

// Log is how far the erase log goes, and what holds it together.
type Log struct {
	First   uint64            `json:"first_record"`              // that is there
	Renamed bool              `json:"of_another_uuid,omitempty"` // the pool had another one when its log began
	Since   *time.Time        `json:"since,omitempty"`
	Cut     *evidence.Summary `json:"cut,omitempty"`        // what is not there any more, in blocks
	Links   *Links            `json:"links,omitempty"`      // nil: there are too many
	Head    *Head             `json:"head,omitempty"`       // nil: the log has no chain
	Notes   []string          `json:"anchors"`              // what was compared with the head when this was made
	Keys    []string          `json:"other_keys,omitempty"` // that signed before: the pool's key was missing, and replaced
}

// Links are the digests of all rows from a record to the head, the first of the certificate's or one of an anchor: they tie the
// records of a certificate to it, and say nothing of other people's.
type Links struct {
	After   evidence.Head `json:"after"` // the record before the first of them
	Digests []byte        `json:"digests"`
}

// Head is the last record of the log, signed.
type Head struct {
	evidence.Head
	Time time.Time `json:"time"` // to the nanosecond: it is signed
	Key  []byte    `json:"public_key"`
	Sig  []byte    `json:"signature"`
}

// Record is a record of the log: its row, which the chain is of, and the same for people. One of a time before there was a chain
// has no number and no row.
type Record struct {
	Seq   uint64              `json:"seq,omitempty"`
	Row   []byte              `json:"row,omitempty"`
	Shown control.EraseRecord `json:"record"`
}

// settle makes a document what it must be before it is signed: complete follows from what stands in it, lists are lists.
func (d *Document) settle() {
	d.Form, d.Made = Form, d.Made.UTC().Truncate(time.Second)
	d.Reasons, d.Left, d.Asked = some(d.Reasons), some(d.Left), some(d.Asked)
	d.Of, d.Media, d.Records, d.Log.Notes = some(d.Of), some(d.Media), some(d.Records), some(d.Log.Notes)
	d.Complete = len(d.Left) == 0 && len(d.Reasons) == 0
	if d.Method.Used == methodNone && d.Unrecorded() > 0 {
		d.Method.Used, d.Method.Details = "Not known", "it was zeroed, and how is in no record of this"
	}
}

// some is a list that is never nil: in JSON it is [].
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
