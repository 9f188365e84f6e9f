package chain

// Of a snapshot that is there people ask by its name, and mean what it shows: blocks of older layers, too, of whoever wrote them. Its
// layer has an
// account of what was written between the snapshot before it and it, and no more. So as long as it shows anything it is not complete.

// shows adds what a snapshot shows, of older births than its own, too.
func (q *inquiry) shows() error {
	if !q.s.Shows {
		return nil
	}
	p := q.p
	p.mu.Lock()
	l := p.tree.layers[q.s.Layer]
	if l == nil || !l.named { // it went meanwhile: what is left of it is known by its layer
		p.mu.Unlock()
		return nil
	}
	vol, name, refer := l.vol, l.name, l.refer
	p.mu.Unlock()
	own := Remain{State: RemainShown, By: p.Path(vol) + "@" + name}
	for _, own.UpTo = range []bool{true, false} {
		delete(q.remains, own) // part of what it shows
	}
	if refer > 0 {
		q.remain(own, refer)
	}
	return nil
}
