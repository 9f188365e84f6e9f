package control

import (
	"fmt"
	"time"

	"slatefs/chain"
)

// EvidenceArgs ask what can be proved of the end of things: UUIDs, the pool's name, paths from its root, there or not any more, IDs of
// jobs; and of all volumes of users.
type EvidenceArgs struct {
	Asked  []string
	Owners []uint32
}

// Evidence is what can be proved of one thing. Numbers are bytes. Complete: every block that was ever written there is zero, or was
// never written; else Remains says where they are, and Reasons what else speaks against it. Of a job Written is what it freed.
type Evidence struct {
	Asked    string     `json:"asked_for"`
	Kind     string     `json:"kind"` // pool, volume, snapshot, directory, owner, layer, job
	Name     string     `json:"name"`
	UUIDs    []string   `json:"uuids,omitempty"` // of volumes, or of the layer
	Complete bool       `json:"complete"`
	Written  int64      `json:"written"` // ever
	Zeroed   int64      `json:"zeroed"`
	Released int64      `json:"released"`
	Left     int64      `json:"left"`
	First    *time.Time `json:"first_made,omitempty"`
	Last     *time.Time `json:"last_zeroed,omitempty"`
	Remains  []Remain   `json:"remains,omitempty"`
	Reasons  []string   `json:"incomplete_because,omitempty"`
}

// Remain is one reason why evidence is not complete.
type Remain struct {
	State string `json:"state"` // as chain.RemainState has them
	Bytes int64  `json:"bytes"`
	UpTo  bool   `json:"up_to,omitempty"` // so many at most
	By    string `json:"by,omitempty"`    // a path, or path@snapshot
	ID    uint64 `json:"id,omitempty"`    // of an erase job, or of what is kept for undestroy
	More  int    `json:"more,omitempty"`
}

// RemainKept is of a job: others showed it then, and whether they do is not known by the job.
const RemainKept = "kept"

// Words says it, without the number of bytes. By is as the pool has it: any bytes.
func (r Remain) Words() string {
	switch chain.RemainState(r.State) {
	case chain.RemainShown:
		if r.More > 0 {
			return "shown by more than can be looked at"
		}
		return "still shown by " + r.By
	case chain.RemainDestroyed:
		return fmt.Sprintf("still kept for undestroy: %s, ID %d", r.By, r.ID)
	case chain.RemainOpen:
		return fmt.Sprintf("still open: %s, which was destroyed", r.By)
	case chain.RemainFreeing:
		return "on its way to an erase job"
	case chain.RemainQueued:
		return fmt.Sprintf("queued, in erase job %d", r.ID)
	case chain.RemainFailed:
		return fmt.Sprintf("failed, in erase job %d", r.ID)
	case chain.RemainUnscheduled:
		return fmt.Sprintf("not scheduled (erase=none), in erase job %d", r.ID)
	case chain.RemainReleased:
		return "only released: zero to read, not erased below"
	case chain.RemainWriting:
		return "being written now"
	case chain.RemainCrash:
		return fmt.Sprintf("left by a crash, whose it was nobody knows, in erase job %d", r.ID)
	case chain.RemainInitial:
		return fmt.Sprintf("there when the pool was made or grew, in erase job %d", r.ID)
	case RemainKept:
		return "shown by others when it was destroyed: " + r.By
	case chain.RemainUnknown:
		return "what was written before accounts were kept is not known"
	}
	return r.State
}
