package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// axis is what a cost may depend on, and should not. ready makes a volume in a pool that is so: its pool is of this axis and point
// alone, or the peer's own.
type axis struct {
	name   string
	points []float64
	quick  []float64 // of a quick run; of points
	least  float64   // what is left at the last point of a rate, as a share of the first
	ready  func(ctx context.Context, p *slatePeer, x float64) (in *slatePeer, path string, err error)
}

var axes = []axis{
	{
		"pool",
		[]float64{1 << 30, 16 << 30, 256 << 30, 4 << 40},
		[]float64{1 << 30, 256 << 30},
		.8,
		func(ctx context.Context, p *slatePeer, x float64) (*slatePeer, string, error) {
			return p.another(ctx, fmt.Sprintf("size%.0f", x), int64(x), nil)
		},
	},
	{"volumes", []float64{1, 100, 1000, 10000}, []float64{1, 100}, .8, withVolumes},
	{"snapshots", []float64{1, 10, 100, 1000}, []float64{1, 10}, .8, withSnapshots},
	{
		"layers",
		[]float64{1, 8, 32, 128},
		[]float64{1, 32},
		.95,
		func(ctx context.Context, p *slatePeer, x float64) (*slatePeer, string, error) {
			path, err := p.layered(ctx, int(x))
			return p, path, err
		},
	},
}

// curvePool is the bytes of a pool that a curve has for itself, where its size is not the axis. Its file has holes.
const curvePool = 8 << 30

func withVolumes(ctx context.Context, p *slatePeer, x float64) (*slatePeer, string, error) {
	return p.another(ctx, fmt.Sprintf("volumes%.0f", x), curvePool, func(in *slatePeer) error {
		for i := 1; i < int(x); i++ {
			if _, err := sparse(in.path(fmt.Sprintf("v%d.raw", i)), miB); err != nil {
				return err
			}
		}
		return nil
	})
}

func withSnapshots(ctx context.Context, p *slatePeer, x float64) (*slatePeer, string, error) {
	return p.another(ctx, fmt.Sprintf("snapshots%.0f", x), curvePool, func(in *slatePeer) error {
		for i := range int(x) {
			if _, err := command(ctx, in.g.slatefs, "snapshot", fmt.Sprintf("%s@s%d", in.path("written.raw"), i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// costs are what is measured at each point.
var costs = []row{
	{name: "read 4K, qd 32", op: func(ctx context.Context, g *ground, p peer) (sample, error) {
		return g.fio(ctx, job{rw: "randread", bs: 4 * kiB, depth: 32}, p.(*pointPeer).path)
	}},
	{name: "first write 4K after a snapshot", full: true, op: func(ctx context.Context, g *ground, p peer) (s sample, err error) {
		err = p.(*pointPeer).snapshot(ctx, func() error {
			s, err = g.fio(ctx, job{rw: "randwrite", bs: 4 * kiB, depth: 32, bytes: g.size / 32}, p.(*pointPeer).path)
			return err
		})
		return s, err
	}},
	{name: "snapshot", unit: milliseconds, less: true, op: func(ctx context.Context, _ *ground, p peer) (sample, error) {
		var waits []float64
		for range 3 {
			start := time.Now()
			err := p.(*pointPeer).snapshot(ctx, func() error {
				waits = append(waits, float64(time.Since(start).Microseconds())/1e3)
				return nil
			})
			if err != nil {
				return sample{}, err
			}
		}
		return sample{Value: median(waits)}, nil
	}},
}

// pointPeer is a peer at a point of an axis.
type pointPeer struct {
	*slatePeer
	path string // of the volume
}

// snapshot takes a snapshot of the volume, calls fn, and destroys it.
func (p *pointPeer) snapshot(ctx context.Context, fn func() error) error {
	if _, err := command(ctx, p.g.slatefs, "snapshot", p.path+"@point"); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	if _, err := command(ctx, p.g.slatefs, "destroy", p.path+"@point"); err != nil {
		return err
	}
	return p.erased(ctx)
}

// curveRows are a row for each cost at each point.
func curveRows() (all []row) {
	for _, a := range axes {
		for _, c := range costs {
			for _, x := range a.points {
				r := c
				r.curve, r.x = c.name+", by "+a.name, x
				r.name = fmt.Sprintf("%s, %s: %s", c.name, a.name, short(x))
				r.full = c.full || !slices.Contains(a.quick, x)
				r.op = func(ctx context.Context, g *ground, p peer) (sample, error) {
					sp, ok := p.(*slatePeer)
					if !ok {
						return sample{}, errNone
					}
					in, path, err := a.ready(ctx, sp, x)
					if err != nil {
						return sample{}, err
					}
					run := func() (sample, error) { return c.op(ctx, g, &pointPeer{in, path}) }
					if c.unit != "" {
						return run()
					}
					return counted(in.pid(), run)
				}
				all = append(all, r)
			}
		}
	}
	return all
}

// another is a mounted pool beside the peer's own, in a file with holes, and a volume in it that is written. It is made when it
// is asked for first; then fill is called, which may be nil.
func (p *slatePeer) another(ctx context.Context, name string, size int64, fill func(*slatePeer) error) (*slatePeer, string, error) {
	name = p.name + "-" + name
	in := p.g.others[name]
	if in == nil {
		var err error
		if in, err = p.g.newPool(ctx, name, p.transport, size, "--sparse"); err != nil {
			return nil, "", err
		}
		if err := in.fill(p.g.size / 4); err != nil {
			return nil, "", err
		}
		if fill != nil {
			if err := fill(in); err != nil {
				return nil, "", err
			}
		}
		p.g.others[name] = in
	}
	return in, in.path("written.raw"), unix.Access(in.path("written.raw"), unix.F_OK)
}

// curve is the points of one peer and cost, as they were measured.
type curve struct {
	name   string
	peer   string
	least  float64 // of the last over the first, where more is better
	less   bool    // less is better
	points []point
}

type point struct{ x, y float64 }

// mostWait is what a wait at the last point of a curve may be over that at the first.
const mostWait = 1.5

// curves are all with a point.
func (res *results) curves() (all []curve) {
	for _, r := range res.Rows {
		if r.Curve == "" {
			continue
		}
		for _, name := range res.Peers {
			m := res.measured(r.Name, name)
			if m == nil {
				continue
			}
			i := slices.IndexFunc(all, func(c curve) bool { return c.name == r.Curve && c.peer == name })
			if i < 0 {
				i, all = len(all), append(all, curve{name: r.Curve, peer: name, less: r.Less, least: leastOf(r.Curve)})
			}
			all[i].points = append(all[i].points, point{r.X, m.Value})
		}
	}
	return all
}

// leastOf is what a curve's axis wants.
func leastOf(name string) float64 {
	for _, a := range axes {
		for _, c := range costs {
			if name == c.name+", by "+a.name {
				return a.least
			}
		}
	}
	return 0
}

// judge compares the last point with the first.
func (c curve) judge() (j judged, ok bool) {
	first, last := c.points[0], c.points[len(c.points)-1]
	if len(c.points) < 2 || first.y == 0 {
		return j, false
	}
	j = judged{Text: fmt.Sprintf("%s: %s over %s", c.name, short(last.x), short(first.x)), Got: last.y / first.y}
	if c.less {
		j.Want, j.Missed = fmt.Sprintf("<= %.2f", mostWait), j.Got > mostWait
	} else {
		j.Want, j.Missed = fmt.Sprintf(">= %.2f", c.least), j.Got < c.least
	}
	return j, true
}
