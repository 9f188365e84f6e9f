package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) iostatCmd() *cobra.Command {
	var (
		f       show.Format
		volumes bool
	)
	cmd := &cobra.Command{
		Use:   "iostat [-v] [-Hpj] [POOL…] [INTERVAL [COUNT]]",
		Short: "Show what guests ask of pools, and what is erased beside it",
		Long: `Shows of each pool, or of all that are mounted here, what is in use and available; reads, writes and flushes per second; bytes
read and written per second; how long a read, a write and a flush took on average; bytes erased per second, and how many wait for
it. The first line is the average since the pool's daemon began to serve it. With an INTERVAL in seconds others follow, each of the
time since the one before, COUNT lines in all or until it is interrupted. -v has a line for each volume, too: what it uses, and what is
asked of it, whatever it was called before; one that is new has no rates in its first line. Reads of its snapshots are only in the
pool's. -p has exact numbers: bytes, and nanoseconds. -j prints a document for each line, with rates per second and seconds.`,
		Example: `  slatefs iostat lab 1                              # until it is interrupted
  slatefs iostat -v lab 5 3
  slatefs iostat -Hp                                # all pools, since their daemons began, for scripts`,
		RunE: plain(func(ctx context.Context, args []string) error {
			t, err := iostatTimes(&args)
			if err != nil {
				return err
			}
			return a.iostat(ctx, args, t, volumes, f)
		}),
	}
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "a line for each volume, too")
	f.Flags(cmd, "Hpj")
	return cmd
}

// metricsTime is how long a daemon may take to tell its numbers.
const metricsTime = 2 * time.Second

// iostatTime is how often to look: interval 0 is once, count 0 for ever.
type iostatTime struct {
	interval time.Duration
	count    int
}

// iostatTimes takes INTERVAL and COUNT from the end of arguments.
func iostatTimes(args *[]string) (t iostatTime, err error) {
	numbers := []float64{}
	for n := len(*args); n > 0 && len(numbers) < 2; n = len(*args) {
		x, err := strconv.ParseFloat((*args)[n-1], 64)
		if err != nil {
			break
		}
		numbers, *args = append([]float64{x}, numbers...), (*args)[:n-1]
	}
	if len(numbers) == 0 {
		return iostatTime{count: 1}, nil
	}
	if x := numbers[0]; math.IsNaN(x) || x < 0.01 || x > 1e6 {
		return t, show.Usagef("an interval of %v s: want 0.01 to 1000000", numbers[0])
	}
	t.interval = time.Duration(numbers[0] * float64(time.Second))
	if len(numbers) == 2 {
		if t.count = int(numbers[1]); float64(t.count) != numbers[1] || t.count < 1 {
			return t, show.Usagef("%v lines: want a whole number from 1 on", numbers[1])
		}
	}
	return t, nil
}

func (a *app) iostat(ctx context.Context, args []string, t iostatTime, volumes bool, f show.Format) error {
	pools, err := a.iostatPools(args)
	if err != nil {
		return err
	}
	p := iostatPrinter{app: a, f: f, before: map[uuid.UUID]control.PoolMetrics{}}
	for n := 1; ; n++ {
		begun := time.Now()
		var reports []ioReport
		for _, l := range pools() {
			r, err := p.ask(ctx, l, volumes)
			if err != nil && (len(args) > 0 || ctx.Err() != nil) {
				return quietly(ctx, err)
			}
			if err != nil {
				if err := a.note("%v", err); err != nil {
					return err
				}
			}
			reports = append(reports, r)
		}
		if err := p.print(reports); err != nil || n == t.count {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(t.interval - time.Since(begun)):
		}
	}
}

// quietly: who interrupts it has seen enough.
func quietly(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

// iostatPools finds the daemons that are to be asked: those of the pools that are named, or all there are at the time.
func (a *app) iostatPools(args []string) (func() []host.Live, error) {
	if len(args) == 0 {
		return func() (list []host.Live) {
			for _, l := range a.host.Daemons() {
				if l.Dir != "" {
					list = append(list, l)
				}
			}
			return list
		}, nil
	}
	var list []host.Live
	for _, arg := range args {
		l, err := a.mountedPool(arg)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return func() []host.Live { return list }, nil
}

// ioReport is a line of a pool, or of a volume. Rates are per second; a time is the average.
type ioReport struct {
	Name    string     `json:"name"`
	Seconds float64    `json:"seconds"` // that it is of
	Alloc   int64      `json:"alloc"`
	Free    *int64     `json:"free,omitempty"`
	Read    ioRate     `json:"read"`
	Write   ioRate     `json:"write"`
	Flush   ioRate     `json:"flush"`
	Erased  *float64   `json:"erased,omitempty"`
	Dirty   *int64     `json:"dirty,omitempty"`
	Volumes []ioReport `json:"volumes,omitempty"`
	Silent  string     `json:"no_answer,omitempty"`
}

type ioRate struct {
	Ops   float64 `json:"ops"`
	Bytes float64 `json:"bytes"`
	Time  float64 `json:"latency_seconds"`
}

// rateOf is what was done in so many seconds.
func rateOf(was, is control.Use, seconds float64) ioRate {
	n := is.Count - was.Count
	if n <= 0 || seconds <= 0 {
		return ioRate{}
	}
	return ioRate{float64(n) / seconds, float64(is.Bytes-was.Bytes) / seconds, (is.Time - was.Time) / float64(n)}
}

// useOf finds a kind of request among others.
func useOf(m *control.PoolMetrics, op string) (u control.Use) {
	for _, r := range m.Requests {
		if r.Op == op {
			for _, n := range r.Took.Slots {
				u.Count += n
			}
			u.Bytes, u.Time = r.Bytes, r.Took.Sum
		}
	}
	return u
}

// ioReportOf compares the numbers of a pool with those of before. Those of another daemon, or none, are of nothing yet.
func ioReportOf(was, is control.PoolMetrics) ioReport {
	u, began := is.Info.Usage, was.Info.Asked
	first := was.Info.Live.PID != is.Info.Live.PID || !was.Info.Live.Started.Equal(is.Info.Live.Started)
	if first {
		was, began = control.PoolMetrics{}, is.Info.Live.Started
	}
	s := is.Info.Asked.Sub(began).Seconds()
	dirty, erased := u.Dirty+u.Freeing+u.Failed, 0.0
	if n := is.Erase.Background + is.Erase.Demand - was.Erase.Background - was.Erase.Demand; n > 0 && s > 0 {
		erased = float64(n) / s
	}
	r := ioReport{
		Name: is.Info.Live.Name, Seconds: s, Alloc: u.Live, Free: &u.Avail, Erased: &erased, Dirty: &dirty,
		Read: rateOf(useOf(&was, "read"), useOf(&is, "read"), s), Write: rateOf(useOf(&was, "write"), useOf(&is, "write"), s),
		Flush: rateOf(useOf(&was, "flush"), useOf(&is, "flush"), s),
	}
	old := map[uuid.UUID]control.VolumeMetrics{}
	for _, v := range was.Volumes {
		old[v.UUID] = v
	}
	delete(old, uuid.Nil) // of a daemon that does not tell it
	for _, v := range is.Volumes {
		o, seen := old[v.UUID]
		r.Volumes = append(r.Volumes, ioReportOfVolume(o, v, s, seen || first))
	}
	return r
}

// ioReportOfVolume compares the numbers of a volume. One that was not seen before (not known) has no rates yet: it is of no time.
func ioReportOfVolume(was, is control.VolumeMetrics, seconds float64, known bool) ioReport {
	r := ioReport{Name: is.Name, Alloc: is.Used}
	if known {
		r.Seconds = seconds
		r.Read, r.Write, r.Flush = rateOf(was.Read, is.Read, seconds), rateOf(was.Write, is.Write, seconds), rateOf(was.Flush, is.Flush, seconds)
	}
	return r
}

// iostatPrinter prints reports.
type iostatPrinter struct {
	app    *app
	f      show.Format
	before map[uuid.UUID]control.PoolMetrics
	lines  int // since the header
}

// ask asks a daemon. On an error the report says so.
func (p *iostatPrinter) ask(ctx context.Context, l host.Live, volumes bool) (ioReport, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsTime)
	defer cancel()
	m, err := control.Metrics.Call(ctx, l, control.MetricsArgs{Volumes: volumes})
	if err != nil {
		return ioReport{Name: l.Name, Silent: show.ErrorText(err)}, err
	}
	if m.Left {
		err = p.app.note("pool %s: its daemon has no time for more than %d volumes", l.Name, len(m.Volumes))
	}
	r := ioReportOf(p.before[l.UUID], m)
	p.before[l.UUID] = m
	return r, err
}

// headerEvery is how many lines a header stands for.
const headerEvery = 20

func (p *iostatPrinter) print(reports []ioReport) error {
	if p.f.JSON {
		if reports == nil {
			reports = []ioReport{}
		}
		return show.WriteJSON(p.app.stdout, "slatefs iostat", "pools", reports)
	}
	var rows [][]string
	for _, r := range reports {
		rows = append(rows, p.row(r, ""))
		for _, v := range r.Volumes {
			rows = append(rows, p.row(v, "  "))
		}
	}
	f := p.f
	if f.NoHead = p.lines > 0 && p.lines+len(rows) <= headerEvery; !f.NoHead {
		p.lines = 0
	}
	p.lines += len(rows)
	cols := show.Columns("POOL >ALLOC >FREE >READ >WRITE >FLUSH >READ/S >WRITE/S >RLAT >WLAT >FLAT >ERASE/S >DIRTY")
	for i := range cols {
		cols[i].Least = 6
	}
	return f.Table(p.app.stdout, cols, rows)
}

func (p *iostatPrinter) row(r ioReport, indent string) []string {
	if p.f.Scripted {
		indent = ""
	}
	row := make([]string, 13)
	if row[0] = indent + r.Name; r.Silent != "" {
		return row
	}
	row[1] = p.f.Size(r.Alloc)
	if r.Free != nil {
		row[2], row[11], row[12] = p.f.Size(*r.Free), p.f.Size(int64(*r.Erased)), p.f.Size(*r.Dirty)
	}
	if r.Free == nil && r.Seconds == 0 { // a volume that was not seen before
		return row
	}
	for i, x := range []ioRate{r.Read, r.Write, r.Flush} {
		row[3+i] = p.count(x.Ops)
		if i < 2 {
			row[6+i] = p.f.Size(int64(x.Bytes))
		}
		if x.Ops > 0 {
			row[8+i] = p.latency(x.Time)
		}
	}
	return row
}

// count prints a number per second, in three digits or so.
func (p *iostatPrinter) count(n float64) string {
	switch {
	case p.f.Exact || n >= 10 && n < 10_000 || n == 0:
		return strconv.FormatFloat(n, 'f', 0, 64)
	case n < 10:
		return strconv.FormatFloat(n, 'f', 1, 64)
	case n < 1e6:
		return fmt.Sprintf("%.1fk", n/1e3)
	}
	return fmt.Sprintf("%.1fm", n/1e6)
}

// latency prints a time, in three digits.
func (p *iostatPrinter) latency(s float64) string {
	switch {
	case p.f.Exact:
		return strconv.FormatInt(int64(s*1e9), 10)
	case s < 0.9995e-3:
		return fmt.Sprintf("%.3gus", s*1e6)
	case s < 0.9995:
		return fmt.Sprintf("%.3gms", s*1e3)
	}
	return fmt.Sprintf("%.3gs", s)
}
