package chain

import (
	"slices"
	"time"

	"slatefs/chain/codec"
	"slatefs/chain/meta"
	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// jobRow is an erase job as the cut of a checkpoint found it.
type jobRow struct {
	id                         uint64
	vol                        Ino
	volume, layer, reason, who string
	since                      time.Time
	freshN, readyN, badN       int64
	freed, erased              int64
	cursor                     omap.Key
	fresh, ready, bad          *cutList
	apart                      *omap.Map[int64] // nil: nothing
	holes                      holes
	story                      story
}

// rowOfJob takes the row of a job: what comes into its lists from now on is the next cut's. The plan lock is held.
func rowOfJob(j *job) jobRow {
	r := plainJob(j)
	r.fresh, r.ready, r.bad = cutOf(&j.fresh), cutOf(&j.ready), cutOf(&j.bad)
	if r.apart, j.copied = j.copied, nil; j.apart.Len() > 0 && (r.apart == nil || r.apart.Len() < j.apart.Len()) {
		r.apart = j.apart.Clone()
	}
	j.mem = 0
	return r
}

// plainJob is the row of a job without what changes hands when it is taken. Its layers are shared: they are only added to.
func plainJob(j *job) jobRow {
	return jobRow{
		id: j.id, vol: j.vol, volume: j.volume, layer: j.layer, reason: j.reason, who: j.who, since: j.since,
		freshN: j.freshN, readyN: j.readyN, badN: j.badN, freed: j.freed, erased: j.erased, cursor: j.cursor, holes: j.holes, story: j.story,
	}
}

// jobSeal is what of a job nobody changes behind the gate.
func jobSeal(j *job) any {
	r := plainJob(j)
	r.story.said, r.apart = How{}, &j.apart
	r.fresh, r.ready, r.bad = &cutList{}, &cutList{}, &cutList{}
	s := struct {
		row   string
		fresh [3]int
		edits [3]uint64
		bytes int64
	}{row: string(r.marshal()), bytes: j.mem}
	for i, l := range []*runs.List{&j.fresh, &j.ready, &j.bad} {
		s.fresh[i], s.edits[i] = l.Fresh.Len(), l.Edits
	}
	return s
}

// copyApart copies some of what is apart for the row that a job waits for, since there may be a lot, and tells whether that is
// all. It changes under the structure lock only, which is held until the rows of a cut are taken.
func (j *job) copyApart(some int) (all bool) {
	if j.apart.Len() == 0 {
		return true
	}
	from := omap.Key{}
	if j.copied == nil {
		j.copied = &omap.Map[int64]{}
	} else if last, _, any := j.copied.Floor(lastKey); any {
		from = last.Next()
	}
	j.apart.Ascend(from, func(k omap.Key, n int64) bool {
		j.copied.Set(k, n)
		some--
		return some > 0
	})
	return j.copied.Len() == j.apart.Len()
}

func (r *jobRow) marshal() []byte {
	e := codec.Encoder{}
	e.Uint(uint64(r.vol))
	e.Str(r.volume)
	e.Str(r.layer)
	e.Str(r.reason)
	e.Str(r.who)
	e.Time(r.since)
	for _, n := range []int64{r.freshN, r.readyN, r.badN, r.freed, r.erased} {
		e.Int(n)
	}
	e.Key(meta.Key(r.cursor))
	e.Trees(r.fresh.trees)
	e.Trees(r.ready.trees)
	e.Trees(r.bad.trees)
	e.Attrs(r.attrs())
	return e.B
}

// attrs are a job's attributes: what is apart, where holes may be, and its story's.
func (r *jobRow) attrs() []codec.Attr {
	rest := r.story.attrs()
	if r.holes != (holes{}) {
		var e codec.Encoder
		e.Key(meta.Key(r.holes.upTo))
		e.Bool(r.holes.bad)
		rest = append([]codec.Attr{{Name: attrHoles, Val: e.B}}, rest...)
	}
	if r.apart == nil || r.apart.Len() == 0 {
		return rest
	}
	var e codec.Encoder
	e.Uint(uint64(r.apart.Len()))
	r.apart.Ascend(omap.Key{}, func(k omap.Key, n int64) bool {
		e.Uint(k.Hi)
		e.Uint(k.Lo)
		e.Int(n)
		return true
	})
	return append([]codec.Attr{{Name: attrApart, Val: e.B}}, rest...)
}

// cutList is a list as the cut found it.
type cutList struct {
	place  *runs.Place           // where it is, and what came of it goes; under the plan lock
	trees  []meta.Tree           // copy
	frozen *omap.Map[runs.Entry] // entries of the cut; lookups share it, nobody changes it
	pages  omap.Map[runs.Entry]  // map pages that the build found to belong here; the builder's own
}

// cutOf freezes what is in memory of the list, for the build to merge into the trees; what comes from now on is fresh.
func cutOf(l *runs.List) *cutList {
	return &cutList{place: l.Freeze(), trees: slices.Clone(l.Trees), frozen: l.Frozen}
}
