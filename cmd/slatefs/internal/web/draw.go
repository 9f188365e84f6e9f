package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"slatefs/cmd/slatefs/internal/control"
)

// segment is a piece of a stacked bar.
type segment struct {
	Class, Label string
	Bytes        int64
	X, Width     float64 // in hundredths of the bar
}

// spaceBar divides a pool by what its blocks are used for. Promises are a part of what is clean: they are drawn below it.
func spaceBar(u control.Usage) (segments []segment, promised segment) {
	if u.Total <= 0 {
		return nil, promised
	}
	x := 0.0
	of := func(bytes int64) float64 { return 100 * float64(max(bytes, 0)) / float64(u.Total) }
	for _, s := range []segment{
		{Class: "live", Label: "in use", Bytes: u.Live - u.Kept},
		{Class: "kept", Label: "destroyed, kept", Bytes: u.Kept},
		{Class: "dirty", Label: "to be erased", Bytes: u.Dirty + u.Freeing},
		{Class: "failed", Label: "failed to erase", Bytes: u.Failed},
		{Class: "meta", Label: "metadata", Bytes: u.Meta},
		{Class: "clean", Label: "clean", Bytes: u.Clean + u.Claimed},
	} {
		s.X, s.Width = x, of(s.Bytes)
		x += s.Width
		segments = append(segments, s)
	}
	p := u.Promised + u.Reserve + u.MetaProm
	w := min(of(p), 100)
	return segments, segment{Class: "promised", Label: "promised", Bytes: p, X: 100 - w, Width: w}
}

// plot is a line over the last hour, in a box of plotWidth x plotHeight.
type plot struct {
	Title, Last, Most string
	Pieces            []string // points of polylines, one for each stretch in which the daemon answered
}

const (
	plotWidth  = 600
	plotHeight = 120
)

// plotOf draws a series.
func plotOf(list []sample, which int, now time.Time) plot {
	most, last := 0.0, 0.0
	for _, s := range list {
		if s.there {
			last = s.values[which]
			most = max(most, last)
		}
	}
	p := plot{Title: series[which].title, Last: series[which].text(last), Most: series[which].text(most)}
	scale := most
	if scale == 0 {
		scale = 1
	}
	var piece strings.Builder
	end := func() {
		if piece.Len() > 0 {
			p.Pieces = append(p.Pieces, piece.String())
			piece.Reset()
		}
	}
	for _, s := range list {
		if !s.there {
			end()
			continue
		}
		x := plotWidth * (1 - now.Sub(s.at).Seconds()/time.Hour.Seconds())
		y := plotHeight - 2 - (plotHeight-6)*s.values[which]/scale
		piece.WriteString(strconv.FormatFloat(x, 'f', 1, 64) + "," + strconv.FormatFloat(y, 'f', 1, 64) + " ")
	}
	end()
	return p
}

// branch is a layer in the drawing of a chain: lines that pass beside it, and its own.
type branch struct {
	control.Layer
	Mine   bool   // it is of the volume that is shown
	Owner  string // the volume that it is or was of; empty: that is gone
	Used   *int64 // what its destruction would free; nil: it is no snapshot of the volume that is shown
	Lines  []int  // columns in which a line goes on
	Column int
	Elbow  bool // it hangs on a layer in the column before
	Ends   bool // no line goes on below the elbow
	Leaf   bool // nothing goes on below it in its own column
	First  bool // nothing is above it
}

// chainOf puts the layers of a chain in the order of their drawing: parents first, a line of history in one column.
func chainOf(t control.TreeInfo, most int) (rows []branch, more int) {
	layers, owners := map[string]control.Layer{}, map[string]string{}
	for i, l := range t.Layers {
		layers[l.ID], owners[l.ID] = l, t.Owners[i]
	}
	type place struct {
		layer  control.Layer
		column int
		lines  []int
		elbow  bool
		ends   bool
		first  bool
	}
	var todo []place // a stack: chains are longer than goroutines are deep
	for i := len(t.Layers) - 1; i >= 0; i-- {
		if _, ok := layers[t.Layers[i].Parent]; !ok {
			todo = append(todo, place{layer: t.Layers[i], first: true})
		}
	}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if len(rows) == most {
			more++
		} else {
			rows = append(rows, branch{
				Layer: p.layer, Owner: owners[p.layer.ID], Lines: p.lines, Column: p.column, Elbow: p.elbow, Ends: p.ends,
				Leaf: len(p.layer.Children) == 0, First: p.first,
			})
		}
		children := p.layer.Children
		if len(children) == 1 {
			todo = append(todo, place{layer: layers[children[0]], column: p.column, lines: p.lines})
			continue
		}
		for i := len(children) - 1; i >= 0; i-- {
			last := i == len(children)-1
			lines := append([]int(nil), p.lines...)
			if !last {
				lines = append(lines, p.column)
			}
			todo = append(todo, place{layer: layers[children[i]], column: p.column + 1, lines: lines, elbow: true, ends: last})
		}
	}
	return rows, more
}

// Sizes of a row of the drawing, in pixels.
const (
	rowHeight   = 32
	columnWidth = 18
)

// Width is that of the drawing.
func (b branch) Width() int { return columnWidth * (b.Column + 2) }

// Paths are the lines of the drawing, as SVG has them.
func (b branch) Paths() (out []string) {
	x := func(column int) int { return columnWidth/2 + column*columnWidth }
	const mid = rowHeight / 2
	for _, c := range b.Lines {
		out = append(out, fmt.Sprintf("M%d 0V%d", x(c), rowHeight))
	}
	switch {
	case b.Elbow:
		out = append(out, fmt.Sprintf("M%d 0V%dH%d", x(b.Column-1), mid, x(b.Column)))
	case !b.First:
		out = append(out, fmt.Sprintf("M%d 0V%d", x(b.Column), mid))
	}
	if !b.Leaf {
		out = append(out, fmt.Sprintf("M%d %dV%d", x(b.Column), mid, rowHeight))
	}
	return out
}

// Dot is where the layer itself is.
func (b branch) Dot() (x int) { return columnWidth/2 + b.Column*columnWidth }

// Title names a layer as users know it.
func (b branch) Title() string {
	switch {
	case b.Head:
		return "now"
	case b.Nameless:
		return "nameless layer"
	}
	return "@" + b.Name
}
