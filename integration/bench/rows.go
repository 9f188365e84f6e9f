package main

import (
	"context"
	"errors"
	"fmt"
)

// row is a line of the results.
type row struct {
	name  string
	unit  string
	state state
	job   job
	op    func(ctx context.Context, g *ground, p peer) (sample, error) // in place of the job; errNone: not of this peer
	less  bool                                                         // less is better
}

const perSecond = "requests/s"

// rows are all, in the order in which they run. Those that write in place come before those that leave something behind.
var rows = append([]row{
	{name: "read 4K, qd 1", job: job{rw: "randread", bs: 4 * kiB, depth: 1}},
	{name: "read 4K, qd 32", job: job{rw: "randread", bs: 4 * kiB, depth: 32}},
	{name: "read 4K, 4 x qd 8", job: job{rw: "randread", bs: 4 * kiB, depth: 8, jobs: 4}},
	{name: "overwrite 4K, qd 1", job: job{rw: "randwrite", bs: 4 * kiB, depth: 1}},
	{name: "overwrite 4K, qd 32", job: job{rw: "randwrite", bs: 4 * kiB, depth: 32}},
	{name: "overwrite 4K, 4 x qd 8", job: job{rw: "randwrite", bs: 4 * kiB, depth: 8, jobs: 4}},
	{name: "mix 70/30 4K, qd 1", job: job{rw: "randrw", bs: 4 * kiB, depth: 1}},
	{name: "mix 70/30 4K, qd 32", job: job{rw: "randrw", bs: 4 * kiB, depth: 32}},
	{name: "mix 70/30 4K, 4 x qd 8", job: job{rw: "randrw", bs: 4 * kiB, depth: 8, jobs: 4}},
	{name: "read 128K in a row, qd 8", job: job{rw: "read", bs: 128 * kiB, depth: 8}},
	{name: "write 128K in a row, qd 8", job: job{rw: "write", bs: 128 * kiB, depth: 8}},
	{name: "read 1M in a row, qd 8", job: job{rw: "read", bs: miB, depth: 8}},
	{name: "write 1M in a row, qd 8", job: job{rw: "write", bs: miB, depth: 8}},
	{name: "overwrite 4K, fsync each", job: job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 1}},
	{name: "overwrite 4K, fsync every 32", job: job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 32}},
	{name: "first write 4K after a snapshot, qd 32", state: state{kind: snapshot}, job: job{rw: "randwrite", bs: 4 * kiB, depth: 32}},
	{
		name: "first write 4K after a snapshot, fsync every 32", state: state{kind: snapshot},
		job: job{rw: "randwrite", bs: 4 * kiB, depth: 1, fsync: 32},
	},
	{name: "write 4K into holes, qd 32", state: state{kind: holes}, job: job{rw: "randwrite", bs: 4 * kiB, depth: 32}},
	{name: "read 4K, qd 32, 1 layer", state: state{layered, 1}, job: job{rw: "randread", bs: 4 * kiB, depth: 32}},
	{name: "read 4K, qd 32, 8 layers", state: state{layered, 8}, job: job{rw: "randread", bs: 4 * kiB, depth: 32}},
	{name: "read 4K, qd 32, 32 layers", state: state{layered, 32}, job: job{rw: "randread", bs: 4 * kiB, depth: 32}},
}, operations...)

// target is what a row of a peer has to reach, as a ratio to another.
type target struct {
	row, peer string
	toRow     string // empty: the same
	to        string // peer; empty: the same
	least     float64
	most      float64 // 0: any
}

// targets are what is promised, of the mount as users get it.
var targets = []target{
	{row: "read 4K, qd 32", to: native, least: .95},
	{row: "overwrite 4K, qd 32", to: native, least: .90},
	{row: "mix 70/30 4K, qd 32", to: native, least: .90},
	{row: "read 4K, qd 32", to: bare, least: 3},
	{row: "read 4K, qd 32", to: qsd, least: 3},
	{row: "overwrite 4K, qd 32", to: bare, least: 3},
	{row: "overwrite 4K, qd 32", to: qsd, least: 3},
	{row: "read 4K, 4 x qd 8", to: native, least: .80},
	{row: "overwrite 4K, 4 x qd 8", to: native, least: .70},
	{row: "read 4K, qd 1", to: native, least: .70},
	{row: "overwrite 4K, qd 1", to: native, least: .70},
	{row: "read 4K, qd 1", to: bare, least: 1.1},
	{row: "overwrite 4K, qd 1", to: bare, least: 1.1},
	{row: "read 4K, qd 1", to: qsd, least: 1},
	{row: "overwrite 4K, qd 1", to: qsd, least: 1},
	{row: "read 1M in a row, qd 8", to: native, least: 1},
	{row: "write 1M in a row, qd 8", to: native, least: .95},
	{row: "read 4K, qd 32, 32 layers", toRow: "read 4K, qd 32, 1 layer", least: .95},
	{row: "first write 4K after a snapshot, qd 32", to: qsd, least: 4},
	{row: "overwrite 4K, fsync every 32", to: native, least: .80},
	{row: "first write 4K after a snapshot, fsync every 32", toRow: "overwrite 4K, fsync every 32", least: .6},
	{row: rowErase, to: native, least: .95},
	{row: rowDeviceBytes, to: native, most: 1.25},
	{row: rowSnapshotLarge, toRow: rowSnapshot, most: 1.5},
	{row: rowSnapshotCrowd, toRow: rowSnapshot, most: 1.5},
	{row: rowDestroyLayer, to: qsd, most: .1},
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

// measure runs all rows, round by round, each peer in its turn.
func (g *ground) measure(ctx context.Context) (*results, error) {
	res := newResults(g)
	for round := 1; round <= g.rounds; round++ {
		for _, r := range rows {
			if !g.rows.MatchString(r.name) {
				continue
			}
			say("round %d of %d: %s", round, g.rounds, r.name)
			for i := range g.order {
				name := g.order[(i+round)%len(g.order)] // nobody is always the first
				s, err := g.run(ctx, r, g.peers[name])
				if errors.Is(err, errNone) {
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", r.name, name, err)
				}
				res.add(r, name, s)
			}
		}
	}
	return res, nil
}
