package chain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cespare/xxhash/v2"

	"slatefs/chain/blockdev"
	"slatefs/chain/journal"
	"slatefs/chain/meta"
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
const (
	superMagic   = "SLATEFS\n"
	superVersion = 1
	superSlots   = 2
)

// features that this program knows. An unknown incompatible one refuses the pool, an unknown read-only compatible one
// makes it read-only.
const (
	knownReadOnlyFeatures     = 0
	knownIncompatibleFeatures = 0
)

// MaxPoolName bounds the bytes of a pool's name.
const MaxPoolName = 200

// maxBlocks bounds the blocks of a pool: what a run has room for as its address.
const maxBlocks = 1 << 40

// MaxPool is the largest pool, in bytes.
const MaxPool = maxBlocks * BlockSize

// maxNumber is the largest number of a layer, job, walk or inode: what a run has room for as its birth.
const maxNumber = 1<<48 - 1

type superblock struct {
	generation                         uint64
	uuid                               [16]byte
	compatible, readOnly, incompatible uint64
	geometry                           geometry
	at                                 journal.Pos
	storeRoot                          meta.Ptr
	groupTable, catalog                meta.Tree
	lastLayer                          LayerID
	lastJob                            uint64
	lastIno                            Ino
	made                               time.Time
	name                               string
	host                               Host
}

// geometry is what is fixed when a pool is made, but for its size.
type geometry struct {
	blocks       int64 // of the pool
	groupBlocks  int
	extentBlocks int
	ringOff      int64
	ring         int64
	unit         int
	window       int64 // blocks
}

func (s *superblock) marshal() ([]byte, error) {
	b := blockdev.Aligned(BlockSize)
	copy(b, superMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], superVersion)
	le.PutUint64(b[24:], s.generation)
	copy(b[32:], s.uuid[:])
	le.PutUint64(b[48:], s.compatible)
	le.PutUint64(b[56:], s.readOnly)
	le.PutUint64(b[64:], s.incompatible)
	g := s.geometry
	le.PutUint64(b[72:], uint64(g.blocks))
	le.PutUint32(b[80:], uint32(g.groupBlocks))
	le.PutUint32(b[84:], uint32(g.extentBlocks))
	le.PutUint64(b[88:], uint64(g.ringOff))
	le.PutUint64(b[96:], uint64(g.ring))
	le.PutUint32(b[104:], uint32(g.unit))
	le.PutUint32(b[108:], uint32(g.window))
	at, err := s.at.MarshalBinary()
	if err != nil {
		return nil, err
	}
	copy(b[112:136], at)
	s.storeRoot.Marshal(b[136:])
	s.groupTable.Marshal(b[168:])
	s.catalog.Marshal(b[224:])
	le.PutUint64(b[280:], uint64(s.lastLayer))
	le.PutUint64(b[288:], s.lastJob)
	le.PutUint64(b[296:], uint64(s.lastIno))
	le.PutUint64(b[304:], uint64(s.made.UnixNano()))
	b[312] = byte(len(s.name))
	copy(b[313:], s.name)
	s.host.marshal(b[superHost:])
	le.PutUint64(b[16:], xxhash.Sum64(b))
	return b, nil
}

// unmarshal checks magic, then version, then checksum, and reports them as three errors. When the checksum is good the
// generation is set, also with an unknown version or feature: their places are the same in all versions.
func (s *superblock) unmarshal(b []byte) error {
	le := binary.LittleEndian
	if !bytes.Equal(b[:8], []byte(superMagic)) {
		return ErrNotPool
	}
	c := append([]byte(nil), b...)
	clear(c[16:24])
	have, want := xxhash.Sum64(c), le.Uint64(b[16:])
	if have == want {
		s.generation = le.Uint64(b[24:])
	}
	if v := le.Uint32(b[8:]); v != superVersion {
		return fmt.Errorf("version %d, this program knows %d: %w", v, superVersion, ErrVersion)
	}
	if have != want {
		return fmt.Errorf("superblock: checksum %016x, want %016x: %w", have, want, ErrCorrupt)
	}
	copy(s.uuid[:], b[32:])
	s.compatible, s.readOnly, s.incompatible = le.Uint64(b[48:]), le.Uint64(b[56:]), le.Uint64(b[64:])
	s.geometry = geometry{
		blocks: int64(le.Uint64(b[72:])), groupBlocks: int(le.Uint32(b[80:])), extentBlocks: int(le.Uint32(b[84:])),
		ringOff: int64(le.Uint64(b[88:])), ring: int64(le.Uint64(b[96:])), unit: int(le.Uint32(b[104:])),
		window: int64(le.Uint32(b[108:])),
	}
	if unknown := s.incompatible &^ knownIncompatibleFeatures; unknown != 0 {
		return fmt.Errorf("incompatible features %#x: %w", unknown, ErrFeature)
	}
	if err := s.at.UnmarshalBinary(b[112:136]); err != nil {
		return fmt.Errorf("superblock: journal position: %w", errors.Join(ErrCorrupt, err))
	}
	s.storeRoot = meta.UnmarshalPtr(b[136:])
	var err error
	if s.groupTable, err = meta.UnmarshalTree(b[168:]); err != nil {
		return fmt.Errorf("superblock: group table: %w", errors.Join(ErrCorrupt, err))
	}
	if s.catalog, err = meta.UnmarshalTree(b[224:]); err != nil {
		return fmt.Errorf("superblock: catalog: %w", errors.Join(ErrCorrupt, err))
	}
	s.lastLayer, s.lastJob, s.lastIno = LayerID(le.Uint64(b[280:])), le.Uint64(b[288:]), Ino(le.Uint64(b[296:]))
	if max(uint64(s.lastLayer), s.lastJob, uint64(s.lastIno)) > maxNumber {
		return fmt.Errorf("superblock: last layer %d, job %d, inode %d: %w", s.lastLayer, s.lastJob, s.lastIno, ErrCorrupt)
	}
	s.made = time.Unix(0, int64(le.Uint64(b[304:])))
	n := int(b[312])
	if n > MaxPoolName {
		return fmt.Errorf("superblock: name of %d bytes: %w", n, ErrCorrupt)
	}
	s.name = string(b[313 : 313+n])
	if err := CheckPoolName(s.name); err != nil {
		return fmt.Errorf("superblock: %w: %w", err, ErrCorrupt)
	}
	if err := s.host.unmarshal(b[superHost : superHost+hostBytes]); err != nil {
		return err
	}
	return s.geometry.validate()
}

// validate bounds every number before it sizes anything.
func (g geometry) validate() error {
	ok := g.blocks > 0 && g.blocks <= maxBlocks &&
		g.groupBlocks >= 16 && g.groupBlocks <= 4*BlockSize && g.groupBlocks&(g.groupBlocks-1) == 0 &&
		g.extentBlocks >= 2 && g.extentBlocks <= meta.ExtentPages &&
		(g.unit == 512 || g.unit == BlockSize) &&
		g.ringOff == superSlots*BlockSize && g.ring >= BlockSize && g.ring <= 1<<30 && g.ring%BlockSize == 0 &&
		g.ringOff+g.ring < g.blocks*BlockSize && g.window > 0 && g.window <= g.blocks
	if !ok {
		return fmt.Errorf("superblock: geometry %+v: %w", g, ErrCorrupt)
	}
	return nil
}

// salt keeps the batches of another pool that lay here before from being taken for this one's.
func (s *superblock) salt() uint64 { return xxhash.Sum64(s.uuid[:]) }

// superReader is what superblocks are read from.
type superReader interface {
	io.ReaderAt
	Size() int64
}

// readSuper returns the newest superblock and its slot. A slot that is damaged is passed over; whether its pool may
// still be opened by the older one the journal decides. A whole one that a later program wrote is not: if it is the
// newest, its error is returned.
func readSuper(dev superReader) (s superblock, slot int, err error) {
	if dev.Size() < superSlots*BlockSize {
		return s, 0, fmt.Errorf("device of %d bytes: %w", dev.Size(), ErrNotPool)
	}
	b := blockdev.Aligned(BlockSize)
	var errs [superSlots]error
	var unknown uint64 // generation of a whole one of a later program
	found := false
	for i := range superSlots {
		if _, errs[i] = dev.ReadAt(b, int64(i)*BlockSize); errs[i] != nil {
			continue
		}
		var one superblock
		if errs[i] = one.unmarshal(b); errs[i] != nil {
			if errors.Is(errs[i], ErrVersion) || errors.Is(errs[i], ErrFeature) {
				unknown = max(unknown, one.generation)
			}
			continue
		}
		if !found || one.generation > s.generation {
			s, slot, found = one, i, true
		}
	}
	if found && unknown < s.generation {
		return s, slot, nil
	}
	for _, e := range errs { // the error that says most
		if e != nil && !errors.Is(e, ErrNotPool) {
			return superblock{}, 0, e
		}
	}
	return superblock{}, 0, errs[0]
}
