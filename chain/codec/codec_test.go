package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"slatefs/alloc"
	"slatefs/chain/meta"
)

// field is one of what a record is made of: written by one method, read by the other.
type field struct {
	name  string
	write func(*Encoder, any)
	read  func(*Decoder) any
	gen   *rapid.Generator[any]
}

// gen makes a field of a pair of methods.
func of[T any](name string, g *rapid.Generator[T], w func(*Encoder, T), r func(*Decoder) T) field {
	return field{
		name, func(e *Encoder, v any) { w(e, v.(T)) }, func(d *Decoder) any { return r(d) },
		rapid.Map(g, func(v T) any { return v }),
	}
}

func none[T any](vs []T) []T { // as a reader returns them
	if len(vs) == 0 {
		return nil
	}
	return vs
}

var (
	births = rapid.Map(rapid.Uint64(), func(n uint64) meta.Birth { return meta.Birth(n) })
	ints   = rapid.Int64Range(0, 1<<62)
	runs   = rapid.Custom(func(t *rapid.T) alloc.Run {
		return alloc.Run{Start: alloc.BlockID(rapid.Uint64().Draw(t, "start")), Len: ints.Draw(t, "len")}
	})
	times = rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64().Draw(t, "sec"), rapid.Int64Range(0, 1e9-1).Draw(t, "nsec"))
	})
	trees = rapid.Custom(func(t *rapid.T) meta.Tree {
		n := rapid.Uint64Range(1, 1<<40).Draw(t, "page")
		return meta.Tree{Root: meta.Ptr{Addr: alloc.BlockID(n), Sum: n}, Height: 1, Entries: n, Weight: n}
	})
)

var fields = []field{
	of("Uint", rapid.Uint64(), (*Encoder).Uint, (*Decoder).Uint),
	of("Int", ints, (*Encoder).Int, (*Decoder).Int),
	of("Byte", rapid.Byte(), (*Encoder).Byte, (*Decoder).Byte),
	of("Bool", rapid.Bool(), (*Encoder).Bool, (*Decoder).Bool),
	of("Bytes", rapid.SliceOf(rapid.Byte()), (*Encoder).Bytes, (*Decoder).Bytes),
	of("Str", rapid.String(), (*Encoder).Str, (*Decoder).Str),
	of("Time", times, (*Encoder).Time, (*Decoder).Time),
	of("Runs", rapid.Map(rapid.SliceOf(runs), none), (*Encoder).Runs, (*Decoder).Runs),
	of("Births", rapid.Map(rapid.SliceOf(births), none), (*Encoder).Births, (*Decoder).Births),
	of("Tree", trees, (*Encoder).Tree, (*Decoder).Tree),
	of("Trees", rapid.Map(rapid.SliceOf(trees), none), (*Encoder).Trees, (*Decoder).Trees),
	of("Map", rapid.Just(meta.Map{}), (*Encoder).Map, (*Decoder).Map),
	of("Key", rapid.Map(rapid.Uint64(), func(n uint64) meta.Key { return meta.Key{Hi: n, Lo: ^n} }), (*Encoder).Key, (*Decoder).Key),
}

// What is written comes back, field by field; and no shorter text is taken.
func TestFieldsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e Encoder
		var which []field
		var vals []any
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(fields)-1), 1, 8).Draw(t, "fields") {
			v := fields[i].gen.Draw(t, fields[i].name)
			fields[i].write(&e, v)
			which, vals = append(which, fields[i]), append(vals, v)
		}
		d := Decoder{B: e.B}
		for i, f := range which {
			got := f.read(&d)
			if a, ok := got.(time.Time); ok && a.Equal(vals[i].(time.Time)) && a.Unix() == vals[i].(time.Time).Unix() {
				continue
			}
			if !reflect.DeepEqual(got, vals[i]) && fmt.Sprint(got) != fmt.Sprint(vals[i]) {
				t.Fatalf("%s: %v, want %v", f.name, got, vals[i])
			}
		}
		if err := d.Done(); err != nil {
			t.Fatal(err)
		}
		d = Decoder{B: e.B[:rapid.IntRange(0, len(e.B)-1).Draw(t, "cut")]}
		for _, f := range which {
			f.read(&d)
		}
		if err := d.Done(); !errors.Is(err, ErrCorrupt) && !errors.Is(err, meta.ErrCorrupt) {
			t.Fatalf("cut off: %v", err)
		}
	})
}

// What no Encoder writes is refused, by ErrCorrupt, and sizes nothing.
func TestBadFields(t *testing.T) {
	huge := Encoder{}
	huge.Uint(1 << 60)
	for _, c := range []struct {
		name string
		b    []byte
		read func(*Decoder)
	}{
		{"long integer", []byte{0x80, 0}, func(d *Decoder) { d.Uint() }},
		{"integer of 65 bits", bytes.Repeat([]byte{0xff}, 10), func(d *Decoder) { d.Uint() }},
		{"33 bits", []byte{0x80, 0x80, 0x80, 0x80, 0x10}, func(d *Decoder) { d.Uint32() }},
		{"negative", (&Encoder{}).with(func(e *Encoder) { e.Int(-1) }), func(d *Decoder) { d.Int() }},
		{"bool", []byte{2}, func(d *Decoder) { d.Bool() }},
		{"no byte", nil, func(d *Decoder) { d.Byte() }},
		{"bytes", huge.B, func(d *Decoder) { d.Bytes() }},
		{"runs", huge.B, func(d *Decoder) { d.Runs() }},
		{"births", huge.B, func(d *Decoder) { d.Births() }},
		{"trees", huge.B, func(d *Decoder) { d.Trees() }},
		{"attributes", huge.B, func(d *Decoder) { d.Attrs(nil) }},
		{"tree", make([]byte, meta.TreeSize-1), func(d *Decoder) { d.Tree() }},
		{"map", make([]byte, meta.MapSize-1), func(d *Decoder) { d.Map() }},
		{"what is left", []byte{1}, func(*Decoder) {}},
		{"a caller's fault", nil, func(d *Decoder) { d.Fail("no such thing"); d.Fail("nor that") }},
	} {
		d := Decoder{B: c.b}
		c.read(&d)
		if err := d.Done(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", c.name, err)
		}
		if d.Uint() != 0 || d.Str() != "" || d.Len() != 0 || !d.Time().IsZero() {
			t.Errorf("%s: fields after the fault are not zero", c.name)
		}
	}
}

func (e *Encoder) with(fill func(*Encoder)) []byte { fill(e); return e.B }

// Attributes that a reader does not know are passed over; what a known one leaves of its value is a fault, with its name.
func TestAttrs(t *testing.T) {
	b := (&Encoder{}).with(func(e *Encoder) {
		e.Attrs([]Attr{{"a", []byte{7}}, {"later", []byte("anything")}, {"b", []byte{1, 2}}})
	})
	var a, x, y uint64
	d := Decoder{B: b}
	d.Attrs(map[string]func(*Decoder){
		"a": func(d *Decoder) { a = d.Uint() }, "b": func(d *Decoder) { x, y = d.Uint(), d.Uint() },
	})
	if err := d.Done(); err != nil || a != 7 || x != 1 || y != 2 {
		t.Fatalf("%d, %d, %d, %v", a, x, y, err)
	}
	d = Decoder{B: b}
	d.Attrs(map[string]func(*Decoder){"b": func(d *Decoder) { x = d.Uint() }})
	if err := d.Done(); !errors.Is(err, ErrCorrupt) || err.Error() != `attribute "b": trailing bytes with 1 bytes left: corrupt` {
		t.Fatal(err)
	}
}

// Whatever the bytes are, a reader of any sequence of fields ends, and what it took is written as the same bytes again.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0, 5, 11}, (&Encoder{}).with(func(e *Encoder) { e.Uint(300); e.Str("name"); e.Map(meta.Map{}) }))
	f.Add([]byte{6, 6, 7}, (&Encoder{}).with(func(e *Encoder) {
		e.Time(time.Unix(math.MaxInt64, 1))
		e.Time(time.Time{})
		e.Runs([]alloc.Run{{Start: 3, Len: 4}})
	}))
	f.Fuzz(func(t *testing.T, script, b []byte) {
		d, e := Decoder{B: b}, Encoder{}
		for _, s := range script {
			fl := fields[int(s)%len(fields)]
			v := fl.read(&d)
			if d.Err != nil {
				return
			}
			fl.write(&e, v)
		}
		if took := b[:len(b)-len(d.B)]; !bytes.Equal(e.B, took) {
			t.Fatalf("%x is taken, and written as %x", took, e.B)
		}
	})
}
