package exporter

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// evil is a name of a volume that is no UTF-8, and would end a line or a label.
const evil = "a\"b\\c\n\x1b[31m\xff,}"

// told is what a daemon tells.
func told(l host.Live) control.PoolMetrics {
	took := control.Histogram{First: 0.001, Sum: 0.5, Slots: []int64{1, 2, 3}}
	return control.PoolMetrics{
		Info: control.PoolInfo{
			Live: l, Transport: "loop", Failed: "why", Asked: time.Unix(2000, 0), Late: control.Late{Jobs: 2, Broken: 1},
			Usage: control.Usage{Total: 1 << 30, Avail: 1 << 20, Live: 7, Failed: 4096},
		},
		Requests: []control.RequestMetrics{{Op: "read", Bytes: 4096, Failed: 1, Took: took}, {Op: "other", Took: took}},
		Work:     control.WorkMetrics{LastCheckpoint: 0.25, LastAgo: 100},
		Device:   control.DeviceFailures{Reads: 3},
		Erase:    control.EraseMetrics{Errors: map[string]int64{"zero": 5}, End: 3000, Step: took, Sync: took},
		Volumes: []control.VolumeMetrics{
			{Name: evil, Used: 11, Read: control.Use{Count: 5, Bytes: 20480, Time: 0.1}}, {Name: "v", Snapshots: 4},
		},
	}
}

// daemons are n that live.
func daemons(n int) (list []host.Live) {
	for i := range n {
		l := host.Live{UUID: uuid.UUID{byte(i + 1)}, Name: fmt.Sprintf("pool%d", i), PID: 100 + i, Dir: "/mnt/p", Device: "/dev/x"}
		list = append(list, l)
	}
	return list
}

func options(live, dead []host.Live) Options {
	return Options{
		Pools: func() ([]host.Live, []host.Live) { return live, dead }, Volumes: true, Log: slog.New(slog.DiscardHandler),
		Ask:      func(_ context.Context, l host.Live, _ bool) (control.PoolMetrics, error) { return told(l), nil },
		Troubles: func(host.Live, *control.PoolInfo) []string { return []string{"read-only"} },
	}
}

// scrape is what Prometheus would get.
func scrape(t *testing.T, e *Exporter) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d, %v: %s", w.Code, err, b)
	}
	return string(b)
}

// TestScrape: what daemons tell is there, under names that are UTF-8 and tell volumes apart, whatever these are called.
func TestScrape(t *testing.T) {
	live := daemons(2)
	dead := host.Live{UUID: uuid.UUID{99}, Name: "gone", Dir: "/mnt/gone"}
	o := options(live, []host.Live{dead})
	o.Groups = func(context.Context) ([]Group, error) {
		return []Group{
			{live[0].UUID, "vg0", "lab", 1 << 30, 5 << 30}, {live[0].UUID, "vg1", "copy", 1, 2}, {uuid.UUID{77}, "vg0", "x", 3, 5 << 30},
		}, nil
	}
	e := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.Run(ctx); close(done) }()
	for _, at := e.groups.last(); at.IsZero(); _, at = e.groups.last() {
		time.Sleep(time.Millisecond)
	}
	text := scrape(t, e)
	for _, want := range []string{
		`slatefs_pool_up{pool="pool0"} 1`, `slatefs_pool_up{pool="gone"} 0`, `slatefs_pool_read_only{pool="pool1"} 1`,
		`slatefs_pool_trouble{kind="read-only",pool="pool0"} 1`, `slatefs_pool_blocks_bytes{pool="pool0",state="failed"} 4096`,
		`slatefs_request_duration_seconds_bucket{op="read",pool="pool0",le="0.001"} 1`,
		`slatefs_request_duration_seconds_bucket{op="read",pool="pool0",le="0.002"} 3`,
		`slatefs_request_duration_seconds_bucket{op="read",pool="pool0",le="+Inf"} 6`,
		`slatefs_request_duration_seconds_sum{op="read",pool="pool0"} 0.5`, `slatefs_request_duration_seconds_count{op="other",pool="pool1"} 6`,
		`slatefs_request_bytes_total{op="read",pool="pool0"} 4096`, `slatefs_request_errors_total{op="read",pool="pool0"} 1`,
		`slatefs_device_errors_total{op="read",pool="pool0"} 3`, `slatefs_erase_errors_total{kind="zero",pool="pool0"} 5`,
		`slatefs_erase_deadlines_broken{pool="pool0"} 1`, `slatefs_checkpoint_last_timestamp_seconds{pool="pool0"} 1900`,
		`slatefs_volume_used_bytes{pool="pool0",volume="a\"b\\\\c\\012\\033[31m\\377,}"} 11`,
		`slatefs_volume_snapshots{pool="pool1",volume="v"} 4`,
		`slatefs_volume_read_seconds_total{pool="pool1",volume="v"} 0`, `slatefs_vg_free_bytes{vg="vg0"} 5.36870912e+09`,
		`slatefs_lv_size_bytes{lv="lab",pool="pool0",vg="vg0"} 1.073741824e+09`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if !utf8.ValidString(text) || strings.Contains(text, "copy") {
		t.Errorf("not UTF-8, or a logical volume that is no pool's:\n%s", text)
	}
	cancel()
	<-done
	o.Volumes = false
	if text := scrape(t, New(o)); strings.Contains(text, "slatefs_volume") || !strings.Contains(text, "slatefs_pool_volumes{") {
		t.Errorf("volumes are off:\n%s", text)
	}
}

// TestNamesTwice: pools of one name are told apart, and no scrape fails of it.
func TestNamesTwice(t *testing.T) {
	live := daemons(3)
	live[1].Name = live[0].Name
	text := scrape(t, New(options(live, nil)))
	for _, want := range []string{
		`slatefs_pool_up{pool="pool0 (01000000-0000-0000-0000-000000000000)"} 1`,
		`slatefs_pool_up{pool="pool0 (02000000-0000-0000-0000-000000000000)"} 1`,
		`slatefs_pool_up{pool="pool2"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// TestOneHangs: a daemon that does not answer is down, whoever asks how often; it is asked once meanwhile, and is up when it answers.
func TestOneHangs(t *testing.T) {
	live := daemons(40)
	o := options(live, nil)
	var asked atomic.Int64
	var hangs atomic.Bool
	hangs.Store(true)
	goOn := make(chan struct{})
	o.Ask = func(_ context.Context, l host.Live, _ bool) (control.PoolMetrics, error) {
		if l.Name == "pool7" && hangs.Load() {
			asked.Add(1)
			<-goOn
		}
		return told(l), nil
	}
	e := New(o)
	e.asker.limit = 100 * time.Millisecond
	var scrapes sync.WaitGroup
	var whole atomic.Int64 // scrapes that had all others; on a busy machine one of them may be late, too
	check := func(up string) {
		t.Helper()
		text := scrape(t, e)
		if !strings.Contains(text, `slatefs_pool_up{pool="pool7"} `+up+"\n") || strings.Count(text, "\nslatefs_pool_up{") != 40 {
			t.Errorf("pool7 is not %s, or another one is missing", up)
		}
		if strings.Count(text, "\nslatefs_pool_size_bytes{") == 39 {
			whole.Add(1)
		}
	}
	for range 8 {
		scrapes.Go(func() { check("0") })
	}
	scrapes.Wait()
	for tries := 0; tries < 3 || whole.Load() == 0; tries++ {
		if check("0"); tries > 1000 {
			t.Fatal("no scrape has the numbers of the others")
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it was asked %d times while it hung", n)
	}
	hangs.Store(false)
	e.asker.mu.Lock()
	q := e.asker.open[asked1(live[7])]
	e.asker.mu.Unlock()
	close(goOn)
	<-q.done
	e.asker.limit = time.Minute
	check("1")
}

func asked1(l host.Live) asked { return asked{l.UUID, l.PID} }

// TestNewDaemonIsAsked: that the daemon before hangs is not held against it.
func TestNewDaemonIsAsked(t *testing.T) {
	live := daemons(1)
	o := options(live, nil)
	goOn := make(chan struct{})
	defer close(goOn)
	o.Ask = func(_ context.Context, l host.Live, _ bool) (control.PoolMetrics, error) {
		if l.PID == 100 {
			<-goOn
		}
		return told(l), nil
	}
	e := New(o)
	e.asker.limit = time.Millisecond
	if text := scrape(t, e); !strings.Contains(text, `slatefs_pool_up{pool="pool0"} 0`) {
		t.Errorf("it hangs, and is up:\n%s", text)
	}
	live[0].PID = 101
	e.asker.limit = time.Minute
	if text := scrape(t, e); !strings.Contains(text, `slatefs_pool_up{pool="pool0"} 1`) {
		t.Errorf("the next daemon is not asked:\n%s", text)
	}
}

// TestGroupsHang: volume groups that can't be read hold no scrape, and what was read is told until it is old.
func TestGroupsHang(t *testing.T) {
	o := options(daemons(1), nil)
	o.Groups = func(ctx context.Context) ([]Group, error) { <-ctx.Done(); return nil, ctx.Err() }
	e := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.Run(ctx); close(done) }()
	if text := scrape(t, e); strings.Contains(text, "slatefs_vg") {
		t.Errorf("groups that were never read:\n%s", text)
	}
	cancel()
	<-done
	e.groups.list, e.groups.at = []Group{{VG: "vg0", Free: 1}}, time.Now().Add(-groupsOld/2)
	if text := scrape(t, e); !strings.Contains(text, `slatefs_vg_free_bytes{vg="vg0"} 1`) {
		t.Errorf("groups that were read a while ago are not there:\n%s", text)
	}
	e.groups.at = time.Now().Add(-2 * groupsOld)
	if text := scrape(t, e); strings.Contains(text, "slatefs_vg") {
		t.Errorf("groups that are too old:\n%s", text)
	}
}

// TestNames: each name has a unit that Prometheus' conventions know, or is of things that are counted, and only what grows is _total.
func TestNames(t *testing.T) {
	of := regexp.MustCompile(`^slatefs_[a-z_]+_(bytes|seconds|total|info|jobs|files|volumes|snapshots|layers|up|trouble|paused|closed|only|` +
		`possible|incomplete|refused|late|broken)$`)
	for name, d := range New(options(nil, nil)).descs {
		if !of.MatchString(name) || strings.Contains(name, "__") {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// TestPromtoolCheckMetrics: Prometheus' own tool finds nothing to say about a scrape.
func TestPromtoolCheckMetrics(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("!!! NOT TESTED: promtool check metrics: ", err)
	}
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, New(options(daemons(2), nil))))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// BenchmarkScrape is what a scrape of many pools costs the exporter, beside what their daemons take.
func BenchmarkScrape(b *testing.B) {
	for _, pools := range []int{1, 40} {
		b.Run(fmt.Sprintf("pools=%d", pools), func(b *testing.B) {
			h := New(options(daemons(pools), nil)).Handler()
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			}
		})
	}
}
