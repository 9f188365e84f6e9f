// Package evidence is the chain that the erase log is: what a record's bytes are, how each is tied to the one before it, and
// what a signature of the newest is over. It knows no pool and takes no locks, so that who verifies an export or a certificate
// on another machine uses the same lines as the pool that wrote it.
//
//	digest(n) = SHA-256("slatefs erase log row 1\n" || the row's bytes)
//	hash(0)   = SHA-256("slatefs erase log pool 1\n" || the pool's UUID)
//	hash(n)   = SHA-256("slatefs erase log link 1\n" || n, 8 bytes, big-endian || hash(n-1) || digest(n))
//
// So a record cannot be changed, taken out, put in or moved without the hash of the newest becoming another. A document that
// shows some records carries of the others between them just the digests. What ties the newest to a person is a signature of
// its Head: nothing in here keeps who holds the key from writing another chain.
package evidence

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"slatefs/chain/meta"
)

// ErrBroken is what every error wraps that says of a chain, a row or a signature that it is not what it claims to be.
var ErrBroken = errors.New("broken")

const (
	rowTag  = "slatefs erase log row 1\n"
	poolTag = "slatefs erase log pool 1\n"
	linkTag = "slatefs erase log link 1\n"
)

// Hash is a SHA-256: of a row (its digest), or of all that was logged up to a record. As text it is 64 hexadecimal digits.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText takes what String gives, and nothing else.
func (h *Hash) UnmarshalText(b []byte) error {
	var got Hash
	if n, err := hex.Decode(got[:], b[:min(len(b), 2*len(got))]); err != nil || n != len(got) || got.String() != string(b) {
		return fmt.Errorf("hash %.70q: want 64 hexadecimal digits: %w", b, ErrBroken)
	}
	*h = got
	return nil
}

// Digest is what the chain has of a row's bytes.
func Digest(row []byte) Hash { return sum(rowTag, row) }

// Link is the hash of a record, by its number, the hash of the one before it and its digest.
func Link(seq uint64, prev, digest Hash) Hash {
	return sum(linkTag, binary.BigEndian.AppendUint64(nil, seq), prev[:], digest[:])
}

func sum(tag string, parts ...[]byte) (h Hash) {
	s := sha256.New()
	s.Write([]byte(tag))
	for _, p := range parts {
		s.Write(p)
	}
	s.Sum(h[:0])
	return h
}

// Head is a place in a chain: the number of a record, and the hash of all up to it.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
}

// Genesis is where the chain of a pool begins, before its first record, which has the number 1.
func Genesis(pool uuid.UUID) Head { return Head{Hash: sum(poolTag, pool[:])} }

// Next is the head when a record follows, by its digest.
func (h Head) Next(digest Hash) Head { return Head{h.Seq + 1, Link(h.Seq+1, h.Hash, digest)} }

// Entry is a record as it stands in the chain. Who shows no more of it than that it is there leaves Row out.
type Entry struct {
	Seq    uint64
	Prev   Hash
	Digest Hash
	Row    []byte // the canonical bytes; nil: only the digest is known
}

// NewEntry is the entry of the row that follows a head.
func NewEntry(h Head, row []byte) Entry { return Entry{h.Seq + 1, h.Hash, Digest(row), row} }

// Head is the head of a chain that ends with the entry.
func (e Entry) Head() Head { return Head{e.Seq, Link(e.Seq, e.Prev, e.Digest)} }

// Follow is the head after an entry, if that is the one which follows h.
func (h Head) Follow(e Entry) (Head, error) {
	switch {
	case e.Seq != h.Seq+1:
		return h, fmt.Errorf("record %d follows record %d: %w", e.Seq, h.Seq, ErrBroken)
	case e.Prev != h.Hash:
		return h, fmt.Errorf("record %d names as the hash before it %v, and that is %v: %w", e.Seq, e.Prev, h.Hash, ErrBroken)
	case e.Row != nil && Digest(e.Row) != e.Digest:
		return h, fmt.Errorf("record %d: its digest is %v, and its row has %v: %w", e.Seq, e.Digest, Digest(e.Row), ErrBroken)
	}
	return e.Head(), nil
}

// Verify goes along a run of entries from a head on, and returns where it ends. Of rows that are there it proves that they
// can be read, and that they add up. The error names the first record that is not as it must be; the head is then the last
// good one.
func Verify(from Head, entries []Entry) (Head, error) {
	for _, e := range entries {
		next, err := from.Follow(e)
		if err != nil {
			return from, err
		}
		if e.Row != nil {
			if _, err := Unmarshal(e.Row); err != nil {
				return from, fmt.Errorf("record %d: %w", e.Seq, err)
			}
		}
		from = next
	}
	return from, nil
}

// VolumeUUID names a volume for ever, by the pool and the number of its inode.
func VolumeUUID(pool uuid.UUID, ino uint64) uuid.UUID { return derived(pool, "volume", ino) }

// LayerUUID names a layer for ever: what a head, a snapshot or a clone wrote.
func LayerUUID(pool uuid.UUID, layer meta.Birth) uuid.UUID {
	return derived(pool, "layer", uint64(layer))
}

// derived is the UUID, version 8, of something with a permanent number in a pool. Nothing is stored for it: it is the SHA-256,
// cut off, of the pool's UUID, the kind, and the number, big-endian, which is never used again.
func derived(pool uuid.UUID, kind string, number uint64) uuid.UUID {
	return uuid.NewHash(sha256.New(), pool, binary.BigEndian.AppendUint64([]byte(kind), number), 8)
}
