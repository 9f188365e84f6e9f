package chain

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// story is what a job carries for its record in the erase log, beside the counters. It lies in the attributes of the
// job's row.
type story struct {
	layers   []LayerID // that were destroyed
	kept     int64     // blocks that they owned and others still showed then; part of freed
	keptBy   string
	none     bool   // erase=none: the background passes it by
	rank     uint64 // above 0: it was put first; the highest goes first
	released int64  // part of erased: zero to read, and not erased below
	how      How
	begun    time.Time // first and last report
	last     time.Time

	said How // last, by this process
}

// How says by what blocks were zeroed, for the erase log: the eraser's words.
type How struct {
	Method, Verify string
	Program        string // and its version
	Device         string // what lies below, by a name that lasts
	Releases       bool   // the method only gives space back: never called erased
}

// and collects the words of several reports; Releases is the last one's.
func (h How) and(o How) How {
	add := func(words, w string) string {
		if w == "" || slices.Contains(strings.Split(words, ", "), w) {
			return words
		}
		if words == "" {
			return w
		}
		return words + ", " + w
	}
	return How{add(h.Method, o.Method), add(h.Verify, o.Verify), add(h.Program, o.Program), add(h.Device, o.Device), o.Releases}
}

func (e *encoder) how(h How) {
	e.str(h.Method)
	e.str(h.Verify)
	e.str(h.Program)
	e.str(h.Device)
	e.bool(h.Releases)
}

// told ends the record of a report: when it was made, and how, where that is not what the last one said.
func (e *encoder) told(when time.Time, told bool, how How) {
	e.time(when)
	e.bool(told)
	if told {
		e.how(how)
	}
}

func (d *decoder) told() (when time.Time, told bool, how How) {
	if when, told = d.time(), d.bool(); told {
		how = d.how()
	}
	return when, told, how
}

func (d *decoder) how() How { return How{d.str(), d.str(), d.str(), d.str(), d.bool()} }

func (e *encoder) layers(ids []LayerID) {
	e.u(uint64(len(ids)))
	for _, id := range ids {
		e.u(uint64(id))
	}
}

func (d *decoder) layers() (ids []LayerID) {
	for range d.len() {
		ids = append(ids, LayerID(d.u()))
	}
	return ids
}

// The attributes of a job, and that of a layer.
const (
	attrApart  = "apart"
	attrHow    = "how"
	attrKept   = "kept"
	attrLayers = "layers"
	attrNone   = "none"
	attrRank   = "rank"
	attrWas    = "was"
)

func (s *story) attrs() (out []attr) {
	add := func(on bool, name string, fill func(*encoder)) {
		if on {
			var e encoder
			fill(&e)
			out = append(out, attr{name, e.b})
		}
	}
	add(s.how != How{} || s.released > 0 || !s.begun.IsZero(), attrHow, func(e *encoder) {
		e.how(s.how)
		e.i(s.released)
		e.time(s.begun)
		e.time(s.last)
	})
	add(s.kept > 0, attrKept, func(e *encoder) { e.i(s.kept); e.str(s.keptBy) })
	add(len(s.layers) > 0, attrLayers, func(e *encoder) { e.layers(s.layers) })
	add(s.none, attrNone, func(*encoder) {})
	add(s.rank > 0, attrRank, func(e *encoder) { e.u(s.rank) })
	return out
}

func (s *story) loads() map[string]func(*decoder) {
	return map[string]func(*decoder){
		attrHow: func(d *decoder) {
			s.how, s.released, s.begun, s.last = d.how(), d.i(), d.time(), d.time()
		},
		attrKept:   func(d *decoder) { s.kept, s.keptBy = d.i(), d.str() },
		attrLayers: func(d *decoder) { s.layers = d.layers() },
		attrNone:   func(*decoder) { s.none = true },
		attrRank:   func(d *decoder) { s.rank = d.u() },
	}
}

// origin is what a layer remembers of its volume when that is gone and clones hold the layer.
type origin struct {
	vol  Ino
	path string
	none bool
}

func (o origin) attrs() []attr {
	if o == (origin{}) {
		return nil
	}
	var e encoder
	e.u(uint64(o.vol))
	e.str(o.path)
	e.bool(o.none)
	return []attr{{attrWas, e.b}}
}

func (o *origin) decode(d *decoder) { o.vol, o.path, o.none = Ino(d.u()), d.str(), d.bool() }

// jobFor is a new job for what a layer gives up, in its volume's name even when that is gone.
func (p *Pool) jobFor(l *layer, name, reason string, when time.Time) *job {
	vol, path := l.vol, ""
	if vol == 0 {
		vol, path = l.was.vol, l.was.path
	} else {
		path = p.pathOf(vol)
	}
	j := p.newJob(vol, path, name, reason, l.who, when)
	if l.vol == 0 {
		p.place(j, func() { j.none = l.was.none })
	}
	return j
}

// destroyed notes for the erase log that a layer is destroyed, which reap is about to carry out, and what of its blocks
// others show at this moment. It is called once for each layer.
func (p *Pool) destroyed(j *job, l *layer) {
	var kept int64
	switch len(l.children) {
	case 0: // bury notes it
		return
	case 1:
		kept = l.own - l.children[0].lostHere
	default:
		kept = l.own
	}
	j.layers = append(j.layers, l.id)
	if kept > 0 {
		j.kept += kept
		j.freed += kept
		j.keptBy = p.heirs(l)
	}
}

// maxHeirs bounds the names in keptBy.
const maxHeirs = 16

// heirs names what still shows blocks of a layer that goes.
func (p *Pool) heirs(l *layer) string {
	var names []string
	var down func(*layer)
	down = func(o *layer) {
		for _, c := range o.children {
			switch {
			case c.head:
				names = append(names, p.pathOf(c.vol))
			case c.named:
				names = append(names, p.pathOf(c.vol)+"@"+c.name)
			default:
				down(c)
			}
		}
	}
	down(l)
	slices.Sort(names)
	names = slices.Compact(names)
	if more := len(names) - maxHeirs; more > 0 {
		names = append(names[:maxHeirs], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
