package codec

import "fmt"

// Attr is an attribute. They end the rows of layers, jobs and walks: a list of (name, value), by name. A reader passes over
// names that it does not know, so that what a later program adds needs no new version.
type Attr struct {
	Name string
	Val  []byte
}

// Attrs appends attributes with their number, in the order given.
func (e *Encoder) Attrs(as []Attr) {
	e.Uint(uint64(len(as)))
	for _, a := range as {
		e.Str(a.Name)
		e.Bytes(a.Val)
	}
}

// Attrs takes attributes and gives each value to the function of its name, which takes all of it: what it leaves is a
// fault. Values of other names are passed over.
func (d *Decoder) Attrs(known map[string]func(*Decoder)) {
	for range d.LenOf(2) {
		name, v := d.Str(), Decoder{B: d.Bytes()}
		load := known[name]
		if load == nil || d.Err != nil {
			continue
		}
		load(&v)
		if err := v.Done(); err != nil {
			d.Err = fmt.Errorf("attribute %q: %w", name, err)
		}
	}
}
