package control

import "time"

// What -j prints is made of the types here. Their names are an ABI, which is why chain's own types are copied.

// Usage is what the blocks of a pool are used for, in bytes.
type Usage struct {
	Total      int64  `json:"total"`
	Live       int64  `json:"live"`
	Meta       int64  `json:"metadata"`
	Clean      int64  `json:"clean"`
	Claimed    int64  `json:"claimed"`
	Dirty      int64  `json:"dirty"`
	Freeing    int64  `json:"freeing"`
	Stranded   int64  `json:"stranded"` // part of freeing, and not available: it cannot be found now
	Failed     int64  `json:"failed"`
	Reserve    int64  `json:"reserve"`
	Promised   int64  `json:"promised"`
	Kept       int64  `json:"destroyed_and_kept"` // part of live, and available: it goes when it is needed
	MetaProm   int64  `json:"metadata_promised"`
	Short      int64  `json:"promises_short_by"`
	Avail      int64  `json:"available"`
	Volumes    int    `json:"volumes"`
	Snapshots  int    `json:"snapshots"`
	Layers     int    `json:"layers"`
	Generation uint64 `json:"generation"`
	JournalUse int64  `json:"journal_used"`
	Journal    int64  `json:"journal_size"`
	Repairs    int64  `json:"repairs"`

	PlanLock LockUse `json:"plan_lock"`

	Refused  Refused   `json:"writers_refused"`
	Troubles []Trouble `json:"troubles,omitempty"` // what could not be done in the background: the most often tried
	Troubled int       `json:"troubled,omitempty"` // so many there are
	Damages  []string  `json:"damages,omitempty"`  // what damaged pages of metadata touch, as far as they were met: the first
	Damaged  int       `json:"damaged,omitempty"`  // so many there are
}

// LockUse is how often the lock of the plans was had by one alone, which stops all others, and how often somebody waited for it,
// since the mount.
type LockUse struct {
	Alone int64 `json:"alone"`
	Waits int64 `json:"waits"`
}

// Refused is that writers were told that there is no space left in the pool, and that there is none yet; a count of 0 is that
// there is.
type Refused struct {
	Count int64     `json:"count"`
	Since time.Time `json:"since,omitzero"` // the first
	Last  time.Time `json:"last,omitzero"`
	Error string    `json:"error,omitempty"` // what the last one was told
}

// Trouble is something that is tried again by itself.
type Trouble struct {
	What  string    `json:"what"`
	Tries int       `json:"tries"`
	Next  time.Time `json:"next"`
	Kind  string    `json:"kind"`
	Error string    `json:"error"`
}

// Row is a line of list: a pool, directory, volume or snapshot. Numbers are bytes; nil is what the type does not have.
type Row struct {
	Name      string     `json:"name"` // absolute path
	Type      string     `json:"type"`
	Size      *int64     `json:"volsize"`
	Used      *int64     `json:"used"`
	Avail     *int64     `json:"available,omitempty"`
	Refer     *int64     `json:"referenced"`
	Written   *int64     `json:"written"`
	UsedSnap  *int64     `json:"usedbysnapshots,omitempty"`
	UsedDS    *int64     `json:"usedbydataset,omitempty"`
	UsedRef   *int64     `json:"usedbyrefreservation,omitempty"`
	UsedChild *int64     `json:"usedbychildren,omitempty"`
	Refres    *int64     `json:"refreservation,omitempty"` // what holds: of auto, the size
	Reserv    *int64     `json:"reservation,omitempty"`
	Quota     *int64     `json:"quota,omitempty"` // 0: none
	Refquota  *int64     `json:"refquota,omitempty"`
	MetaProm  *int64     `json:"metapromised,omitempty"` // metadata that its promises may need
	Metadata  *int64     `json:"metadata,omitempty"`     // of inodes and attributes, with all below
	Freeing   *int64     `json:"freeing,omitempty"`
	Erasing   *int64     `json:"erasing,omitempty"`
	Snapshots *int64     `json:"snapshot_count,omitempty"`
	Origin    string     `json:"origin,omitempty"`
	Created   *time.Time `json:"creation,omitempty"`
	Clones    []string   `json:"clones,omitempty"`
	UserRefs  *int64     `json:"userrefs,omitempty"` // of a snapshot: tags that hold it
	Holds     []string   `json:"holds,omitempty"`    // those
	ID        *int64     `json:"id,omitempty"`       // of what was destroyed and is kept
	Destroyed *time.Time `json:"destroyed,omitempty"`
	Goes      *time.Time `json:"goes,omitempty"`
	Who       string     `json:"who,omitempty"`
}

// Types of rows.
const (
	TypePool      = "pool"
	TypeDirectory = "directory"
	TypeVolume    = "volume"
	TypeSnapshot  = "snapshot"
	TypeDestroyed = "destroyed"
)

// Hold is a tag that holds a snapshot.
type Hold struct {
	Name  string    `json:"name"` // of the snapshot: absolute path
	Tag   string    `json:"tag"`
	Since time.Time `json:"since"`
}
