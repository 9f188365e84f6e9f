package main

import (
	"bytes"
	"fmt"
)

// colours of the peers in the plot.
var colours = map[string]string{
	native: "#888888", bare: "#d08a2e", qsd: "#b0483c", slate: "#2f6fb0", loop: "#2a9d8f", classic: "#7b5ea7",
}

// plot draws, as SVG, each row of requests as bars: each peer over the native file, whose line is at 1.
func (res *results) plot() []byte {
	const left, wide, bar, gap, top = 300, 460, 9, 10, 50
	scale := func(v float64) float64 { return min(v, 1.5) / 1.5 * wide }
	var body bytes.Buffer
	y := top
	for _, r := range res.Rows {
		base := res.value(r.Name, native)
		if r.Unit != perSecond || base == 0 {
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
	var out bytes.Buffer
	fmt.Fprintf(&out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"11\">\n",
		left+wide+20, y+10)
	fmt.Fprintf(&out, "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n%s</svg>\n", body.Bytes())
	return out.Bytes()
}
