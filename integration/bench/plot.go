package main

import (
	"bytes"
	"fmt"
)

// colours of the peers in the plot.
var colours = map[string]string{
	native: "#888888", bare: "#d08a2e", qsd: "#b0483c", slate: "#2f6fb0", loop: "#2a9d8f", classic: "#7b5ea7",
}

// plot draws, as SVG, each row of requests as bars: each peer over the native file, whose line is at 1. Below are the curves:
// what each point costs over the first one, whose line is at 1, too.
func (res *results) plot() []byte {
	const left, wide, bar, gap, top = 330, 460, 9, 10, 50
	scale := func(v float64) float64 { return min(v, 1.5) / 1.5 * wide }
	var body bytes.Buffer
	y := top
	for _, r := range res.Rows {
		base := res.value(r.Name, native)
		if r.Unit != perSecond || base == 0 || r.Curve != "" {
			continue
		}
		first := y
		for _, name := range res.Peers {
			m := r.Peers[name]
			if m == nil || name == native {
				continue
			}
			fmt.Fprintf(&body, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"><title>%s: %.2f</title></rect>\n",
				left, y, scale(m.Value/base), bar, colours[name], escape.Replace(name), m.Value/base)
			y += bar
		}
		fmt.Fprintf(&body, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", left-8, (first+y)/2+4, escape.Replace(r.Name))
		y += gap
	}
	one := left + scale(1)
	fmt.Fprintf(&body, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\"/>\n", one, top-6, one, y, colours[native])
	fmt.Fprintf(&body, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">the file itself</text>\n", one, top-12)
	x := 10
	for _, name := range res.Peers {
		if name == native {
			continue
		}
		fmt.Fprintf(&body, "<rect x=\"%d\" y=\"8\" width=\"10\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"17\">%s</text>\n",
			x, colours[name], x+14, escape.Replace(name))
		x += 40 + 8*len(name)
	}
	y = res.plotCurves(&body, left, wide, y+20)
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"11\">\n",
		left+wide+50, y+10)
	fmt.Fprintf(&out, "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n%s</svg>\n", body.Bytes())
	return out.Bytes()
}

// plotCurves draws each curve beside its name, and returns where it ends.
func (res *results) plotCurves(w *bytes.Buffer, left, wide, y int) int {
	const high, gap, most = 60, 30, 2.
	for _, c := range res.curves() {
		first := c.points[0].y
		if len(c.points) < 2 || first == 0 {
			continue
		}
		level := func(v float64) float64 { return float64(y) + high*(1-min(v, most)/most) }
		at := func(i int) int { return left + wide*i/(len(c.points)-1) }
		fmt.Fprintf(w, "<text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%s</text>\n", left-8, level(1)+4, escape.Replace(c.name))
		fmt.Fprintf(w, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\"/>\n",
			left, level(1), left+wide, level(1), colours[native])
		fmt.Fprintf(w, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colours[c.peer])
		for i, p := range c.points {
			fmt.Fprintf(w, "%d,%.1f ", at(i), level(p.y/first))
		}
		fmt.Fprint(w, "\"/>\n")
		for i, p := range c.points {
			fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s: %.2f</text>\n", at(i), y+high+12, short(p.x), p.y/first)
		}
		y += high + gap
	}
	return y
}
