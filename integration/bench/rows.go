package main

import (
	"context"
	"errors"
	"slices"
)

// row is a line of the results.
type row struct {
	name  string
	unit  string
	state state
	job   job
	op    func(ctx context.Context, g *ground, p peer) (sample, error) // in place of the job; errNone: not of this peer
	less  bool                                                         // less is better
	full  bool                                                         // not of a quick run
	curve string                                                       // the curve that it is a point of; empty: of none
	x     float64                                                      // where on that
}

const perSecond = "requests/s"

// rows are all, in the order in which they run. Those that write in place come before those that leave something behind.
var rows = slices.Concat(requests, operations, curveRows())

// requests are what fio makes.
var requests = []row{
	{name: "read 4K, qd 1", job: job{rw: "randread", bs: 4 * kiB, depth: 1}},
	{name: "read 4K, qd 32", job: job{rw: "randread", bs: 4 * kiB, depth: 32}},
	{name: "read 4K, 4 x qd 8", job: job{rw: "randread", bs: 4 * kiB, depth: 8, jobs: 4}},
	{name: "overwrite 4K, qd 1", job: job{rw: "randwrite", bs: 4 * kiB, depth: 1}},
	{name: "overwrite 4K, qd 32", job: job{rw: "randwrite", bs: 4 * kiB, depth: 32}},
	{name: "overwrite 4K, 4 x qd 8", job: job{rw: "randwrite", bs: 4 * kiB, depth: 8, jobs: 4}},
	{name: "mix 70/30 4K, qd 1", full: true, job: job{rw: "randrw", bs: 4 * kiB, depth: 1}},
	{name: "mix 70/30 4K, qd 32", job: job{rw: "randrw", bs: 4 * kiB, depth: 32}},
	{name: "mix 70/30 4K, 4 x qd 8", full: true, job: job{rw: "randrw", bs: 4 * kiB, depth: 8, jobs: 4}},
	{name: "read 128K in a row, qd 8", full: true, job: job{rw: "read", bs: 128 * kiB, depth: 8}},
	{name: "write 128K in a row, qd 8", full: true, job: job{rw: "write", bs: 128 * kiB, depth: 8}},
	{name: "read 1M in a row, qd 8", job: job{rw: "read", bs: miB, depth: 8}},
	{name: "write 1M in a row, qd 8", job: job{rw: "write", bs: miB, depth: 8}},
	{name: "overwrite 4K, fsync each", job: job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 1}},
	{name: "overwrite 4K, fsync every 32", job: job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 32}},
	{name: "first write 4K after a snapshot, qd 32", state: snapshot, job: job{rw: "randwrite", bs: 4 * kiB, depth: 32}},
	{
		name: "first write 4K after a snapshot, fsync every 32", state: snapshot,
		job: job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 32},
	},
	{name: "write 4K into holes, qd 32", state: holes, job: job{rw: "randwrite", bs: 4 * kiB, depth: 32}},
}

// run runs a row for a peer once.
func (g *ground) run(ctx context.Context, r row, p peer) (sample, error) {
	if r.op != nil {
		return r.op(ctx, g, p)
	}
	path, err := p.ready(ctx, r.state)
	if err != nil {
		return sample{}, err
	}
	if err := drop(path); err != nil {
		return sample{}, err
	}
	return counted(p.pid(), func() (sample, error) { return g.fio(ctx, r.job, path) })
}

// measure runs all rows, round by round, each peer in its turn. A row that fails is one of the results, and ends nothing else; who
// interrupts has what was measured until then.
func (g *ground) measure(ctx context.Context) *results {
	res := newResults(g)
	for round := 1; round <= g.rounds; round++ {
		for _, r := range rows {
			if !g.rows.MatchString(r.name) || r.full && g.quick {
				continue
			}
			say("round %d of %d: %s", round, g.rounds, r.name)
			for i := range g.order {
				name := g.order[(i+round)%len(g.order)] // nobody is always the first
				s, err := g.run(ctx, r, g.peers[name])
				switch {
				case errors.Is(err, errNone):
					continue
				case ctx.Err() != nil:
					res.Stopped = true
					return res
				case err != nil:
					say("%s, %s: %v", r.name, name, err)
					g.heal(ctx, name)
				}
				res.add(r, name, s, err)
			}
		}
	}
	return res
}

// heal has a peer come back after a row that failed. Where it does not, its next rows say so.
func (g *ground) heal(ctx context.Context, name string) {
	if h, ok := g.peers[name].(healer); ok {
		if err := h.heal(ctx); err != nil {
			say("%s: %v", name, err)
		}
	}
}
