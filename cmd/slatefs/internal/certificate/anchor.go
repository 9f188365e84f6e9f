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

// places are the records whose hashes are known of the certificate's log: from its links, and from an export that leads to its head.
func (s *Signed) places(t Trust) map[uint64]evidence.Hash {
	l, at := &s.Document.Log, map[uint64]evidence.Hash{}
	if l.Links != nil {
		place, rest := l.Links.After, l.Links.Digests
		for at[place.Seq] = place.Hash; len(rest) > 0; rest = rest[len(evidence.Hash{}):] {
			place = place.Next(evidence.Hash(rest[:len(evidence.Hash{})]))
			at[place.Seq] = place.Hash
		}
	}
	for i, e := range t.run(l.Head.Head) {
		if i == 0 {
			at[e.Seq-1] = e.Prev
		}
		at[e.Seq] = e.Head().Hash
	}
	at[l.Head.Seq] = l.Head.Hash
	return at
}

// comparison is what became of anchors.
type comparison struct {
	same, before, later int
	newest              time.Time // that was compared
	missing             *Anchor   // the newest of those before
}

// checkAnchors proves that nobody knows a longer log of a time before the certificate, or another one. An anchor of a record before its links is not
// compared, and then nothing is proved: a log that forked behind it has anchors of its own that agree.
func (s *Signed) checkAnchors(t Trust) (string, error) {
	d := &s.Document
	if t.Anchors == nil {
		return "", nil
	}
	if d.Log.Head == nil {
		return "", fmt.Errorf("there are anchors, and the certificate has no head: %w", ErrAnchor)
	}
	c, err := s.compare(t)
	if err != nil {
		return "", err
	}
	n := c.same + c.before + c.later
	switch {
	case n == 0:
		return "", fmt.Errorf("none of %d anchors is of pool %v: %w", len(t.Anchors), d.Pool.UUID, ErrAnchor)
	case c.before > 0:
		return fmt.Sprintf(notProved+"that %d of %d anchors of the pool are of its log, the newest of record %d, %s: its links begin behind record %d. "+
			"--from has the exported log, and compares them; %d were compared", c.before, n, c.missing.Head.Seq, when(&c.missing.Time), d.begins(), c.same), nil
	case c.same == 0:
		return fmt.Sprintf(notProved+"all %d anchors of the pool are newer than the certificate, and not compared; --from has the exported log", n), nil
	}
	text := fmt.Sprintf("%d of %d anchors of the pool were compared, the newest of %s: none knows another log", c.same, n, when(&c.newest))
	if c.later > 0 {
		text += fmt.Sprintf("; %d newer than the certificate were not", c.later)
	}
	return text, nil
}

// begins is the record behind which the links of a certificate begin, which has a head.
func (d *Document) begins() uint64 {
	if d.Log.Links == nil {
		return d.Log.Head.Seq
	}
	return d.Log.Links.After.Seq
}

func (s *Signed) compare(t Trust) (c comparison, err error) {
	d := &s.Document
	h, at := d.Log.Head, s.places(t)
	for _, a := range t.Anchors {
		if a.Pool != d.Pool.UUID {
			continue
		}
		hash, there := at[a.Head.Seq]
		switch {
		case a.Head.Seq > h.Seq && !a.Time.After(d.Made):
			return c, fmt.Errorf("the log was rolled back: it ends at record %d at %s, an anchor of %s has record %d: %w",
				h.Seq, when(&d.Made), when(&a.Time), a.Head.Seq, ErrAnchor)
		case there && hash != a.Head.Hash:
			return c, fmt.Errorf("record %d is another one in the anchor of %s: %w", a.Head.Seq, when(&a.Time), ErrAnchor)
		case there:
			c.same++
			if a.Time.After(c.newest) {
				c.newest = a.Time
			}
		case a.Head.Seq > h.Seq:
			c.later++
		default:
			if c.before++; c.missing == nil || a.Head.Seq > c.missing.Head.Seq {
				c.missing = &a
			}
		}
	}
	return c, nil
}
