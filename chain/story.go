package chain

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"slatefs/chain/codec"
	"slatefs/chain/evidence"
)

// story is what a job carries for its record in the erase log, beside the counters. It lies in the attributes of the
// job's row.
type story struct {
	layers   []LayerID // that were destroyed
	kept     int64     // blocks that they owned and others still showed then; part of freed
	keptBy   string
	logged   bool   // its record is in the log
	more     bool   // its volume has layers yet, and loses some at a time
	none     bool   // erase=none: the background passes it by
	rank     uint64 // above 0: it was put first; the highest goes first
	released int64  // part of erased: zero to read, and not erased below
	how      How
	begun    time.Time // first and last report
	last     time.Time

	said How // last, by this process
	deadline
}

// How says by what blocks were zeroed, for the erase log: the eraser's words.
type How = evidence.How

// encodeTold ends the record of a report: when it was made, and how, where that is not what the last one said.
func encodeTold(e *codec.Encoder, when time.Time, told bool, how How) {
	e.Time(when)
	e.Bool(told)
	if told {
		how.Encode(e)
	}
}

func decodeTold(d *codec.Decoder) (when time.Time, told bool, how How) {
	if when, told = d.Time(), d.Bool(); told {
		how = evidence.DecodeHow(d)
	}
	return when, told, how
}

// The attributes of a job, and that of a layer.
const (
	attrApart  = "apart"
	attrHoles  = "holes"
	attrHow    = "how"
	attrKept   = "kept"
	attrLayers = "layers"
	attrLogged = "logged"
	attrMore   = "more"
	attrNone   = "none"
	attrRank   = "rank"
	attrWas    = "was"
)

func (s *story) attrs() (out []codec.Attr) {
	add := func(on bool, name string, fill func(*codec.Encoder)) {
		if on {
			var e codec.Encoder
			fill(&e)
			out = append(out, codec.Attr{Name: name, Val: e.B})
		}
	}
	out = append(out, s.deadlineAttrs()...)
	add(s.how != How{} || s.released > 0 || !s.begun.IsZero(), attrHow, func(e *codec.Encoder) {
		s.how.Encode(e)
		e.Int(s.released)
		e.Time(s.begun)
		e.Time(s.last)
	})
	add(s.kept > 0, attrKept, func(e *codec.Encoder) { e.Int(s.kept); e.Str(s.keptBy) })
	add(len(s.layers) > 0, attrLayers, func(e *codec.Encoder) { e.Births(s.layers) })
	add(s.logged, attrLogged, func(*codec.Encoder) {})
	add(s.more, attrMore, func(*codec.Encoder) {})
	add(s.none, attrNone, func(*codec.Encoder) {})
	add(s.rank > 0, attrRank, func(e *codec.Encoder) { e.Uint(s.rank) })
	return out
}

func (s *story) loads() map[string]func(*codec.Decoder) {
	return map[string]func(*codec.Decoder){
		attrHow: func(d *codec.Decoder) {
			s.how, s.released, s.begun, s.last = evidence.DecodeHow(d), d.Int(), d.Time(), d.Time()
		},
		attrDeadline: s.decodeDeadline,
		attrKept:     func(d *codec.Decoder) { s.kept, s.keptBy = d.Int(), d.Str() },
		attrLayers:   func(d *codec.Decoder) { s.layers = d.Births() },
		attrLogged:   func(*codec.Decoder) { s.logged = true },
		attrMore:     func(*codec.Decoder) { s.more = true },
		attrNone:     func(*codec.Decoder) { s.none = true },
		attrRank:     func(d *codec.Decoder) { s.rank = d.Uint() },
	}
}

// origin is what a layer remembers of its volume when that is gone and clones hold the layer.
type origin struct {
	vol  Ino
	path string
	none bool
	// erase_deadline, as it held; an attribute of its own
	within time.Duration
}

func (o origin) attrs() []codec.Attr {
	if o == (origin{}) {
		return nil
	}
	var e codec.Encoder
	e.Uint(uint64(o.vol))
	e.Str(o.path)
	e.Bool(o.none)
	return append((&deadline{within: o.within}).deadlineAttrs(), codec.Attr{Name: attrWas, Val: e.B})
}

func (o *origin) decode(d *codec.Decoder) { o.vol, o.path, o.none = Ino(d.Uint()), d.Str(), d.Bool() }

// jobFor is a new job for what a layer gives up, in its volume's name even when that is gone.
func (jq *jobQueue) jobFor(l *layer, name, reason string, when time.Time) *job {
	vol, path := l.vol, ""
	if vol == 0 {
		vol, path = l.was.vol, l.was.path
	} else {
		path = jq.names.pathOf(vol)
	}
	j := jq.newJob(vol, path, name, reason, l.who, when)
	if l.vol == 0 {
		jq.place(j, func() { j.none, j.within = l.was.none, l.was.within })
	}
	return j
}

// warmFor looks up what jobFor will, and returns what destroyed is told: who shows the layer.
func (jq *jobQueue) warmFor(l *layer) (heirs *string) {
	if l == nil {
		return nil
	}
	jq.names.warm(cmp.Or(l.vol, l.was.vol))
	return new(jq.heirs(l))
}

// destroyed notes for the erase log that a layer is destroyed, which reap is about to carry out, and what of its blocks
// others show at this moment: heirs, if that was looked up. It is called once for each layer.
func (jq *jobQueue) destroyed(j *job, l *layer, heirs *string) {
	var kept int64
	switch len(l.children) {
	case 0: // bury notes it
		return
	case 1:
		kept = l.own - l.children[0].lostHere
	default:
		kept = l.own
	}
	jq.touchJob(j)
	j.layers = append(j.layers, l.id)
	if kept > 0 {
		j.kept += kept
		j.freed += kept
		if heirs == nil {
			heirs = new(jq.heirs(l))
		}
		j.keptBy = *heirs
	}
}

// maxHeirs bounds the layers that are looked at for keptBy: the same ones when the record is replayed, since the names are in the
// erase log (adopt).
const maxHeirs = 16

// heirs names what still shows blocks of a layer that goes.
func (jq *jobQueue) heirs(l *layer) string {
	var names []string
	looked := 0
	var down func(*layer)
	down = func(o *layer) {
		for _, c := range o.children {
			if looked++; looked > maxHeirs {
				return
			}
			jq.mu.step(1)
			switch {
			case c.head:
				names = append(names, jq.names.pathOf(c.vol))
			case c.named:
				names = append(names, jq.names.pathOf(c.vol)+"@"+c.name)
			default:
				down(c)
			}
		}
	}
	down(l)
	slices.Sort(names)
	if names = slices.Compact(names); looked > maxHeirs {
		names = append(names, "others")
	}
	return strings.Join(names, ", ")
}
