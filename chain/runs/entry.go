package runs

import (
	"encoding/binary"
	"fmt"

	"slatefs/alloc"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
)

// Entry is the value in a list: a run of n blocks, or one map page.
type Entry struct {
	Len  int64 // blocks; 1 of a page
	Page bool
}

const (
	entryBlocks = 1
	entryPage   = 2
)

// Key is where a run or page lies in a list: by birth, then by its first block.
func Key(birth meta.Birth, b alloc.BlockID) omap.Key {
	return omap.Key{Hi: uint64(birth), Lo: uint64(b)}
}

// Marshal is the entry as it lies in a tree.
func (e Entry) Marshal() []byte {
	if e.Page {
		return []byte{entryPage}
	}
	return binary.AppendUvarint([]byte{entryBlocks}, uint64(e.Len))
}

// ParseEntry reads what Marshal wrote. The error is ErrCorrupt.
func ParseEntry(b []byte) (Entry, error) {
	if len(b) == 1 && b[0] == entryPage {
		return Entry{Len: 1, Page: true}, nil
	}
	if len(b) > 1 && b[0] == entryBlocks {
		if n, k := binary.Uvarint(b[1:]); k == len(b)-1 && b[k] != 0 && n > 0 && n <= 1<<40 {
			return Entry{Len: int64(n)}, nil
		}
	}
	return Entry{}, fmt.Errorf("list entry % x: %w", b, ErrCorrupt)
}

// WeighEntry is the weight of an entry in a tree: its guest blocks.
func WeighEntry(_ meta.Key, val []byte) uint64 {
	e, err := ParseEntry(val)
	if err != nil || e.Page {
		return 0
	}
	return uint64(e.Len)
}

// Blocks is the weight of an entry in memory.
func (e Entry) Blocks() int64 {
	if e.Page {
		return 0
	}
	return e.Len
}

// EditOf turns an entry in memory into an edit of a tree.
func EditOf(k omap.Key, e Entry) meta.Edit { return meta.Edit{Key: meta.Key(k), Val: e.Marshal()} }
