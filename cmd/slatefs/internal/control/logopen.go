package control

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/show"
)

// OpenSignature is over the lines of days that are not over, as an export has them: they are in no chain yet, so the signature of a head
// says
// nothing of them.
type OpenSignature struct {
	Digest evidence.Hash `json:"digest"`
	Time   time.Time     `json:"time"`
	Key    []byte        `json:"key"`
	Sig    []byte        `json:"signature"`
}

// OpenLines adds up lines of days that are not over.
type OpenLines struct {
	n   int64
	sum hash.Hash
}

// Add adds the next record, if it is such a line.
func (o *OpenLines) Add(r *EraseRecord) error {
	if !r.Open {
		return nil
	}
	b, err := show.PublicJSON(r)
	if err == nil {
		o.add(b)
	}
	return err
}

// add adds a line as it stands in an export, without its end.
func (o *OpenLines) add(line []byte) {
	if o.sum == nil {
		o.sum = sha256.New()
	}
	o.n++
	o.sum.Write(line)
	o.sum.Write([]byte{'\n'})
}

func (o *OpenLines) digest() (d evidence.Hash) {
	if o.sum != nil {
		copy(d[:], o.sum.Sum(nil))
	}
	return d
}

const openTag = "slatefs erase log open lines 1\n"

// message is what is signed: the tag, the pool's UUID, the number and hash of the head behind which the lines come, how many they are (8
// bytes each,
// big-endian), their digest, and the time in nanoseconds since 1970.
func (o *OpenLines) message(pool uuid.UUID, head evidence.Head, when time.Time) []byte {
	b := binary.BigEndian.AppendUint64(append([]byte(openTag), pool[:]...), head.Seq)
	b = binary.BigEndian.AppendUint64(append(b, head.Hash[:]...), uint64(o.n))
	d := o.digest()
	return binary.BigEndian.AppendUint64(append(b, d[:]...), uint64(when.UnixNano()))
}

// Sign signs the lines; nil: there are none.
func (o *OpenLines) Sign(key ed25519.PrivateKey, pool uuid.UUID, head evidence.Head, when time.Time) *OpenSignature {
	if o.n == 0 {
		return nil
	}
	return &OpenSignature{o.digest(), when.UTC(), slices.Clone(key[ed25519.SeedSize:]), ed25519.Sign(key, o.message(pool, head, when))}
}

// verify tells whether these are the lines that were signed.
func (o *OpenLines) verify(s *OpenSignature, pool uuid.UUID, head evidence.Head) error {
	if s.Digest != o.digest() || len(s.Key) != ed25519.PublicKeySize || !ed25519.Verify(s.Key, o.message(pool, head, s.Time), s.Sig) {
		return fmt.Errorf("its %d lines of days that are not over are not those that were signed at %s: %w",
			o.n, s.Time.UTC().Format(time.RFC3339), evidence.ErrBroken)
	}
	return nil
}
