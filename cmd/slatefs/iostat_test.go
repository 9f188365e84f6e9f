package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// metricsAt are numbers of a daemon at a second after its start: so many reads, each of 4096 bytes and 2 ms.
func metricsAt(pid int, second, reads int64) control.PoolMetrics {
	start := time.Unix(1000, 0)
	return control.PoolMetrics{
		Info: control.PoolInfo{Live: host.Live{Name: "lab", PID: pid, Started: start}, Asked: start.Add(time.Duration(second) * time.Second)},
		Requests: []control.RequestMetrics{
			{Op: "read", Bytes: reads * 4096, Took: control.Histogram{Sum: float64(reads) * 0.002, Slots: []int64{reads / 2, reads - reads/2}}},
			{Op: "other", Bytes: 7, Took: control.Histogram{Slots: []int64{5}}},
		},
		Erase: control.EraseMetrics{Background: reads * 10, Demand: reads},
		Volumes: []control.VolumeMetrics{
			{Name: "v", UUID: uuid.UUID{1}, Read: control.Use{Count: reads, Bytes: reads * 4096, Time: float64(reads)}},
		},
	}
}

// TestIostatRates: a line is of the time since the one before, and the first, or that of another daemon, since it began.
func TestIostatRates(t *testing.T) {
	for what, c := range map[string]struct {
		was, is control.PoolMetrics
		want    ioRate
		seconds float64
		erased  float64
	}{
		"the first":            {control.PoolMetrics{}, metricsAt(1, 10, 100), ioRate{10, 40960, 0.002}, 10, 110},
		"the next":             {metricsAt(1, 10, 100), metricsAt(1, 12, 140), ioRate{20, 81920, 0.002}, 2, 220},
		"of another daemon":    {metricsAt(2, 10, 100), metricsAt(1, 5, 50), ioRate{10, 40960, 0.002}, 5, 110},
		"nothing":              {metricsAt(1, 10, 100), metricsAt(1, 12, 100), ioRate{}, 2, 0},
		"at the same instant":  {metricsAt(1, 10, 100), metricsAt(1, 10, 100), ioRate{}, 0, 0},
		"of a clock that went": {metricsAt(1, 10, 100), metricsAt(1, 8, 140), ioRate{}, -2, 0},
	} {
		r := ioReportOf(c.was, c.is)
		if d := r.Read.Time - c.want.Time; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: a read took %v s, want %v", what, r.Read.Time, c.want.Time)
		}
		r.Read.Time = c.want.Time
		if r.Read != c.want || r.Seconds != c.seconds || *r.Erased != c.erased || r.Write != (ioRate{}) {
			t.Errorf("%s: %+v in %v s, %v erased; want %+v in %v s, %v", what, r.Read, r.Seconds, *r.Erased, c.want, c.seconds, c.erased)
		}
		if v := r.Volumes[0]; v.Read.Ops != c.want.Ops || v.Read.Bytes != c.want.Bytes {
			t.Errorf("%s: of the volume %+v", what, v)
		}
	}
}

// TestIostatRenamed: a volume that was renamed has the rates of itself, not all that was ever asked of it; one that was not seen before has
// none, and says so, also if it took over a name, or the daemon is of a version that tells no UUIDs.
func TestIostatRenamed(t *testing.T) {
	volume := func(name string, id byte, reads int64) control.VolumeMetrics {
		return control.VolumeMetrics{Name: name, UUID: uuid.UUID{id}, Read: control.Use{Count: reads, Bytes: reads * 4096}}
	}
	was, is := metricsAt(1, 10, 100), metricsAt(1, 12, 140)
	was.Volumes = []control.VolumeMetrics{volume("a", 1, 1000), volume("b", 2, 500), volume("x", 0, 70), volume("y", 0, 80)}
	is.Volumes = []control.VolumeMetrics{volume("a", 3, 9000), volume("b", 1, 1010), volume("c", 2, 504), volume("x", 0, 90)}
	p := iostatPrinter{}
	for i, want := range []struct {
		name    string
		seconds float64
		ops     float64
		cell    string
	}{{"a", 0, 0, ""}, {"b", 2, 5, "5.0"}, {"c", 2, 2, "2.0"}, {"x", 0, 0, ""}} {
		v := ioReportOf(was, is).Volumes[i]
		if v.Name != want.name || v.Seconds != want.seconds || v.Read.Ops != want.ops || v.Read.Bytes != want.ops*4096 {
			t.Errorf("%s: %+v in %v s, want %v per second in %v s", v.Name, v.Read, v.Seconds, want.ops, want.seconds)
		}
		if row := p.row(v, ""); row[3] != want.cell || row[1] == "" {
			t.Errorf("%s: the line is %q, want reads %q", v.Name, row, want.cell)
		}
	}
}

// TestIostatTimes: numbers at the end are times, and what comes before them is pools.
func TestIostatTimes(t *testing.T) {
	for line, want := range map[string]struct {
		pools string
		t     iostatTime
	}{
		"":          {"", iostatTime{0, 1}},
		"lab":       {"lab", iostatTime{0, 1}},
		"lab 2":     {"lab", iostatTime{2 * time.Second, 0}},
		"a b .5 3":  {"a b", iostatTime{time.Second / 2, 3}},
		"5":         {"", iostatTime{5 * time.Second, 0}},
		"7 1 2":     {"7", iostatTime{time.Second, 2}},
		"1 ./2 1 1": {"1 ./2", iostatTime{time.Second, 1}},
	} {
		args := strings.Fields(line)
		got, err := iostatTimes(&args)
		if err != nil || got != want.t || !slices.Equal(args, strings.Fields(want.pools)) {
			t.Errorf("%q: %+v of %q, %v", line, got, args, err)
		}
	}
	for _, line := range []string{"lab 0", "lab -1", "lab nan 2", "lab 1 0", "lab 1 1.5", "lab 1 inf", "lab 1e9"} {
		args := strings.Fields(line)
		if got, err := iostatTimes(&args); err == nil {
			t.Errorf("%q is %+v of %q", line, got, args)
		}
	}
}

// TestIostat shows a pool's line and its volumes', whatever they are called.
func TestIostat(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.ok("create --size 1M /lab/d/v")
	l.ok("create --size 1M /lab/\x1b[31m\xff")
	out := l.ok("iostat -v lab")
	if lines := strings.Split(out, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], "POOL ") || !strings.HasPrefix(lines[1], "lab ") ||
		!strings.HasPrefix(lines[2], `  \033[31m\377 `) || !strings.HasPrefix(lines[3], "  d/v ") || !strings.Contains(lines[3], " 1ms ") {
		t.Errorf("iostat:\n%s", out)
	}
}
