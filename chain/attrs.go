package chain

import "fmt"

// Attributes end the rows of layers, jobs and walks: a list of (name, value), by name. A reader passes over names that
// it does not know, so that what a later program adds needs no new version.
type attr struct {
	name string
	val  []byte
}

func (e *encoder) attrs(as []attr) {
	e.u(uint64(len(as)))
	for _, a := range as {
		e.str(a.name)
		e.bytes(a.val)
	}
}

// attrs gives each value to the function of its name.
func (d *decoder) attrs(known map[string]func(*decoder)) {
	for range d.lenOf(2) {
		name, v := d.str(), decoder{b: d.bytes()}
		load := known[name]
		if load == nil || d.err != nil {
			continue
		}
		load(&v)
		if err := v.done(); err != nil {
			d.err = fmt.Errorf("attribute %q: %w", name, err)
		}
	}
}
