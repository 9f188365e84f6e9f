// Package super is the superblocks of a pool: who it is, how it is laid out, where its trees and its journal begin, and which
// host holds it. It reads and encodes them and keeps no state; who writes them, and when, is the pool's to know.
//
// There are two, in the first two blocks of the device, and checkpoints write them in turn: while one is written the other
// is whole. The one with the higher generation counts. Magic, version and checksum have the same places in all versions, and
// so has the generation.
package super

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
)

// What is found where a superblock should be, and what is not. Every error of this package that is not the device's wraps
// one of them.
var (
	ErrNotPool = errors.New("not a slatefs pool")
	ErrVersion = errors.New("unknown format version")
	ErrFeature = errors.New("unknown incompatible feature")
	ErrCorrupt = errors.New("corrupt")
	ErrInvalid = errors.New("invalid argument") // a name that no pool can have
	ErrHeld    = errors.New("held by another host")
)

// A superblock takes one block. Block 0 and block 1 hold one each; checkpoints write them in turn. Little-endian.
//
//	  0  8  magic "SLATEFS\n"
//	  8  4  version
//	 12  4  zero
//	 16  8  xxhash64 of the whole block with this field zero
//	 24  8  generation
//	 32 16  UUID
//	 48  8  compatible features
//	 56  8  read-only compatible features
//	 64  8  incompatible features
//	 72  8  blocks of the pool
//	 80  4  blocks of a group
//	 84  4  blocks of an extent of the metadata store
//	 88  8  journal: byte offset of the ring
//	 96  8  journal: bytes of the ring
//	104  4  journal: unit, bytes
//	108  4  window, blocks
//	112 24  journal position that the roots contain
//	136 32  root of the store's free map
//	168 56  group table
//	224 56  catalog
//	280  8  last layer
//	288  8  last job
//	296  8  last inode
//	304  8  made, nanoseconds since 1970
//	312  1  length of the name
//	313     name
//	520 16  machine of the host that holds the pool; zero: nobody
//	536  8  since when, nanoseconds since 1970
//	544  1  length of its name
//	545     its name, at most 64 bytes
//	640  1  length of what the features are called
//	641     that, for programs that do not know them
const (
	magic = "SLATEFS\n"
	// Version is of the format that this program writes, and the only one that it reads.
	Version = 1
	// Slots is how many superblocks there are, each of a block, from the start of the device on.
	Slots = 2
	// Bytes is what they take there.
	Bytes = Slots * alloc.BlockSize
)

// features that this program knows. An unknown incompatible one refuses the pool, an unknown read-only compatible one
// makes it read-only.
const (
	knownReadOnly     = 0
	knownIncompatible = 0
)

const (
	// MaxName bounds the bytes of a pool's name.
	MaxName = 200
	// MaxFeatureNames bounds the bytes of what features are called.
	MaxFeatureNames = 255
	// MaxBlocks bounds the blocks of a pool: what a run has room for as its address.
	MaxBlocks = 1 << 40
	// MaxNumber is the largest number of a layer, job, walk or inode: what a run has room for as its birth.
	MaxNumber = 1<<48 - 1
)

// namesAt is where the names of the features are.
const namesAt = 640

// Block is a superblock. It can be copied and compared.
type Block struct {
	Generation                         uint64 // counts up with each that is written
	UUID                               uuid.UUID
	Compatible, ReadOnly, Incompatible uint64 // features; unknown compatible ones are kept as they are
	Geometry                           Geometry
	At                                 journal.Pos // up to which the roots contain all records
	StoreRoot                          meta.Ptr    // of the store's free map
	GroupTable, Catalog                meta.Tree
	LastLayer                          meta.Birth // numbers that were given away last
	LastJob                            uint64
	LastIno                            uint64
	Made                               time.Time
	Name                               string // CheckName takes it
	Host                               Host   // that holds the pool
	FeatureNames                       string // of those that are set, for programs that do not know them; at most MaxFeatureNames bytes
}

// Size is that of the pool, in bytes.
func (s *Block) Size() int64 { return s.Geometry.Blocks * alloc.BlockSize }

// Geometry is what is fixed when a pool is made, but for its size.
type Geometry struct {
	Blocks       int64 // of the pool
	GroupBlocks  int   // of a group, a power of two
	ExtentBlocks int   // of an extent of the metadata store
	RingOff      int64 // of the journal, bytes
	Ring         int64 // its size, bytes
	Unit         int   // of its writes, bytes
	Window       int64 // blocks
}

// Marshal is the superblock as it is written: one block, aligned for the device, with its checksum. Its name has at most
// MaxName bytes.
func (s *Block) Marshal() ([]byte, error) {
	b := blockdev.Aligned(alloc.BlockSize)
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], Version)
	le.PutUint64(b[24:], s.Generation)
	copy(b[32:], s.UUID[:])
	le.PutUint64(b[48:], s.Compatible)
	le.PutUint64(b[56:], s.ReadOnly)
	le.PutUint64(b[64:], s.Incompatible)
	g := s.Geometry
	le.PutUint64(b[72:], uint64(g.Blocks))
	le.PutUint32(b[80:], uint32(g.GroupBlocks))
	le.PutUint32(b[84:], uint32(g.ExtentBlocks))
	le.PutUint64(b[88:], uint64(g.RingOff))
	le.PutUint64(b[96:], uint64(g.Ring))
	le.PutUint32(b[104:], uint32(g.Unit))
	le.PutUint32(b[108:], uint32(g.Window))
	at, err := s.At.MarshalBinary()
	if err != nil {
		return nil, err
	}
	copy(b[112:136], at)
	s.StoreRoot.Marshal(b[136:])
	s.GroupTable.Marshal(b[168:])
	s.Catalog.Marshal(b[224:])
	le.PutUint64(b[280:], uint64(s.LastLayer))
	le.PutUint64(b[288:], s.LastJob)
	le.PutUint64(b[296:], s.LastIno)
	le.PutUint64(b[304:], uint64(s.Made.UnixNano()))
	b[312] = byte(len(s.Name))
	copy(b[313:], s.Name)
	s.Host.marshal(b[hostAt:])
	b[namesAt] = byte(len(s.FeatureNames))
	copy(b[namesAt+1:], s.FeatureNames)
	le.PutUint64(b[16:], xxhash.Sum64(b))
	return b, nil
}

// Unmarshal reads a block of alloc.BlockSize bytes. It checks magic, then version, then checksum, and reports them as three
// errors: ErrNotPool, ErrVersion, ErrCorrupt; then all else, by ErrFeature or ErrCorrupt. When the checksum is good the
// generation is set, also with an unknown version or feature: their places are the same in all versions.
func (s *Block) Unmarshal(b []byte) error {
	le := binary.LittleEndian
	if !bytes.Equal(b[:8], []byte(magic)) {
		return ErrNotPool
	}
	c := append([]byte(nil), b...)
	clear(c[16:24])
	have, want := xxhash.Sum64(c), le.Uint64(b[16:])
	if have == want {
		s.Generation = le.Uint64(b[24:])
	}
	if v := le.Uint32(b[8:]); v != Version {
		return fmt.Errorf("version %d, this program knows %d: %w", v, Version, ErrVersion)
	}
	if have != want {
		return fmt.Errorf("superblock: checksum %016x, want %016x: %w", have, want, ErrCorrupt)
	}
	copy(s.UUID[:], b[32:])
	s.Compatible, s.ReadOnly, s.Incompatible = le.Uint64(b[48:]), le.Uint64(b[56:]), le.Uint64(b[64:])
	s.Geometry = Geometry{
		Blocks: int64(le.Uint64(b[72:])), GroupBlocks: int(le.Uint32(b[80:])), ExtentBlocks: int(le.Uint32(b[84:])),
		RingOff: int64(le.Uint64(b[88:])), Ring: int64(le.Uint64(b[96:])), Unit: int(le.Uint32(b[104:])),
		Window: int64(le.Uint32(b[108:])),
	}
	s.FeatureNames = string(b[namesAt+1 : namesAt+1+int(b[namesAt])])
	if unknown := s.Incompatible &^ knownIncompatible; unknown != 0 {
		return fmt.Errorf("incompatible features %s: %w", s.Named(unknown), ErrFeature)
	}
	if err := s.At.UnmarshalBinary(b[112:136]); err != nil {
		return fmt.Errorf("superblock: journal position: %w", errors.Join(ErrCorrupt, err))
	}
	s.StoreRoot = meta.UnmarshalPtr(b[136:])
	var err error
	if s.GroupTable, err = meta.UnmarshalTree(b[168:]); err != nil {
		return fmt.Errorf("superblock: group table: %w", errors.Join(ErrCorrupt, err))
	}
	if s.Catalog, err = meta.UnmarshalTree(b[224:]); err != nil {
		return fmt.Errorf("superblock: catalog: %w", errors.Join(ErrCorrupt, err))
	}
	s.LastLayer, s.LastJob, s.LastIno = meta.Birth(le.Uint64(b[280:])), le.Uint64(b[288:]), le.Uint64(b[296:])
	if max(uint64(s.LastLayer), s.LastJob, s.LastIno) > MaxNumber {
		return fmt.Errorf("superblock: last layer %d, job %d, inode %d: %w", s.LastLayer, s.LastJob, s.LastIno, ErrCorrupt)
	}
	s.Made = time.Unix(0, int64(le.Uint64(b[304:])))
	n := int(b[312])
	if n > MaxName {
		return fmt.Errorf("superblock: name of %d bytes: %w", n, ErrCorrupt)
	}
	s.Name = string(b[313 : 313+n])
	if err := CheckName(s.Name); err != nil {
		return fmt.Errorf("superblock: %w: %w", err, ErrCorrupt)
	}
	if err := s.Host.unmarshal(b[hostAt : hostAt+hostBytes]); err != nil {
		return err
	}
	return s.Geometry.Validate()
}

// UnknownReadOnly are the read-only compatible features that this program does not know: with any, the pool can be opened
// read-only at most.
func (s *Block) UnknownReadOnly() uint64 { return s.ReadOnly &^ uint64(knownReadOnly) }

// Validate bounds every number before it sizes anything. The error is ErrCorrupt.
func (g Geometry) Validate() error {
	ok := g.Blocks > 0 && g.Blocks <= MaxBlocks &&
		g.GroupBlocks >= 16 && g.GroupBlocks <= 4*alloc.BlockSize && g.GroupBlocks&(g.GroupBlocks-1) == 0 &&
		g.ExtentBlocks >= 2 && g.ExtentBlocks <= meta.ExtentPages &&
		(g.Unit == 512 || g.Unit == alloc.BlockSize) &&
		g.RingOff == Slots*alloc.BlockSize && g.Ring >= alloc.BlockSize && g.Ring <= 1<<30 && g.Ring%alloc.BlockSize == 0 &&
		g.RingOff+g.Ring < g.Blocks*alloc.BlockSize && g.Window > 0 && g.Window <= g.Blocks
	if !ok {
		return fmt.Errorf("superblock: geometry %+v: %w", g, ErrCorrupt)
	}
	return nil
}

// Named says which features a set has: by its bits, and by what the superblock calls all that are set.
func (s *Block) Named(set uint64) string {
	if s.FeatureNames == "" {
		return fmt.Sprintf("%#x", set)
	}
	return fmt.Sprintf("%#x (of %q)", set, s.FeatureNames)
}

// Salt keeps the batches of another pool that lay here before from being taken for this one's.
func (s *Block) Salt() uint64 { return xxhash.Sum64(s.UUID[:]) }

// CheckName refuses what is no name of a pool, by ErrInvalid: letters, digits and, not at its beginning, -_.: are. It becomes
// an argument of mount(2), a tag of LVM and the name of a file, and comes from a device that anybody may have written.
func CheckName(name string) error {
	ok := name != "" && len(name) <= MaxName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && strings.IndexByte("-_.:", c) >= 0
	}
	if !ok {
		return fmt.Errorf("pool name %q: letters, digits, and - _ . : inside, at most %d: %w", name, MaxName, ErrInvalid)
	}
	return nil
}
