package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
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
	Stopped bool        `json:"stopped,omitempty"` // it was interrupted: not all rounds are there
	Peers   []string    `json:"peers"`
	Rows    []resultRow `json:"rows"`
	Targets []judged    `json:"targets"`
}

type resultRow struct {
	Name  string              `json:"name"`
	Unit  string              `json:"unit"`
	Less  bool                `json:"less_is_better,omitempty"`
	Curve string              `json:"curve,omitempty"` // the curve that it is a point of
	X     float64             `json:"x,omitempty"`     // where on that
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
	Errors []string `json:"errors,omitempty"` // of the rounds that failed, which are not in Rounds
}

// longest is the median of the longest requests, in ms.
func (m *measure) longest() float64 { return m.median(func(s sample) float64 { return s.Max }) / 1e3 }

// median is that of a part of the rounds.
func (m *measure) median(part func(sample) float64) float64 {
	var all []float64
	for _, s := range m.Rounds {
		all = append(all, part(s))
	}
	return median(all)
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

// add counts one round of a row of a peer, or that it failed.
func (res *results) add(r row, peer string, s sample, failed error) {
	rr := res.row(r.name)
	if rr == nil {
		unit := r.unit
		if unit == "" {
			unit = perSecond
		}
		res.Rows = append(res.Rows, resultRow{Name: r.name, Unit: unit, Less: r.less, Curve: r.curve, X: r.x, Peers: map[string]*measure{}})
		rr = &res.Rows[len(res.Rows)-1]
	}
	m := rr.Peers[peer]
	if m == nil {
		m = &measure{}
		rr.Peers[peer] = m
	}
	if failed != nil {
		m.Errors = append(m.Errors, failed.Error())
		return
	}
	m.Rounds = append(m.Rounds, s)
	m.Value, m.P50 = m.median(func(s sample) float64 { return s.Value }), m.median(func(s sample) float64 { return s.P50 })
	m.P99, m.CPU = m.median(func(s sample) float64 { return s.P99 }), m.median(func(s sample) float64 { return s.CPU })
	m.Max = max(m.Max, s.Max)
}

// failed is how many rounds of all rows and peers failed.
func (res *results) failed() (n int) {
	for _, r := range res.Rows {
		for _, m := range r.Peers {
			n += len(m.Errors)
		}
	}
	return n
}

// median of an even number is the mean of the two in the middle; of nothing it is 0.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// measured is what a peer gave in a row; nil: nothing.
func (res *results) measured(row, peer string) *measure {
	if r := res.row(row); r != nil && r.Peers[peer] != nil && len(r.Peers[peer].Rounds) > 0 {
		return r.Peers[peer]
	}
	return nil
}

// value is a measured one; 0: there is none.
func (res *results) value(row, peer string) float64 {
	if m := res.measured(row, peer); m != nil {
		return m.Value
	}
	return 0
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
