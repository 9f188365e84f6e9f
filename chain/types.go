package chain

import (
	"time"

	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// BlockSize is the unit of ownership, copy-on-write, freeing and erasing, in bytes.
const BlockSize = alloc.BlockSize

// Ino is the permanent number of a file, directory or symlink. It is never reused and stays below 2^48.
type Ino uint64

// RootIno is the root directory.
const RootIno Ino = 1

// LayerID numbers layers in the order of their making; it is also the birth of what is written to them. It has 48 bits.
type LayerID = meta.Birth

// MaxLayers bounds the layers of one line of history.
const MaxLayers = 4096

// mapEnd is above every logical block.
const mapEnd = meta.MapMaxBlocks

// MaxSize bounds the size of a volume, in bytes: the 512 TiB that a map can address.
const MaxSize = meta.MapMaxBlocks * BlockSize

// FileType says what an inode is.
type FileType uint8

// The file types. Every regular file is a volume.
const (
	TypeFile FileType = iota + 1
	TypeDir
	TypeSymlink
)

func (t FileType) known() bool { return t >= TypeFile && t <= TypeSymlink }

// Attr is what stat(2) shows of an inode.
type Attr struct {
	Ino                 Ino
	Type                FileType
	Mode                uint32 // permission bits, 07777
	UID, GID            uint32
	Nlink               uint32 // 0: an orphan that is still open
	Size                int64  // bytes
	Blocks              int64  // units of 512 bytes
	Mtime, Ctime, Btime time.Time
	Atime               time.Time // as it was set, else Btime: reading does not change it
	Immutable           bool
	Parent              Ino    // of the name; 0 for an orphan
	Name                string // last component; empty for the root and for orphans
}

// Req says who asks for a change.
type Req struct {
	UID, GID, PID uint32
	Unique        uint64 // of the FUSE request, 0 for others
	Actor         string // as given with --actor, or the command

	Auto bool // of a snapshot: a schedule takes it, which may take it away by itself; it is noted as who did

	said  string // who, where it is another who said so before
	purge bool   // nothing is kept, whatever destroy_delay says
	undo  bool   // it never was: nobody has destroyed it
}

// What list, tree and status show. Sizes are in bytes.
type (
	// SnapInfo describes a snapshot.
	SnapInfo struct {
		Name                 string
		Tags                 []SnapTag // that hold it, oldest first. The slice is nobody's to change
		Auto                 bool      // Req.Auto made it, and nobody has renamed or destroyed it since
		Layer                LayerID
		Size                 int64
		Created              time.Time
		Written, Refer, Used int64
		Clones               []string // paths of the volumes that hang on it
	}
	// Space is what a volume, a directory or the pool uses, by zfs's names. Used is the sum of the four parts.
	Space struct {
		Used, UsedSnap, UsedDS, UsedRefreserv, UsedChild int64
		Avail                                            int64
		Refreservation, Reservation, Quota, Refquota     int64 // 0: none. Refreservation is what holds: of auto, the size
		Promised, MetaPromised                           int64 // what Used counts and nobody owns yet, and metadata for it
		Words                                            int64 // what names and attributes take, of a directory with all below it; in no other number
	}
	// VolumeInfo describes a volume.
	VolumeInfo struct {
		Attr
		Space
		Head           LayerID
		Written, Refer int64
		Origin         string // "vm.raw@a" for a clone
		Created        time.Time
		Snapshots      int
	}
	// DirInfo describes a directory. UsedDS is what nameless layers hold that outlived their volume in it.
	DirInfo struct {
		Attr
		Space
	}
	// LayerInfo describes one layer of a chain.
	LayerInfo struct {
		ID, Parent               LayerID
		Name                     string
		Volume                   Ino
		Head, Nameless, Deferred bool
		Size, Written, Refer     int64
		Created                  time.Time
		Children                 []LayerID
	}
	// JobInfo describes an erase job.
	JobInfo struct {
		ID                           uint64
		Volume, Layer, Reason        string
		Freed, Dirty, Erased, Failed int64
		Since                        time.Time
		State                        string // queued, waiting, walking, erasing, failing, failed or unscheduled
		Error                        string // of failing, and of failed if it is not the erasing that fails
		Kept                         int64  // part of Freed: still shown by others, those in KeptBy, when it was destroyed
		KeptBy                       string
		None                         bool // erase=none: zeroed only when a writer needs the blocks
		First                        bool // put first
		Who                          string
		Released                     int64     // part of Erased: zero to read, and not erased below
		VolumeUUID                   uuid.UUID // zero: of no volume
		Layers                       []uuid.UUID
		Within                       time.Duration // erase_deadline, from Since on; 0: none
		Late                         int64         // part of Erased: zero only after that
		Longest                      time.Duration // that any of it took
	}
	// Usage is the state of a pool.
	Usage struct {
		Total, Live, Clean, Claimed, Dirty, Freeing, Failed, Meta, Reserve, Promised, MetaPromised, Avail, Short int64
		Volumes, Snapshots, Layers                                                                               int
		Generation                                                                                               uint64
		JournalUsed, JournalSize                                                                                 int64
		CheckpointBytes                                                                                          int64 // written by the last checkpoint
		Repairs                                                                                                  int64
		PlanLock                                                                                                 LockUse   // since it was opened
		Destroyed                                                                                                int64     // part of Live, and of Avail: destroyed and kept, at least so much
		Unscheduled                                                                                              int64     // part of Dirty: of jobs with erase=none
		Stranded                                                                                                 int64     // part of Freeing, and not available: what walks fail to find
		Going                                                                                                    int64     // part of Live, and not available yet: what is freed with layers that nobody holds, at least
		Troubles                                                                                                 []Trouble // what is failing: those that were most often tried, of Troubled
		Damages                                                                                                  []string  // what damaged pages of metadata touch, as far as this process met them: the first of Damaged
		Troubled, Damaged                                                                                        int
		Refusals                                                                                                 Refusals
		Work                                                                                                     Work
		Cache                                                                                                    meta.CacheStats
		DirtyMemory                                                                                              int64     // bytes, see memory.go
		Jobs                                                                                                     int       // erase jobs
		OldestJob                                                                                                time.Time // about; zero: none
		HostShort                                                                                                error     // what the host of the pool file answered when it was asked for space last; nil: it gives some
		HostSince                                                                                                time.Time // since when it does not
	}
)

func blocksOf(bytes int64) int64 { return (bytes + BlockSize - 1) / BlockSize }

func runBlocks(rs []alloc.Run) (n int64) {
	for _, r := range rs {
		n += r.Len
	}
	return n
}
