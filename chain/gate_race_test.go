//go:build race

package chain

import (
	"testing"

	"slatefs/alloc"
	"slatefs/chain/overlay"
	"slatefs/chain/runs"
)

// What changes a layer, a job or a walk and does not pass the gate before is found out: where it waits for the row of a cut, and
// where it has not changed since its last one.
func TestAroundTheGate(t *testing.T) {
	for name, change := range map[string]func(p *Pool, l *layer, j *job){
		"what a layer owns":       func(_ *Pool, l *layer, _ *job) { l.own++ },
		"its name":                func(_ *Pool, l *layer, _ *job) { l.name = "x" },
		"where it was":            func(_ *Pool, l *layer, _ *job) { l.dir++ },
		"what it shows":           func(_ *Pool, l *layer, _ *job) { l.top.Set(9, overlay.Piece{Len: 1, Dev: 77, Birth: l.id}) },
		"a storey":                func(_ *Pool, l *layer, _ *job) { l.top = overlay.New(l.top, l) },
		"what it has lost":        func(_ *Pool, l *layer, _ *job) { l.lost.Add(1, 99, runs.Entry{Len: 1}) },
		"the pages that it needs": func(_ *Pool, l *layer, _ *job) { l.need++ },
		"the memory that it has":  func(_ *Pool, l *layer, _ *job) { l.mem++ },
		"what a job has freed":    func(_ *Pool, _ *layer, j *job) { j.freed++ },
		"its list":                func(_ *Pool, _ *layer, j *job) { j.fresh.Add(1, 99, runs.Entry{Len: 1}) },
		"its story":               func(_ *Pool, _ *layer, j *job) { j.layers = append(j.layers, 1) },
		"where it may have holes": func(_ *Pool, _ *layer, j *job) { j.holes.upTo.Lo++ },
		"what of it is apart":     func(_ *Pool, _ *layer, j *job) { j.apart.Set(runs.Key(1, alloc.BlockID(5)), 1) },
	} {
		for _, waits := range []bool{false, true} {
			p, v, _ := dirtied(t)
			l, j := v.head(), p.jobs.byVol[v.ino]
			if j == nil {
				t.Fatal("no job")
			}
			if !waits {
				ok(t, p.Checkpoint())
			}
			p.mu.Lock()
			if waits {
				p.tree.touch(l)
				p.jobs.touchJob(j)
				p.tree.gate.begin()
				p.jobs.gate.begin()
			}
			change(p, l, j)
			mustPanic(t, "around the gate", func() { p.tree.touch(l); p.jobs.touchJob(j) })
			p.mu.Unlock()
			if t.Failed() {
				t.Fatalf("%s, waits %v", name, waits)
			}
			p.closed = true // nothing of it is good any more
		}
	}
}
