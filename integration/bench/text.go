package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// text is the tables: medians, ratios to the native file, what failed, curves, and the targets. before may be nil.
func (res *results) text(before *results) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Linux %s, %d CPUs, files of %d MiB, medians of %d rounds", res.Kernel, res.CPUs, res.Size/miB, res.Rounds)
	if before != nil {
		fmt.Fprintf(&b, "; before: %s", before.Made.Format(time.DateOnly))
	}
	if res.Stopped {
		fmt.Fprint(&b, "; interrupted")
	}
	fmt.Fprint(&b, "\n\n")
	res.rowsText(&b, before)
	res.curvesText(&b)
	fmt.Fprintf(&b, "\n%-96s %11s %8s\n", "TARGET", "WANTED", "REACHED")
	for _, j := range res.Targets {
		verdict := ""
		if j.Missed {
			verdict = "  missed"
		}
		fmt.Fprintf(&b, "%-96s %11s %8s%s\n", j.Text, j.Want, value(j.Got), verdict)
	}
	return b.Bytes()
}

// rowsText is the table of all rows. What failed is named where its values would be.
func (res *results) rowsText(b *bytes.Buffer, before *results) {
	const line = "%-50s %-15s %9s %-12s %9s %8s %8s %8s %7s %9s\n"
	fmt.Fprintf(b, line, "ROW", "PEER", "MEDIAN", "UNIT", "OF NATIVE", "P50 µs", "P99 µs", "MAX µs", "CPU µs", "OF BEFORE")
	for _, r := range res.Rows {
		title := r.Name
		for _, name := range res.Peers {
			m := r.Peers[name]
			if m == nil {
				continue
			}
			if len(m.Rounds) > 0 {
				fmt.Fprintf(b, line, title, name, value(m.Value), r.Unit, ratio(m.Value, res.value(r.Name, native)),
					number(m.P50), number(m.P99), number(m.Max), number(m.CPU), ratio(m.Value, before.of(r.Name, name)))
				title = ""
			}
			for _, e := range m.Errors {
				fmt.Fprintf(b, "%-50s %-15s failed: %s\n", title, name, strings.Join(strings.Fields(e), " "))
				title = ""
			}
		}
	}
}

// curvesText is a line for each curve: what each point costs, as a ratio to the first one.
func (res *results) curvesText(b *bytes.Buffer) {
	all := res.curves()
	if len(all) > 0 {
		fmt.Fprintf(b, "\n%-50s %s\n", "CURVE", "EACH POINT OVER THE FIRST ONE")
	}
	for _, c := range all {
		fmt.Fprintf(b, "%-50s", c.name)
		for _, p := range c.points {
			fmt.Fprintf(b, "  %s: %.2f", short(p.x), p.y/c.points[0].y)
		}
		fmt.Fprintln(b)
	}
}

// short is a number with few digits and a suffix of 1024s.
func short(v float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1 << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}} {
		if v >= u.of {
			return fmt.Sprintf("%.0f%s", v/u.of, u.name)
		}
	}
	return fmt.Sprintf("%.0f", v)
}

// of is value, also of no results.
func (res *results) of(row, peer string) float64 {
	if res == nil {
		return 0
	}
	return res.value(row, peer)
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// number is a value, or a dash for what was not measured.
func number(v float64) string {
	if v == 0 {
		return "-"
	}
	return value(v)
}

func value(v float64) string {
	switch {
	case v < 0.1 && v > 0:
		return fmt.Sprintf("%.4f", v)
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// escape makes a text fit for SVG.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
