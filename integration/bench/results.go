package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// results are what a run has measured; they are what -json writes.
type results struct {
	Made    time.Time   `json:"made"`
	Kernel  string      `json:"kernel"`
	CPUs    int         `json:"cpus"`
	Size    int64       `json:"size"` // bytes of each peer's file
	Rounds  int         `json:"rounds"`
	Quick   bool        `json:"quick,omitempty"`
	Peers   []string    `json:"peers"`
	Rows    []resultRow `json:"rows"`
	Targets []judged    `json:"targets"`
}

type resultRow struct {
	Name  string              `json:"name"`
	Unit  string              `json:"unit"`
	Less  bool                `json:"less_is_better,omitempty"`
	Peers map[string]*measure `json:"peers"`
}

// measure is what one peer gave in one row: the medians of the rounds, and the values themselves.
type measure struct {
	Value  float64  `json:"value"`
	P50    float64  `json:"p50_us,omitempty"`
	P99    float64  `json:"p99_us,omitempty"`
	Max    float64  `json:"max_us,omitempty"` // of all rounds
	CPU    float64  `json:"cpu_us,omitempty"` // of the serving process for a request
	Rounds []sample `json:"rounds"`
}

// judged is a target and what was reached. Got is 0 where one side was not measured.
type judged struct {
	Text   string  `json:"text"`
	Want   string  `json:"want"`
	Got    float64 `json:"got"`
	Missed bool    `json:"missed"`
}

func newResults(g *ground) *results {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		say("uname: %v", err)
	}
	return &results{
		Made: time.Now().UTC().Truncate(time.Second), Kernel: unix.ByteSliceToString(u.Release[:]), CPUs: runtime.NumCPU(),
		Size: g.size, Rounds: g.rounds, Quick: g.quick, Peers: g.order,
	}
}

func (res *results) row(name string) *resultRow {
	for i := range res.Rows {
		if res.Rows[i].Name == name {
			return &res.Rows[i]
		}
	}
	return nil
}

// add counts one round of a row of a peer.
func (res *results) add(r row, peer string, s sample) {
	rr := res.row(r.name)
	if rr == nil {
		unit := r.unit
		if unit == "" {
			unit = perSecond
		}
		res.Rows = append(res.Rows, resultRow{Name: r.name, Unit: unit, Less: r.less, Peers: map[string]*measure{}})
		rr = &res.Rows[len(res.Rows)-1]
	}
	m := rr.Peers[peer]
	if m == nil {
		m = &measure{}
		rr.Peers[peer] = m
	}
	m.Rounds = append(m.Rounds, s)
	of := func(part func(sample) float64) float64 {
		var all []float64
		for _, s := range m.Rounds {
			all = append(all, part(s))
		}
		return median(all)
	}
	m.Value, m.P50 = of(func(s sample) float64 { return s.Value }), of(func(s sample) float64 { return s.P50 })
	m.P99, m.CPU = of(func(s sample) float64 { return s.P99 }), of(func(s sample) float64 { return s.CPU })
	m.Max = max(m.Max, s.Max)
}

// median of an even number is the mean of the two in the middle.
func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// value is a measured one; 0: there is none.
func (res *results) value(row, peer string) float64 {
	if r := res.row(row); r != nil && r.Peers[peer] != nil {
		return r.Peers[peer].Value
	}
	return 0
}

// judge compares with the targets. What was not measured is not missed.
func (res *results) judge() {
	res.Targets = nil
	for _, t := range targets {
		peer, toRow, to := t.peer, t.toRow, t.to
		if peer == "" {
			peer = slate
		}
		if toRow == "" {
			toRow = t.row
		}
		if to == "" {
			to = peer
		}
		j := judged{Text: fmt.Sprintf("%s: %s over %s", t.row, peer, to), Want: fmt.Sprintf(">= %.2f", t.least)}
		if toRow != t.row {
			j.Text = fmt.Sprintf("%s: over %s", t.row, toRow)
		}
		if t.most > 0 {
			j.Want = fmt.Sprintf("<= %.2f", t.most)
		}
		a, b := res.value(t.row, peer), res.value(toRow, to)
		if a == 0 || b == 0 {
			continue
		}
		j.Got = a / b
		j.Missed = j.Got < t.least || t.most > 0 && j.Got > t.most
		res.Targets = append(res.Targets, j)
	}
}

func (res *results) missed() (n int) {
	for _, t := range res.Targets {
		if t.Missed {
			n++
		}
	}
	return n
}

// text is the tables: medians, ratios to the native file, and the targets. before may be nil.
func (res *results) text(before *results) []byte {
	var b bytes.Buffer
	w := &b
	fmt.Fprintf(w, "Linux %s, %d CPUs, files of %d MiB, medians of %d rounds", res.Kernel, res.CPUs, res.Size/miB, res.Rounds)
	if before != nil {
		fmt.Fprintf(w, "; before: %s", before.Made.Format(time.DateOnly))
	}
	fmt.Fprint(w, "\n\n")
	const line = "%-48s %-15s %9s %-12s %9s %8s %8s %8s %7s %9s\n"
	fmt.Fprintf(w, line, "ROW", "PEER", "MEDIAN", "UNIT", "OF NATIVE", "P50 µs", "P99 µs", "MAX µs", "CPU µs", "OF BEFORE")
	for _, r := range res.Rows {
		title := r.Name
		for _, name := range res.Peers {
			m := r.Peers[name]
			if m == nil {
				continue
			}
			fmt.Fprintf(w, line, title, name, value(m.Value), r.Unit, ratio(m.Value, res.value(r.Name, native)),
				number(m.P50), number(m.P99), number(m.Max), number(m.CPU), ratio(m.Value, before.of(r.Name, name)))
			title = ""
		}
	}
	fmt.Fprintf(w, "\n%-80s %8s %8s\n", "TARGET", "WANTED", "REACHED")
	for _, j := range res.Targets {
		verdict := ""
		if j.Missed {
			verdict = "  missed"
		}
		fmt.Fprintf(w, "%-80s %8s %8.2f%s\n", j.Text, j.Want, j.Got, verdict)
	}
	return b.Bytes()
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

// write writes the results as JSON; no path: nowhere.
func (res *results) write(path string) error {
	if path == "" {
		return nil
	}
	b, err := json.MarshalIndent(res, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// readResults reads what write wrote; nil without an error: there is none.
func readResults(path string) (*results, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	res := &results{}
	if err := json.Unmarshal(b, res); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return res, nil
}

// escape makes a text fit for SVG.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
