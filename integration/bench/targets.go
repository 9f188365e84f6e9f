package main

import "fmt"

// target is what a row of a peer has to reach, as a ratio to another, or by itself.
type target struct {
	row, peer string
	toRow     string // empty: the same
	to        string // peer; empty: the same
	alone     bool   // it is compared with nothing
	value     func(res *results, row, peer string) (v float64, measured bool)
	what      string // what value is
	least     float64
	most      float64 // 0: any
}

// targets are what is promised, of the mount as users get it. What a mount promises beside, and no clock can tell (what is done
// under the plan lock, that as much is zeroed as was freed), has tests beside the code.
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
	{row: "first write 4K after a snapshot, qd 32", to: qsd, least: 4},
	{row: "overwrite 4K, fsync every 32", to: native, least: .80},
	{row: "first write 4K after a snapshot, fsync every 32", toRow: "overwrite 4K, fsync every 32", least: .6},
	{row: rowErase, to: native, least: .95},
	{row: rowEraseRate, alone: true, least: .99, most: 1.01},
	{row: rowDeviceBytes, to: native, most: 1.25},
	{row: rowSnapshot, alone: true, value: waitBeyond, what: "ms beyond 3 device syncs and the longest request", most: 20},
	{row: rowRollback, alone: true, value: waitBeyond, what: "ms beyond 3 device syncs and the longest request", most: 20},
	{row: rowClone, alone: true, value: waitBeyond, what: "ms beyond 3 device syncs and the longest request", most: 20},
	{row: rowSnapshot, alone: true, value: stall, what: "ms that a writer's longest request is longer", most: 2},
	{row: rowRollback, alone: true, value: stall, what: "ms that a writer's longest request is longer", most: 2},
	{row: rowClone, alone: true, value: stall, what: "ms that a writer's longest request is longer", most: 2},
	{row: rowSnapshotLarge, toRow: rowSnapshot, most: 1.5},
	{row: rowSnapshotCrowd, toRow: rowSnapshot, most: 1.5},
	{row: rowDestroyLayer, to: qsd, most: .1},
	{row: rowDestroyLayer, alone: true, most: 50},
	{row: rowReadLarge, toRow: rowReadBeside, least: .9},
	{row: rowMountLarge, alone: true, most: 2000},
	{row: rowTakeover, alone: true, most: 2000},
	{row: rowMemory, alone: true, most: 256},
	{row: rowIdle, alone: true, most: .1},
}

// waitBeyond is how long a caller waited beyond what his command may take for the device's sake.
func waitBeyond(res *results, row, peer string) (float64, bool) {
	sync := res.value(rowSync, native)
	m := res.measured(row, peer)
	if m == nil || sync == 0 {
		return 0, false
	}
	return max(0, m.Value-3*sync-m.longest()), true
}

// stall is how much longer the longest request of a writer took than that of one who has nothing beside him.
func stall(res *results, row, peer string) (float64, bool) {
	m, alone := res.measured(row, peer), res.measured(rowAlone, peer)
	if m == nil || alone == nil {
		return 0, false
	}
	return max(0, m.longest()-alone.Value), true
}

// judge compares with the targets. What was not measured is not missed.
func (res *results) judge() {
	res.Targets = nil
	for _, t := range targets {
		if j, ok := res.judgeOne(t); ok {
			res.Targets = append(res.Targets, j)
		}
	}
	for _, c := range res.curves() {
		if c.peer != slate {
			continue
		}
		if j, ok := c.judge(); ok {
			res.Targets = append(res.Targets, j)
		}
	}
}

func (res *results) judgeOne(t target) (j judged, ok bool) {
	if t.peer == "" {
		t.peer = slate
	}
	if t.toRow == "" {
		t.toRow = t.row
	}
	if t.to == "" {
		t.to = t.peer
	}
	switch {
	case t.value != nil:
		j.Text = fmt.Sprintf("%s: %s", t.row, t.what)
		j.Got, ok = t.value(res, t.row, t.peer)
	case t.alone:
		j.Text = t.row
		if r := res.row(t.row); r != nil {
			j.Text += ": " + r.Unit
		}
		if m := res.measured(t.row, t.peer); m != nil {
			j.Got, ok = m.Value, true
		}
	default:
		j.Text = fmt.Sprintf("%s: %s over %s", t.row, t.peer, t.to)
		if t.toRow != t.row {
			j.Text = fmt.Sprintf("%s: over %s", t.row, t.toRow)
		}
		if a, b := res.value(t.row, t.peer), res.value(t.toRow, t.to); a != 0 && b != 0 {
			j.Got, ok = a/b, true
		}
	}
	switch {
	case t.most == 0:
		j.Want = fmt.Sprintf(">= %.2f", t.least)
	case t.least == 0:
		j.Want = fmt.Sprintf("<= %.2f", t.most)
	default:
		j.Want = fmt.Sprintf("%.2f - %.2f", t.least, t.most)
	}
	j.Missed = j.Got < t.least || t.most > 0 && j.Got > t.most
	return j, ok
}

func (res *results) missed() (n int) {
	for _, t := range res.Targets {
		if t.Missed {
			n++
		}
	}
	return n
}
