package evidence

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/codec"
)

const signTag = "slatefs erase log head 1\n"

// Signature says that who holds a key saw this head of this pool's chain at a time, by the clock of the signer.
type Signature struct {
	Head Head
	Time time.Time
	Key  [ed25519.PublicKeySize]byte // the public half
	Sig  [ed25519.SignatureSize]byte
}

// SignHead signs a head.
func SignHead(key ed25519.PrivateKey, pool uuid.UUID, h Head, when time.Time) Signature {
	s := Signature{Head: h, Time: when}
	copy(s.Key[:], key[ed25519.SeedSize:])
	copy(s.Sig[:], ed25519.Sign(key, s.Message(pool)))
	return s
}

// Message is what is signed: the tag, the pool's UUID, the number (8 bytes, big-endian), the hash, and the time in
// nanoseconds since 1970 (8 bytes, big-endian).
func (s *Signature) Message(pool uuid.UUID) []byte {
	b := append([]byte(signTag), pool[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Head.Seq)
	b = append(b, s.Head.Hash[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(s.Time.UnixNano()))
}

// Verify tells whether the key has signed it for this pool. Whose key it is, is the caller's to know.
func (s *Signature) Verify(pool uuid.UUID) error {
	if !s.Time.Equal(time.Unix(0, s.Time.UnixNano())) {
		return fmt.Errorf("signature of record %d at a time that no signature has: %w", s.Head.Seq, ErrBroken)
	}
	if !ed25519.Verify(s.Key[:], s.Message(pool), s.Sig[:]) {
		return fmt.Errorf("signature of record %d by key %x: %w", s.Head.Seq, s.Key, ErrBroken)
	}
	return nil
}

// Marshal gives the bytes that lie in a pool.
func (s *Signature) Marshal() []byte {
	e := codec.Encoder{}
	e.Uint(s.Head.Seq)
	e.Bytes(s.Head.Hash[:])
	e.Time(s.Time)
	e.Bytes(s.Key[:])
	e.Bytes(s.Sig[:])
	return e.B
}

// UnmarshalSignature takes what Marshal gives. It does not verify.
func UnmarshalSignature(b []byte) (s Signature, err error) {
	d := codec.Decoder{B: b}
	s.Head.Seq = d.Uint()
	fixed(&d, s.Head.Hash[:])
	s.Time = d.Time()
	fixed(&d, s.Key[:])
	fixed(&d, s.Sig[:])
	if err := d.Done(); err != nil {
		return s, fmt.Errorf("signature: %w: %w", err, ErrBroken)
	}
	return s, nil
}

// fixed takes bytes of just this length.
func fixed(d *codec.Decoder, to []byte) {
	if b := d.Bytes(); len(b) != len(to) {
		d.Fail("bytes of another length")
	} else {
		copy(to, b)
	}
}
