package chain

import (
	"slices"

	"slatefs/chain/omap"
	"slatefs/chain/runs"
)

// share is how a layer adds to what a part of the tree that goes is worth. Either nothing stays below the layer, and all that
// it owns falls; or it stands below a line of goers, something of it stays, and what it has lost of that line falls. Both
// change while the part is as it is: a guest writes over what a snapshot shows that is kept, a walk takes away what a kept
// volume has discarded. So what was counted is followed. Fields never change but upTo; the plan lock guards it.
type share struct {
	part *falling
	own  bool
	from LayerID    // births above it are of the line
	line []fallPart // which of them are not of nameless layers
	upTo omap.Key   // what comes into memory below it is followed. The rest is still to be looked at by who counts
}

// counts: a block of that birth falls, if it is lost.
func (s *share) counts(birth LayerID) bool {
	if birth <= s.from {
		return false
	}
	i, _ := slices.BinarySearchFunc(s.line, birth, func(p fallPart, birth LayerID) int { return int(p.to) - int(birth) })
	return i < len(s.line) && s.line[i].class == 0
}

// owned: a layer owns so many blocks more. The plan lock is held.
func (lt *layerTree) owned(l *layer, blocks int64) {
	if s := l.share; s != nil && s.own {
		lt.add(s.part, blocks)
	}
}

// lose: a layer has lost a run, which is in what its dead list has in memory.
func (lt *layerTree) lose(l *layer, r runs.Run) {
	s := l.share
	if s == nil || s.own || !s.counts(r.Birth) {
		return
	}
	lt.mu.step(1)
	if k, _, ok := l.lost.Fresh.Floor(runs.Key(r.Birth, r.Dev)); ok && k.Less(s.upTo) {
		lt.add(s.part, r.Len)
	}
}

// share counts what those that stay have lost of each part, from the instant on at which that is followed. What the others
// own is added by shareOwn. A list that cannot be read is not counted on.
func (x *fall) share() map[*faller]*falling {
	parts := map[*faller]*falling{}
	for _, f := range x.fallers {
		x.join(f)
		if parts[f.top] == nil {
			parts[f.top] = &falling{}
		}
	}
	for _, f := range x.fallers {
		if len(f.left) == 1 {
			x.shareLost(f, f.left[0], parts[f.top])
		}
	}
	return parts
}

// shareOwn is share of a goer under which nothing stays, when its part takes the place of that before. The plan lock is held.
func (lt *layerTree) shareOwn(o *faller, f *falling) {
	if len(o.left) == 0 && o.class == 0 {
		o.l.share = &share{part: f, own: true}
		lt.add(f, o.l.own)
	}
}

// shareLost is share of the one child of a goer under which something stays.
func (x *fall) shareLost(f *faller, l *layer, part *falling) {
	s := &share{part: part, from: f.line.from, line: f.line.parts[:f.parts], upTo: lastKey}
	lt := x.p
	lt.mu.Lock()
	l.share = s
	switch {
	case f.parts == 1 && s.from == f.l.floor():
		if s.line[0].class == 0 {
			lt.add(part, l.lostHere)
		}
		lt.mu.Unlock()
		return
	case l.head: // its list grows
		s.upTo = omap.Key{Hi: uint64(s.from) + 1}
	}
	head := l.head
	lt.mu.Unlock()
	lost := x.lostOf(l)
	if head {
		lost = func(from, to LayerID) (n int64, err error) {
			return lt.weighTrees(l, omap.Key{Hi: uint64(from) + 1}, omap.Key{Hi: uint64(to) + 1})
		}
	}
	var sum falls
	err := x.weigh(f, lost, &sum)
	if head {
		sum[0] += x.p.weighMemory(l, s)
	}
	lt.mu.Lock()
	defer lt.mu.Unlock()
	if err != nil {
		l.share = nil
		return
	}
	lt.add(part, sum[0])
}

// weighMemory is what a head has lost and is in memory, where what comes behind the look is followed.
func (lt *layerTree) weighMemory(l *layer, s *share) (n int64) {
	if z := l.lost.Frozen; z != nil {
		z.Ascend(s.upTo, func(k omap.Key, e runs.Entry) bool {
			if s.counts(LayerID(k.Hi)) {
				n += e.Blocks()
			}
			return true
		})
	}
	lt.inPieces(func() bool {
		k, e, ok := l.lost.Fresh.Ceil(s.upTo)
		if !ok {
			s.upTo = lastKey
			return false
		}
		if s.upTo = k.Next(); s.counts(LayerID(k.Hi)) {
			n += e.Blocks()
		}
		return true
	})
	return n
}
