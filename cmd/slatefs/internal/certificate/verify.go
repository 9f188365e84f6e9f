package certificate

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// What is wrong with a certificate that is whole, and signed by the key in it.
var (
	ErrKey    = errors.New("is signed by another key")
	ErrChain  = errors.New("its records do not hold together")
	ErrClaims = errors.New("claims what does not follow from it")
	ErrAnchor = errors.New("contradicts an anchor")
)

// Trust is what who verifies has from elsewhere.
type Trust struct {
	Keys    []ed25519.PublicKey // of the pool; nil: nobody vouches for the key in the certificate
	Anchors []Anchor            // heads that were signed, as a host or a journal kept them; nil: none are compared
	Export  []evidence.Entry    // of the log, in order; nil: none is compared
	Lines   ed25519.PublicKey   // that signed the lines of days that are not over in the export; nil: nobody has
	Loose   int64               // such lines in it that are not what somebody has signed
}

// notProved begins what Verify could not prove with what it was given: with such a line a certificate is not verified.
const notProved = "NOT PROVED: "

// Lacking are the lines of Verify that say what could not be proved.
func Lacking(proved []string) (list []string) {
	for _, line := range proved {
		if strings.HasPrefix(line, notProved) {
			list = append(list, line)
		}
	}
	return list
}

// Verify says what holds beside Read: that the key is the pool's, that the records are those of the log under the signed head and say
// what is shown, that the sums are theirs, and that no anchor knows another log. proved is that in words, for people.
func (s *Signed) Verify(t Trust) (proved []string, err error) {
	for _, check := range []func(Trust) (string, error){
		s.checkKey, s.checkClaims, s.checkHead, s.checkRecords, s.checkLinks, s.checkExport, s.checkLines, s.checkAnchors,
	} {
		text, err := check(t)
		if err != nil {
			return proved, err
		}
		if text != "" {
			proved = append(proved, text)
		}
	}
	return proved, nil
}

func (s *Signed) checkKey(t Trust) (string, error) {
	name := Fingerprint(s.Key)
	if t.Keys == nil {
		return fmt.Sprintf("signed by the key %s, for which nobody vouches here: --key has the public half of the pool's", name), nil
	}
	if !slices.ContainsFunc(t.Keys, func(k ed25519.PublicKey) bool { return k.Equal(s.Key) }) {
		var have []string
		for _, k := range t.Keys {
			have = append(have, Fingerprint(k))
		}
		return "", fmt.Errorf("%s, wanted one of %v: %w", name, have, ErrKey)
	}
	return "signed by the pool's key " + name, nil
}

// checkClaims proves that what it comes to follows from what stands in it.
func (s *Signed) checkClaims(Trust) (string, error) {
	d := &s.Document
	if d.Complete != (len(d.Left) == 0 && len(d.Reasons) == 0) {
		return "", fmt.Errorf("complete is %v with %d parts left and %d reasons: %w", d.Complete, len(d.Left), len(d.Reasons), ErrClaims)
	}
	for _, p := range d.Left {
		if _, ok := states[p.State]; !ok || p.Bytes <= 0 {
			return "", fmt.Errorf("a part of %d bytes is left as %q: %w", p.Bytes, p.State, ErrClaims)
		}
	}
	if a := d.Account; a != nil && (a.Written != a.Zeroed+a.Released+a.Left || d.Complete && a.Left+a.Released > 0) {
		return "", fmt.Errorf("its account is %+v, and complete is %v: %w", *a, d.Complete, ErrClaims)
	}
	if sums := AmountsOf(d.Records); sums != d.Amounts {
		return "", fmt.Errorf("its sums are %+v, those of its records %+v: %w", d.Amounts, sums, ErrClaims)
	}
	return "", nil
}

// AmountsOf are the sums of records.
func AmountsOf(list []Record) (a Amounts) {
	for _, r := range list {
		e := r.Shown
		if !r.Counts() {
			continue
		}
		a.Freed, a.Kept = a.Freed+e.Freed, a.Kept+e.Kept
		if e.Claimed() {
			a.Erased += e.Erased
		} else {
			a.Unproven += e.Erased + e.Released
		}
	}
	return a
}

func (s *Signed) checkHead(Trust) (string, error) {
	d := &s.Document
	h := d.Log.Head
	if h == nil {
		if d.Log.Links != nil || d.Log.Cut != nil {
			return "", fmt.Errorf("the head of the log is missing: %w", ErrChain)
		}
		return "", nil
	}
	a, err := h.anchor(d.Pool.UUID)
	if err == nil {
		err = a.Verify(d.Pool.UUID)
	}
	if err != nil {
		return "", fmt.Errorf("head of the log: %w: %w", err, ErrChain)
	}
	if !bytes.Equal(h.Key, s.Key) {
		return "", fmt.Errorf("the head of the log is signed by %s: %w", Fingerprint(h.Key), ErrKey)
	}
	return fmt.Sprintf("the log's head, record %d, is signed by the same key, at %s", h.Seq, when(&h.Time)), nil
}

// checkRecords proves that what people read of a record is what its row says.
func (s *Signed) checkRecords(Trust) (string, error) {
	d := &s.Document
	last, before, open := uint64(0), 0, 0
	for i, r := range d.Records {
		if r.Seq == 0 {
			switch {
			case r.Row == nil && r.Shown.Open:
				open++
			case r.Row == nil && last == 0 && open == 0:
				before++
			default:
				return "", fmt.Errorf("record %d of this has no number: %w", i+1, ErrChain)
			}
			continue
		}
		if open > 0 || r.Seq <= last || d.Log.Head == nil || r.Seq > d.Log.Head.Seq || r.Seq < d.Log.First {
			return "", fmt.Errorf("record %d stands after record %d: %w", r.Seq, last, ErrChain)
		}
		last = r.Seq
		row, err := evidence.Unmarshal(r.Row)
		if err != nil {
			return "", fmt.Errorf("record %d: %w: %w", r.Seq, err, ErrChain)
		}
		want, err := encode(show.Escaped(control.RecordOf(d.Pool.Name, d.Pool.UUID, row)))
		if err != nil {
			return "", err
		}
		got, err := encode(r.Shown)
		if err != nil {
			return "", err
		}
		if !bytes.Equal(got, want) {
			return "", fmt.Errorf("record %d is not shown as its row says, %s: %w", r.Seq, firstOther(want, got), ErrChain)
		}
	}
	switch {
	case before > 0 && open > 0:
		return fmt.Sprintf(notProved+"%d records are of a time before the log was a chain; %s", before, openWords(open)), nil
	case before > 0:
		return fmt.Sprintf(notProved+"%d records are of a time before the log was a chain", before), nil
	case open > 0:
		return openWords(open), nil
	}
	return "", nil
}

// openWords say what vouches for lines that are in no chain yet.
func openWords(n int) string {
	return fmt.Sprintf("lines of days that are not over: %d, NOT PROVED by the chain, which they are not in yet, but by the signature of this", n)
}

// checkLinks goes from the first record of the certificate to the head of the log.
func (s *Signed) checkLinks(t Trust) (string, error) {
	d := &s.Document
	l := d.Log.Links
	switch {
	case d.Log.Head == nil:
		return "", nil
	case l == nil && t.Export == nil:
		return notProved + "that its records are in the log under that head; --from has the exported log", nil
	case l == nil:
		return "", nil
	}
	if l.After.Seq == 0 && !d.Log.Renamed && l.After != evidence.Genesis(d.Pool.UUID) || d.Log.Cut != nil && l.After.Seq == d.Log.Cut.At.Seq && l.After != d.Log.Cut.At {
		return "", fmt.Errorf("its chain does not begin at record %d of this pool: %w", l.After.Seq, ErrChain)
	}
	at, records := l.After, d.chained()
	for rest := l.Digests; len(rest) > 0; {
		var digest evidence.Hash
		if n := copy(digest[:], rest); n < len(digest) {
			return "", fmt.Errorf("%d bytes of links are left over: %w", n, ErrChain)
		}
		rest = rest[len(digest):]
		at = at.Next(digest)
		if len(records) > 0 && records[0].Seq == at.Seq {
			if evidence.Digest(records[0].Row) != digest {
				return "", fmt.Errorf("record %d is another one in the log: %w", at.Seq, ErrChain)
			}
			records = records[1:]
		}
	}
	switch {
	case len(records) > 0:
		return "", fmt.Errorf("record %d is not in the chain of records %d to %d: %w", records[0].Seq, l.After.Seq+1, at.Seq, ErrChain)
	case at != d.Log.Head.Head:
		return "", fmt.Errorf("its chain ends at record %d with %v, the head is record %d, %v: %w", at.Seq, at.Hash, d.Log.Head.Seq, d.Log.Head.Hash, ErrChain)
	}
	if d.Log.Renamed {
		return fmt.Sprintf("records %d to %d are one chain, and all records of this are in it; it began under another UUID of the pool, as its key says", l.After.Seq+1, at.Seq), nil
	}
	return fmt.Sprintf("records %d to %d are one chain, and all records of this are in it", l.After.Seq+1, at.Seq), nil
}

// chained are the records with a number.
func (d *Document) chained() []Record {
	return slices.DeleteFunc(slices.Clone(d.Records), func(r Record) bool { return r.Seq == 0 })
}

// checkExport compares with the log as somebody exported it. The export is of another time: what both have must be the same.
func (s *Signed) checkExport(t Trust) (string, error) {
	d := &s.Document
	if t.Export == nil || d.Log.Head == nil {
		return "", nil
	}
	seen, run := 0, t.run(d.Log.Head.Head)
	records := d.chained()
	for _, e := range t.Export {
		for len(records) > 0 && records[0].Seq < e.Seq {
			records = records[1:]
		}
		if len(records) > 0 && records[0].Seq == e.Seq {
			if evidence.Digest(records[0].Row) != e.Digest {
				return "", fmt.Errorf("record %d is another one in the export: %w", e.Seq, ErrChain)
			}
			if len(run) > 0 && e.Seq >= run[0].Seq {
				seen++
			}
		}
		if e.Seq == d.Log.Head.Seq && e.Head() != d.Log.Head.Head {
			return "", fmt.Errorf("the head, record %d, is another one in the export: %w", e.Seq, ErrChain)
		}
	}
	of := len(d.chained())
	if seen < of || run == nil {
		return fmt.Sprintf(notProved+"the export has %d of its %d records in one piece with its head, and its head: %v", seen, of, run != nil), nil
	}
	return fmt.Sprintf("its %d records and its head are in the export", of), nil
}

// checkLines proves who signed the lines of days that are not over in the export: they are in no chain, and those of the certificate it
// signs itself.
func (s *Signed) checkLines(t Trust) (string, error) {
	own := func(k ed25519.PublicKey) bool { return k.Equal(t.Lines) }
	switch {
	case t.Lines != nil && !s.Key.Equal(t.Lines) && !slices.ContainsFunc(t.Keys, own):
		return "", fmt.Errorf("the lines of days that are not over in the export: %s: %w", Fingerprint(t.Lines), ErrKey)
	case t.Loose > 0:
		said := "what the export says of days that are not over: its %d lines are not what somebody has signed"
		return fmt.Sprintf(notProved+said, t.Loose), nil
	}
	return "", nil
}

// run are the entries of the export that hang together with a head; nil: it has no such head.
func (t Trust) run(head evidence.Head) []evidence.Entry {
	from, found := 0, false
	for i, e := range t.Export {
		if i > 0 {
			if _, err := t.Export[i-1].Head().Follow(e); err != nil {
				if found {
					return t.Export[from:i]
				}
				from = i
			}
		}
		found = found || e.Head() == head
	}
	if !found {
		return nil
	}
	return t.Export[from:]
}
