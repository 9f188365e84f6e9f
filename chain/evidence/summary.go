package evidence

import (
	"time"

	"slatefs/chain/codec"
)

// Summary is what is known of the records that have left the log: all that ever did, from the first on. The zero Summary says
// that none has. Its numbers are blocks, as a row's are.
type Summary struct {
	At       Head      // the last that left: the chain goes on behind it
	Before   int64     // records of a time before there was a chain; they had no number
	Exported int64     // so many of all were exported before they left
	From     time.Time // when the first of what they tell of was freed
	To       time.Time // and the last was zeroed

	Freed     int64
	Erased    int64
	Released  int64 // part of erased: only given back
	Unclaimed int64 // part of erased: under erase=none
	Kept      int64
}

// Records is how many have left.
func (s *Summary) Records() int64 { return int64(s.At.Seq) + s.Before }

// Add takes the numbers and times of a record in that leaves. At, Before and Exported are the caller's to set.
func (s *Summary) Add(r *Row) {
	for _, t := range []time.Time{r.Since, r.First, r.Last} {
		if t.IsZero() {
			continue
		}
		if s.From.IsZero() || t.Before(s.From) {
			s.From = t
		}
		if t.After(s.To) {
			s.To = t
		}
	}
	s.Freed, s.Erased, s.Released, s.Kept = s.Freed+r.Freed, s.Erased+r.Erased, s.Released+r.Released, s.Kept+r.Kept
	if r.None {
		s.Unclaimed += r.Erased
	}
}

// Encode appends the summary.
func (s *Summary) Encode(e *codec.Encoder) {
	e.Uint(s.At.Seq)
	e.Bytes(s.At.Hash[:])
	e.Int(s.Before)
	e.Int(s.Exported)
	e.Time(s.From)
	e.Time(s.To)
	for _, n := range []int64{s.Freed, s.Erased, s.Released, s.Unclaimed, s.Kept} {
		e.Int(n)
	}
}

// DecodeSummary takes what Encode wrote. What does not add up is a fault of d.
func DecodeSummary(d *codec.Decoder) (s Summary) {
	s.At.Seq = d.Uint()
	fixed(d, s.At.Hash[:])
	s.Before, s.Exported = d.Int(), d.Int()
	s.From, s.To = d.Time(), d.Time()
	for _, n := range []*int64{&s.Freed, &s.Erased, &s.Released, &s.Unclaimed, &s.Kept} {
		if *n = d.Int(); *n > 1<<60 {
			d.Fail("number out of range")
		}
	}
	if max(s.At.Seq, uint64(s.Before)) > 1<<56 || s.Exported > s.Records() || s.Freed != s.Erased+s.Kept || max(s.Released, s.Unclaimed) > s.Erased {
		d.Fail("a summary that does not add up")
	}
	return s
}

func (s *Summary) marshal() []byte {
	e := codec.Encoder{}
	s.Encode(&e)
	return e.B
}
