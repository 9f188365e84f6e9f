package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/exporter"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) exporterCmd() *cobra.Command {
	var (
		listen, volumes string
		hosts           []string
	)
	cmd := &cobra.Command{
		Use:   "exporter [--listen ADDR] [--host NAME]… [--volumes=on|off]",
		Short: "Tell Prometheus the numbers of all pools of this host",
		Long: `Answers Prometheus, at /metrics, with the numbers of all pools that are mounted on this host: state, space, requests with their
latencies, the journal, the cache, errors of devices, the erase, and each volume, unless --volumes=off. One is enough for a host. It
asks the daemons by their control sockets, all at once; one that does not answer within two seconds is slatefs_pool_up 0. Volume
groups are read once a minute, where this is root and lvm2 is there.

It listens on 127.0.0.1:9827, or where --listen says: ADDR is HOST:PORT, or unix:PATH for a socket, which only this user may use.
There is neither TLS nor a password in it: who reaches it reads the names and numbers of all pools and volumes. A request must call
it by an address, localhost, the HOST of --listen, the name of this host, or a NAME of --host: so no page of another site can ask
it through somebody's browser. On a socket that is not looked at.
It has to be root, who runs the daemons, or of the group of their mount option readers=.`,
		Example: `  slatefs exporter
  slatefs exporter --listen 10.0.0.5:9827 --host pve1.example.org --volumes=off
  slatefs exporter --listen unix:/run/slatefs/exporter.sock`,
		Args: arguments(0, 0),
		RunE: plain(func(ctx context.Context, _ []string) error {
			if volumes != "on" && volumes != "off" {
				return show.Usagef("--volumes %s: on or off", volumes)
			}
			return a.export(ctx, listen, hosts, volumes == "on")
		}),
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9827", "`ADDR` to listen on: HOST:PORT, or unix:PATH")
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "a `NAME` that Prometheus calls this server by; an empty one is none")
	cmd.Flags().StringVar(&volumes, "volumes", "on", "series for each volume: `on` or off")
	return cmd
}

// exporterPage is for who comes with a browser.
const exporterPage = `<!doctype html><title>slatefs exporter</title><a href="/metrics">metrics</a>`

// export serves metrics until ctx ends. hosts are names of this server beside its own.
func (a *app) export(ctx context.Context, listen string, hosts []string, volumes bool) error {
	l, name, err := listenOn(listen)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	e := exporter.New(exporter.Options{
		Pools: a.exported(), Volumes: volumes, Log: log, Groups: volumeGroups,
		Ask: func(ctx context.Context, l host.Live, volumes bool) (control.PoolMetrics, error) {
			return control.Metrics.Call(ctx, l, control.MetricsArgs{Volumes: volumes})
		},
		Troubles: func(l host.Live, i *control.PoolInfo) (kinds []string) {
			p := poolState{Name: l.Name, State: stateOnline, Info: i}
			for _, t := range p.troubles() {
				if !slices.Contains(kinds, t.Kind) {
					kinds = append(kinds, t.Kind)
				}
			}
			return kinds
		},
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.Handler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, exporterPage) //nolint:errcheck // who asked has gone
	})
	var handler http.Handler = mux
	if l.Addr().Network() != "unix" { // which no browser reaches, and where nothing has to be called by a name
		host, err := os.Hostname()
		if err != nil {
			log.Warn("this host's name is not known", "error", err)
		}
		handler = exporter.OnlyFor(append([]string{name, host}, hosts...), mux)
	}
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	if _, err := fmt.Fprintf(a.stderr, "slatefs exporter listens on %s\n", l.Addr()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go e.Run(ctx)
	defer context.AfterFunc(ctx, func() { _ = srv.Close() })() //nolint:errcheck // it ends Serve
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// exported lists the daemons, and those that have died.
func (a *app) exported() func() (live, dead []host.Live) {
	quiet := a.host // of an entry that can't be read nobody needs to hear at each scrape
	quiet.OnWarning = nil
	return func() (live, dead []host.Live) {
		for _, l := range quiet.Daemons() {
			if l.Dir != "" { // else it is just starting
				live = append(live, l)
			}
		}
		for _, k := range quiet.KnownPools() {
			l, ok := quiet.Left(k.UUID)
			if ok && !slices.ContainsFunc(live, func(o host.Live) bool { return o.UUID == l.UUID }) {
				dead = append(dead, l)
			}
		}
		return live, dead
	}
}

// volumeGroups reads the volume groups of pools.
func volumeGroups(ctx context.Context) (list []exporter.Group, err error) {
	lvs, err := host.LVPools(ctx)
	for _, p := range lvs {
		list = append(list, exporter.Group{Pool: p.UUID, VG: p.LV.VG, LV: p.LV.LV, Size: p.Volume.Size, Free: p.Free})
	}
	return list, err
}
