package evidence

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"slatefs/alloc"
	"slatefs/chain/codec"
	"slatefs/chain/meta"
)

// ReasonRollback is the reason of a rollback's row: its layers were written behind the snapshot that it names, and are not that one's.
const ReasonRollback = "rolled back"

// BlockSize is what the numbers of a row are multiplied with to be bytes.
const BlockSize = alloc.BlockSize

// Kind says what a row is about. The numbers are on disk.
type Kind uint8

// The kinds.
const (
	Job     Kind = iota + 1 // a job that has ended. Number: the job
	Day                     // what a volume overwrote and discarded in a day that is over. Number: days since 1970, UTC
	Nothing                 // what was destroyed in a day and owned nothing. Number: the day
	Cut                     // the oldest records have left the log. Number: none
	Closed                  // of all that was ever written to the layers nothing is left. Number: none
	kinds
)

// How says by what blocks were zeroed: the eraser's words.
type How struct {
	Method, Verify string
	Program        string // and its version
	Device         string // what lies below, by a name that lasts
	Releases       bool   // the method only gives space back: never called erased
}

// And collects the words of several reports; Releases is the last one's.
func (h How) And(o How) How {
	return How{word(h.Method, o.Method), word(h.Verify, o.Verify), word(h.Program, o.Program), word(h.Device, o.Device), o.Releases}
}

// word is a list of words with one more in it, once.
func word(words, w string) string {
	switch {
	case w == "" || slices.Contains(strings.Split(words, ", "), w):
		return words
	case words == "":
		return w
	}
	return words + ", " + w
}

// Encode appends the words.
func (h How) Encode(e *codec.Encoder) {
	e.Str(h.Method)
	e.Str(h.Verify)
	e.Str(h.Program)
	e.Str(h.Device)
	e.Bool(h.Releases)
}

// DecodeHow takes what Encode wrote.
func DecodeHow(d *codec.Decoder) How { return How{d.Str(), d.Str(), d.Str(), d.Str(), d.Bool()} }

// Row is what a record says. Its numbers are blocks: Freed = Erased + Kept, and Released is a part of Erased.
type Row struct {
	Kind   Kind
	Number uint64

	Volume uint64 // its inode; 0: of no volume
	Path   string // of the volume, when it was freed
	Name   string // of the snapshot, or what it was
	Layers []meta.Birth
	Reason string
	Who    string
	None   bool // erase=none: zeroed where it was reused, and nothing is claimed

	Freed    int64
	Erased   int64
	Released int64 // zero to read, but not erased below
	Kept     int64 // others showed it when it was destroyed, those in KeptBy
	KeptBy   string

	How         How
	Since       time.Time // freed
	First, Last time.Time // zeroed

	Deadline Deadline // the zero one: nothing was promised

	Written int64 // of Closed: blocks that were ever written to the layers; each is in the record of what zeroed it

	Cut   *Summary     // of a Cut, and of nothing else
	Extra []codec.Attr // that this program does not know, by name
}

// The attributes that this program knows.
const (
	attrCut      = "cut"
	attrDeadline = "deadline"
	attrWritten  = "written"
)

// Deadline is what was promised of when blocks would be zero, and what came of it.
type Deadline struct {
	Within  time.Duration // from when they were freed; above 0
	Late    int64         // blocks that were zero only after that
	Longest time.Duration // that a block took
}

// maxWithin bounds a deadline: no property is set to more.
const maxWithin = 100 * 365 * 24 * time.Hour

// Encode appends it.
func (l Deadline) Encode(e *codec.Encoder) {
	e.Uint(uint64(l.Within))
	e.Int(l.Late)
	e.Uint(uint64(l.Longest))
}

// DecodeDeadline takes what Encode wrote of one that was promised.
func DecodeDeadline(d *codec.Decoder) Deadline {
	within, late, longest := d.Uint(), d.Int(), d.Uint()
	if within == 0 || within > uint64(maxWithin) || late > MaxBlocks || longest > 1<<63-1 {
		d.Fail("deadline out of range")
	}
	return Deadline{time.Duration(within), late, time.Duration(longest)}
}

// MaxBlocks bounds each number of a row: a pool has 2^40 blocks, and may be overwritten some times a day.
const MaxBlocks = 1 << 50

// Marshal gives the canonical bytes: kind, number, then the line.
func (r *Row) Marshal() []byte {
	e := codec.Encoder{}
	e.Byte(byte(r.Kind))
	e.Uint(r.Number)
	r.line(&e)
	return e.B
}

// MarshalLine gives the row without kind and number, for who knows them from where it lies.
func (r *Row) MarshalLine() []byte {
	e := codec.Encoder{}
	r.line(&e)
	return e.B
}

func (r *Row) line(e *codec.Encoder) {
	e.Uint(r.Volume)
	e.Str(r.Path)
	e.Str(r.Name)
	e.Births(r.Layers)
	e.Str(r.Reason)
	e.Str(r.Who)
	e.Bool(r.None)
	for _, n := range []int64{r.Freed, r.Erased, r.Released, r.Kept} {
		e.Int(n)
	}
	e.Str(r.KeptBy)
	r.How.Encode(e)
	e.Time(r.Since)
	e.Time(r.First)
	e.Time(r.Last)
	e.Attrs(r.attrs())
}

// attrs are in the order of their names, whoever knows which of them.
func (r *Row) attrs() []codec.Attr {
	out := slices.Clone(r.Extra)
	if r.Cut != nil {
		out = append(out, codec.Attr{Name: attrCut, Val: r.Cut.marshal()})
	}
	if r.Deadline != (Deadline{}) {
		var e codec.Encoder
		r.Deadline.Encode(&e)
		out = append(out, codec.Attr{Name: attrDeadline, Val: e.B})
	}
	if r.Written > 0 {
		var e codec.Encoder
		e.Int(r.Written)
		out = append(out, codec.Attr{Name: attrWritten, Val: e.B})
	}
	slices.SortStableFunc(out, func(a, b codec.Attr) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Unmarshal takes what Marshal gives, and nothing else: the row is written as the same bytes again. The error is ErrBroken.
func Unmarshal(b []byte) (*Row, error) {
	d := codec.Decoder{B: b}
	r := &Row{Kind: Kind(d.Byte()), Number: d.Uint()}
	if d.Err == nil && (r.Kind == 0 || r.Kind >= kinds) {
		return nil, fmt.Errorf("row of kind %d: %w", r.Kind, ErrBroken)
	}
	return r, r.read(&d)
}

// UnmarshalLine is Unmarshal of what MarshalLine gives, of a kind and number.
func UnmarshalLine(kind Kind, number uint64, b []byte) (*Row, error) {
	r := &Row{Kind: kind, Number: number}
	return r, r.read(&codec.Decoder{B: b})
}

func (r *Row) read(d *codec.Decoder) error {
	r.Volume, r.Path, r.Name, r.Layers = d.Uint(), d.Str(), d.Str(), d.Births()
	r.Reason, r.Who, r.None = d.Str(), d.Str(), d.Bool()
	for _, n := range []*int64{&r.Freed, &r.Erased, &r.Released, &r.Kept} {
		*n = d.Int()
	}
	r.KeptBy, r.How = d.Str(), DecodeHow(d)
	r.Since, r.First, r.Last = d.Time(), d.Time(), d.Time()
	err := r.readAttrs(d)
	if err == nil {
		err = d.Done()
	}
	if err == nil {
		err = r.validate()
	}
	if err != nil {
		return fmt.Errorf("row of kind %d, number %d: %w", r.Kind, r.Number, errors.Join(err, ErrBroken))
	}
	return nil
}

func (r *Row) readAttrs(d *codec.Decoder) error {
	last := ""
	for range d.LenOf(2) {
		a := codec.Attr{Name: d.Str(), Val: d.Bytes()}
		if d.Err != nil {
			return nil
		}
		if a.Name <= last {
			return fmt.Errorf("attribute %.40q after %.40q", a.Name, last)
		}
		last = a.Name
		v := codec.Decoder{B: a.Val}
		switch a.Name {
		case attrCut:
			s := DecodeSummary(&v)
			r.Cut = &s
		case attrDeadline:
			r.Deadline = DecodeDeadline(&v)
		case attrWritten:
			if r.Written = v.Int(); r.Written == 0 {
				v.Fail("none written")
			}
		default:
			r.Extra = append(r.Extra, codec.Attr{Name: a.Name, Val: slices.Clone(a.Val)})
			continue
		}
		if err := v.Done(); err != nil {
			return fmt.Errorf("attribute %q: %w", a.Name, err)
		}
	}
	return nil
}

// Adds tells whether the numbers add up.
func (r *Row) Adds() bool { return r.Freed == r.Erased+r.Kept && r.Released <= r.Erased }

func (r *Row) validate() error {
	for _, n := range []int64{r.Freed, r.Erased, r.Released, r.Kept, r.Written} {
		if n > MaxBlocks {
			return fmt.Errorf("%d blocks", n)
		}
	}
	if (r.Kind == Cut) != (r.Cut != nil) {
		return errors.New("a cut without its sums, or sums without a cut")
	}
	return nil
}
