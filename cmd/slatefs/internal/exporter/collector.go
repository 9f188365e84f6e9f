package exporter

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Options are what an Exporter works with.
type Options struct {
	// Pools lists the daemons that there are, and what those said that ended without taking it back: these are down.
	// It is called by one goroutine at a time.
	Pools func() (live, dead []host.Live)
	Ask   Ask
	// Troubles are the kinds of trouble of a pool that answers.
	Troubles func(l host.Live, i *control.PoolInfo) []string
	// Groups reads the volume groups of pools, in the background. Nil: nobody does.
	Groups  func(ctx context.Context) ([]Group, error)
	Volumes bool // a number of series for each volume, too
	Log     *slog.Logger
}

// Exporter answers Prometheus. All methods may be called concurrently.
type Exporter struct {
	o      Options
	asker  asker
	groups groups

	listing sync.Mutex // held while Pools is called
	descs   map[string]*prometheus.Desc
}

// Names of what is not in a table.
const (
	upName       = "slatefs_pool_up"
	troubleName  = "slatefs_pool_trouble"
	partialName  = "slatefs_pool_volumes_incomplete"
	buildName    = "slatefs_exporter_build_info"
	vgFreeName   = "slatefs_vg_free_bytes"
	lvSizeName   = "slatefs_lv_size_bytes"
	groupsAtName = "slatefs_vg_read_timestamp_seconds"
)

// New makes an exporter.
func New(o Options) *Exporter {
	e := &Exporter{
		o: o, asker: asker{ask: o.Ask, volumes: o.Volumes, limit: Limit, open: map[asked]*question{}}, descs: map[string]*prometheus.Desc{},
	}
	add := func(name, help string, labels ...string) { e.descs[name] = prometheus.NewDesc(name, help, labels, nil) }
	add(upName, "1 if the daemon of a pool answers.", "pool")
	add(troubleName, "1 for each kind of trouble that a pool has, as pool status -x shows them.", "pool", "kind")
	add(buildName, "The exporter's version. The value is 1.", "version")
	add(vgFreeName, "What the volume group of a pool has free.", "vg")
	add(lvSizeName, "The logical volume that a pool lies on.", "pool", "vg", "lv")
	add(groupsAtName, "When volume groups were read.")
	for _, list := range [][]family{poolFamilies, eraseFamilies} {
		for _, f := range list {
			add(f.name, f.help, append([]string{"pool"}, f.labels...)...)
		}
	}
	for _, h := range histograms {
		add(h.name, h.help, append([]string{"pool"}, h.labels...)...)
	}
	if o.Volumes {
		add(partialName, "1 if the daemon had no time for all volumes of the pool.", "pool")
		for _, f := range volumeFamilies {
			add(f.name, f.help, "pool", "volume")
		}
	}
	return e
}

// Run does what is to be done in the background, until ctx ends.
func (e *Exporter) Run(ctx context.Context) {
	if e.o.Groups != nil {
		e.groups.keep(ctx, e.o.Groups)
	}
}

// Handler answers scrapes.
func (e *Exporter) Handler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(e)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(e.o.Log.Handler(), slog.LevelError), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 16,
	})
}

// Describe tells all that may come.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range e.descs {
		ch <- d
	}
}

// Collect asks all daemons at once, and is done when each has answered, or Limit is over.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	e.put(ch, buildName, 1, control.Version())
	e.listing.Lock()
	live, dead := e.o.Pools()
	e.listing.Unlock()
	names := labelsOf(append(append([]host.Live{}, live...), dead...))
	for _, l := range dead {
		e.put(ch, upName, 0, names[l.UUID])
	}
	var all sync.WaitGroup
	for _, l := range live {
		all.Go(func() { e.pool(ch, names[l.UUID], l) })
	}
	e.volumeGroups(ch, names)
	all.Wait()
}

// pool tells what there is of a pool.
func (e *Exporter) pool(ch chan<- prometheus.Metric, name string, l host.Live) {
	m, err := e.asker.metrics(context.Background(), l)
	if err != nil {
		e.put(ch, upName, 0, name)
		return
	}
	e.put(ch, upName, 1, name)
	for _, list := range [][]family{poolFamilies, eraseFamilies} {
		for _, f := range list {
			f.of(&m, func(v float64, labels ...string) { e.put(ch, f.name, v, append([]string{name}, labels...)...) })
		}
	}
	for _, h := range histograms {
		h.of(&m, func(of control.Histogram, labels ...string) {
			count, below := buckets(of)
			ch <- prometheus.MustNewConstHistogram(e.descs[h.name], count, of.Sum, below, append([]string{name}, labels...)...)
		})
	}
	for _, kind := range e.o.Troubles(l, &m.Info) {
		e.put(ch, troubleName, 1, name, kind)
	}
	if e.o.Volumes {
		e.volumes(ch, name, &m)
	}
}

func (e *Exporter) volumes(ch chan<- prometheus.Metric, name string, m *control.PoolMetrics) {
	e.put(ch, partialName, yes(m.Left), name)
	for i := range m.Volumes {
		for _, f := range volumeFamilies {
			e.put(ch, f.name, f.of(&m.Volumes[i]), name, shown(m.Volumes[i].Name))
		}
	}
}

// volumeGroups tells what was read of volume groups last.
func (e *Exporter) volumeGroups(ch chan<- prometheus.Metric, names map[uuid.UUID]string) {
	list, at := e.groups.last()
	if at.IsZero() {
		return
	}
	e.put(ch, groupsAtName, float64(at.UnixNano())/float64(time.Second))
	seen, told := map[string]bool{}, map[uuid.UUID]bool{}
	for _, g := range list {
		if !seen[g.VG] {
			seen[g.VG] = true
			e.put(ch, vgFreeName, float64(g.Free), shown(g.VG))
		}
		if name, ok := names[g.Pool]; ok && !told[g.Pool] { // of copies the first
			told[g.Pool] = true
			e.put(ch, lvSizeName, float64(g.Size), name, shown(g.VG), shown(g.LV))
		}
	}
}

// put tells a number.
func (e *Exporter) put(ch chan<- prometheus.Metric, name string, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if strings.HasSuffix(name, "_total") {
		kind = prometheus.CounterValue
	}
	ch <- prometheus.MustNewConstMetric(e.descs[name], kind, v, labels...)
}

// shown is a name as a label has it.
func shown(name string) string { return show.Escape(name) }

// labelsOf are what pools are called: by their names, and where several have one, by their UUIDs as well.
func labelsOf(pools []host.Live) map[uuid.UUID]string {
	n := map[string]int{}
	for _, l := range pools {
		n[l.Name]++
	}
	out := map[uuid.UUID]string{}
	for _, l := range pools {
		if out[l.UUID] = shown(l.Name); n[l.Name] > 1 {
			out[l.UUID] += " " + host.Paren(l.UUID)
		}
	}
	return out
}
