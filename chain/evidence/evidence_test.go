package evidence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

var (
	lab = uuid.MustParse("5c0d6ac6-2a0c-8a0e-9a44-3d2f5bd2a1c0")
	day = time.Unix(1796000000, 5)
)

func rows() []*Row {
	how := How{"zeroout", "full", "slatefs 1", "/dev/sda (wwn-1)", true}
	return []*Row{
		{
			Kind: Job, Number: 7, Volume: 2, Path: "vm", Name: "one", Layers: []meta.Birth{3, 4}, Reason: "snapshot destroyed", Who: "uid 7, me",
			Freed: 9, Erased: 5, Released: 2, Kept: 4, KeptBy: "vm, clone", How: how, Since: day, First: day.Add(1), Last: day.Add(2),
		},
		{Kind: Job, Number: 8, Freed: 3, Erased: 3, Since: day, Deadline: Deadline{4 * time.Hour, 3, 5 * time.Hour}},
		{Kind: Day, Number: 20786, Volume: 2, Path: "vm", Reason: "overwritten or discarded", None: true, Freed: 3, Erased: 3, How: how, Since: day, First: day, Last: day},
		{Kind: Nothing, Number: 20786, Volume: 2, Path: "caf\xe9", Layers: []meta.Birth{5}, Since: day},
		{
			Kind: Cut, Cut: &Summary{At: Head{3, Digest(nil)}, Before: 2, Exported: 4, From: day, To: day.Add(3), Freed: 9, Erased: 8, Released: 1, Unclaimed: 8, Kept: 1},
			Extra: []codec.Attr{{Name: "a", Val: []byte{1}}, {Name: "d", Val: []byte{}}},
		},
		{Kind: Closed, Volume: 2, Layers: []meta.Birth{3}, Written: 4, Since: day, Last: day},
	}
}

func entries() (out []Entry) {
	h := Genesis(lab)
	for _, r := range rows() {
		out = append(out, NewEntry(h, r.Marshal()))
		h = out[len(out)-1].Head()
	}
	return out
}

func TestRowsComeBack(t *testing.T) {
	for _, r := range rows() {
		got, err := Unmarshal(r.Marshal())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v, want %+v: %v", got, r, err)
		}
		if got, err = UnmarshalLine(r.Kind, r.Number, r.MarshalLine()); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("line: %+v, want %+v: %v", got, r, err)
		}
	}
}

// Rows that no pool writes are refused, and those that are cut off anywhere.
func TestHostileRows(t *testing.T) {
	for name, spoil := range map[string]func(*Row){
		"no kind":         func(r *Row) { r.Kind = 0 },
		"a later kind":    func(r *Row) { r.Kind = kinds },
		"negative":        func(r *Row) { r.Freed = -1 },
		"too many blocks": func(r *Row) { r.Kept = MaxBlocks + 1 },
		"a cut, no sums":  func(r *Row) { r.Kind = Cut },
		"sums, no cut":    func(r *Row) { r.Cut = &Summary{} },
		"a name twice":    func(r *Row) { r.Extra = []codec.Attr{{Name: "b"}, {Name: "b"}} },
		"no name":         func(r *Row) { r.Extra = []codec.Attr{{Name: ""}} },
		"sums with a rest": func(r *Row) {
			r.Kind, r.Extra = Cut, []codec.Attr{{Name: attrCut, Val: append((&Summary{}).marshal(), 0)}}
		},
		"sums cut off":       func(r *Row) { r.Kind, r.Extra = Cut, []codec.Attr{{Name: attrCut, Val: []byte{1, 2, 3}}} },
		"sums do not add up": func(r *Row) { r.Kind, r.Cut = Cut, &Summary{Freed: 1} },
		"more exported":      func(r *Row) { r.Kind, r.Cut = Cut, &Summary{Exported: 1} },
		"released and kept":  func(r *Row) { r.Kind, r.Cut = Cut, &Summary{Freed: 1, Kept: 1, Released: 1} },
		"sums that overflow": func(r *Row) { r.Kind, r.Cut = Cut, &Summary{Freed: 1 << 61, Erased: 1 << 60, Kept: 1 << 60} },
	} {
		r := rows()[0]
		spoil(r)
		if got, err := Unmarshal(r.Marshal()); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	r := Row{Kind: Job, Extra: []codec.Attr{{Name: "a"}, {Name: "b"}}}
	b := r.Marshal()
	if i := bytes.Index(b, []byte("\x01a\x00\x01b")); i < 0 {
		t.Errorf("attributes in % x", b)
	} else if b[i+1], b[i+4] = 'b', 'a'; true {
		if got, err := Unmarshal(b); !errors.Is(err, ErrBroken) {
			t.Errorf("attributes in another order: %+v, %v", got, err)
		}
	}
	for _, e := range entries() {
		for n := range e.Row {
			if got, err := Unmarshal(e.Row[:n]); !errors.Is(err, ErrBroken) {
				t.Errorf("%d bytes of %d: %+v, %v", n, len(e.Row), got, err)
			}
		}
		if _, err := Unmarshal(append(slices.Clone(e.Row), 0)); !errors.Is(err, ErrBroken) {
			t.Errorf("one byte more: %v", err)
		}
	}
}

// A run as it was made is good, wherever one begins, with rows and without; and no other is: not with any bit flipped, a
// record taken out, put in, moved or changed for another.
func TestVerify(t *testing.T) {
	es := entries()
	from, end := Genesis(lab), es[len(es)-1].Head()
	bare := slices.Clone(es)
	for i, e := range es {
		bare[i].Row = nil
		if h, err := Verify(from, es[:i]); err != nil || i > 0 && h != es[i-1].Head() {
			t.Errorf("%d records: %v, %v", i, h, err)
		}
		if h, err := Verify(Head{e.Seq - 1, e.Prev}, es[i:]); err != nil || h != end {
			t.Errorf("from record %d: %v, %v", e.Seq, h, err)
		}
	}
	if h, err := Verify(from, bare); err != nil || h != end {
		t.Errorf("digests: %v, %v", h, err)
	}
	// Whatever is wrong is found by Verify, or ends at another head, which no signature is of.
	bad := func(name string, es []Entry) {
		t.Helper()
		if h, err := Verify(from, es); err == nil && h == end || err != nil && !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
	for _, run := range [][]Entry{es, bare} {
		for i := range run {
			for bit := range 8 * len(run[i].Row) {
				c := slices.Clone(run)
				c[i].Row = slices.Clone(run[i].Row)
				c[i].Row[bit/8] ^= 1 << (bit % 8)
				bad("a bit of a row", c)
				c[i].Digest = Digest(c[i].Row)
				bad("a bit of a row with its digest", c)
			}
			for bit := range 256 {
				c := slices.Clone(run)
				c[i].Prev[bit/8] ^= 1 << (bit % 8)
				bad("a bit of a hash", c)
				c = slices.Clone(run)
				c[i].Digest[bit/8] ^= 1 << (bit % 8)
				bad("a bit of a digest", c)
			}
			for bit := range 64 {
				c := slices.Clone(run)
				c[i].Seq ^= 1 << bit
				bad("a bit of a number", c)
			}
			bad("one is gone", slices.Delete(slices.Clone(run), i, i+1))
			bad("one is there twice", slices.Insert(slices.Clone(run), i, run[i]))
			for j := range i {
				c := slices.Clone(run)
				c[i], c[j] = c[j], c[i]
				bad("two have changed places", c)
				c[i].Seq, c[j].Seq = c[j].Seq, c[i].Seq
				bad("two have changed places and numbers", c)
			}
		}
	}
	if h, err := Verify(Genesis(uuid.New()), es); !errors.Is(err, ErrBroken) {
		t.Errorf("another pool: %v, %v", h, err)
	}
}

// Records that were made anew, each tied to the last as it should be, end at another head.
func TestAnotherHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := rows()
		i := rapid.IntRange(0, len(rs)-1).Draw(t, "which")
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			rs[i].Freed++
		case 1:
			rs = slices.Delete(rs, i, i+1)
		case 2:
			rs = slices.Insert(rs, i, rs[rapid.IntRange(0, len(rs)-1).Draw(t, "copied")])
		case 3:
			j := rapid.IntRange(0, len(rs)-1).Filter(func(j int) bool { return j != i }).Draw(t, "other")
			rs[i], rs[j] = rs[j], rs[i]
		}
		h := Genesis(lab)
		for _, r := range rs {
			h = h.Next(Digest(r.Marshal()))
		}
		if es := entries(); h == es[len(es)-1].Head() {
			t.Fatal("two histories have one head")
		}
	})
}

// A signature is of one head, one pool and one time, by one key.
func TestSignature(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	es := entries()
	s := SignHead(key, lab, es[2].Head(), day)
	got, err := UnmarshalSignature(s.Marshal())
	if err != nil || !reflect.DeepEqual(got, s) || got.Verify(lab) != nil || !bytes.Equal(got.Key[:], key[32:]) {
		t.Fatalf("%+v, want %+v: %v", got, s, err)
	}
	for name, spoil := range map[string]func(*Signature){
		"number": func(s *Signature) { s.Head.Seq++ },
		"hash":   func(s *Signature) { s.Head.Hash[31] ^= 1 },
		"time":   func(s *Signature) { s.Time = s.Time.Add(1) },
		"era":    func(s *Signature) { s.Time = s.Time.AddDate(600, 0, 0) },
		"key":    func(s *Signature) { s.Key[0] ^= 1 },
		"bits":   func(s *Signature) { s.Sig[0] ^= 1 },
	} {
		c := s
		if spoil(&c); !errors.Is(c.Verify(lab), ErrBroken) {
			t.Errorf("another %s: %v", name, c.Verify(lab))
		}
	}
	if err := s.Verify(uuid.New()); !errors.Is(err, ErrBroken) {
		t.Errorf("another pool: %v", err)
	}
	for n := range s.Marshal() {
		if _, err := UnmarshalSignature(s.Marshal()[:n]); !errors.Is(err, ErrBroken) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
}

func TestHashAsText(t *testing.T) {
	h := Digest([]byte("x"))
	text, _ := h.MarshalText()
	var got Hash
	if err := got.UnmarshalText(text); err != nil || got != h {
		t.Errorf("%v, want %v: %v", got, h, err)
	}
	for _, s := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("0", 65), strings.Repeat("0", 66), strings.Repeat("g", 64), strings.Repeat("A", 64)} {
		if err := got.UnmarshalText([]byte(s)); !errors.Is(err, ErrBroken) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// Golden: what is hashed never changes, or no old signature is worth anything.
func TestGoldenHead(t *testing.T) {
	es := entries()
	if got, want := es[len(es)-1].Head().Hash.String(), "dbcbb6a3719117707d987ca8aa4a522338cea719269114e5dd9f8642c9fe469d"; got != want {
		t.Errorf("head %s, want %s", got, want)
	}
	if got := VolumeUUID(lab, 2).String() + " " + LayerUUID(lab, 3).String(); got != "63fc4de8-6013-8ee5-bbe6-abbe66e8e344 be708d18-50b6-8d43-be7f-9ba6464db70a" {
		t.Errorf("UUIDs %s", got)
	}
}

// Whatever the bytes are: a row is refused, or it is written as the same bytes again.
func FuzzRow(f *testing.F) {
	for _, r := range rows() {
		f.Add(r.Marshal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Unmarshal(b)
		if err != nil {
			if !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
			return
		}
		if got := r.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("%x is taken, and written as %x", b, got)
		}
	})
}

// The same of signatures.
func FuzzSignature(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	s := SignHead(key, lab, Genesis(lab), day)
	f.Add(s.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := UnmarshalSignature(b)
		if err != nil {
			return
		}
		if s.Verify(lab) == nil && !bytes.Equal(s.Key[:], key[32:]) {
			t.Fatal("who signed that?")
		}
		if got := s.Marshal(); !bytes.Equal(got, b) {
			t.Fatalf("%x is taken, and written as %x", b, got)
		}
	})
}
