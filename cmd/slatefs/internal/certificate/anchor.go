package certificate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
)

// Anchor is a signed head that is kept outside of the pool that it is of: a log that was rolled back, or written anew, has no such
// record.
type Anchor struct {
	Pool uuid.UUID
	evidence.Signature
}

// anchorLine is an anchor in a file, a line each; in the system journal it is the same.
type anchorLine struct {
	Pool uuid.UUID `json:"pool_uuid"`
	Head
}

// anchor is a head as a signature of a pool's.
func (h *Head) anchor(pool uuid.UUID) (Anchor, error) {
	a := Anchor{pool, h.Signature()}
	if len(h.Key) != len(a.Key) || len(h.Sig) != len(a.Sig) {
		return a, fmt.Errorf("record %d: key and signature have %d and %d bytes: %w", h.Seq, len(h.Key), len(h.Sig), evidence.ErrBroken)
	}
	return a, nil
}

// Signature is the head as it was signed.
func (h *Head) Signature() (s evidence.Signature) {
	s.Head, s.Time = h.Head, h.Time
	copy(s.Key[:], h.Key)
	copy(s.Sig[:], h.Sig)
	return s
}

// HeadOf is a signed head as it stands in a certificate.
func HeadOf(s evidence.Signature) *Head { return &Head{s.Head, s.Time.UTC(), s.Key[:], s.Sig[:]} }

// Line is the anchor as a line of JSON.
func (a Anchor) Line() ([]byte, error) {
	b, err := encode(anchorLine{a.Pool, *HeadOf(a.Signature)})
	return append(b, '\n'), err
}

// maxAnchorLine bounds a line.
const maxAnchorLine = 4096

// ErrNoAnchor is for what is no anchor, or one that nobody signed.
var ErrNoAnchor = errors.New("is no anchor")

// ReadKept reads what a host keeps. A last line without an end is what a crash left, and the next one is written over it: it is passed over.
func ReadKept(b []byte) ([]Anchor, error) {
	return ReadAnchors(bytes.NewReader(b[:bytes.LastIndexByte(b, '\n')+1]))
}

// ReadAnchors reads lines, and proves that each is signed by the key in it. The last one may lack its end, and counts: what is not whole is an error.
func ReadAnchors(r io.Reader) (list []Anchor, err error) {
	in := bufio.NewReaderSize(r, maxAnchorLine)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return list, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return list, fmt.Errorf("line %d: %w: %w", n, err, ErrNoAnchor)
		}
		var l anchorLine
		if err := json.Unmarshal(line, &l); err != nil {
			return list, fmt.Errorf("line %d: %w: %w", n, err, ErrNoAnchor)
		}
		a, err := l.anchor(l.Pool)
		if err == nil {
			err = a.Verify(l.Pool)
		}
		if err != nil {
			return list, fmt.Errorf("line %d: %w: %w", n, err, ErrNoAnchor)
		}
		list = append(list, a)
	}
}

// known compares a place in a pool's chain with the anchors.
func (t Trust) known(pool uuid.UUID, at evidence.Head) error {
	for _, a := range t.Anchors {
		if a.Pool == pool && a.Head.Seq == at.Seq && a.Head != at {
			return fmt.Errorf("record %d is another one in the anchor of %s: %w", at.Seq, when(&a.Time), ErrAnchor)
		}
	}
	return nil
}

// checkAnchors proves that nobody knows a longer log of a time before the certificate, or another one.
func (s *Signed) checkAnchors(t Trust) (string, error) {
	d := &s.Document
	if t.Anchors == nil {
		return "", nil
	}
	h := d.Log.Head
	if h == nil {
		return "", fmt.Errorf("there are anchors, and the certificate has no head: %w", ErrAnchor)
	}
	n, newest := 0, time.Time{}
	for _, a := range t.Anchors {
		if a.Pool != d.Pool.UUID {
			continue
		}
		if n++; a.Time.After(newest) {
			newest = a.Time
		}
		if a.Head.Seq > h.Seq && !a.Time.After(d.Made) {
			return "", fmt.Errorf("the log was rolled back: it ends at record %d at %s, an anchor of %s has record %d: %w",
				h.Seq, when(&d.Made), when(&a.Time), a.Head.Seq, ErrAnchor)
		}
	}
	if n == 0 {
		return "", fmt.Errorf("none of %d anchors is of pool %v: %w", len(t.Anchors), d.Pool.UUID, ErrAnchor)
	}
	if err := t.known(d.Pool.UUID, h.Head); err != nil {
		return "", err
	}
	return fmt.Sprintf("none of %d anchors of the pool, the newest of %s, knows another log", n, when(&newest)), nil
}
