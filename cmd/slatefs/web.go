package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/cmd/slatefs/internal/web"
)

// webFlags are the flags of web.
type webFlags struct {
	listen, token string
	hosts         []string
}

func (a *app) webCmd() *cobra.Command {
	var f webFlags
	cmd := &cobra.Command{
		Use:   "web [--listen ADDR] [--token FILE] [--host NAME]…",
		Short: "Serve a page that shows the pools of this host",
		Long: `Serves a page with all pools of this host: what their space is used for, their volumes and chains, what is being erased and
what was, with the certificates. It changes by itself while it is looked at. Nothing is loaded from elsewhere.

Without --token it shows, and changes nothing. With it, who knows the token in FILE (mode 0600, 20 characters at least) may
log in and take and destroy snapshots, roll back, clone, and steer the erase: each is asked for twice, with what it would do.
The daemons keep what was done, and for whom.

It listens on 127.0.0.1:8480, or where --listen says: ADDR is HOST:PORT, or unix:PATH for a socket, which only this user may
use. There is no TLS in it: put a proxy before what others are to reach, and name its host with --host.`,
		Example: `  slatefs web
  head -c 24 /dev/urandom | base64 | install -m 0600 /dev/stdin /etc/slatefs/web.token
  slatefs web --token /etc/slatefs/web.token
  slatefs web --listen unix:/run/slatefs/web.sock --host pve1.example.org`,
		Args: arguments(0, 0),
		RunE: plain(func(ctx context.Context, _ []string) error { return a.web(ctx, f) }),
	}
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8480", "`ADDR` to listen on: HOST:PORT, or unix:PATH")
	cmd.Flags().StringVar(&f.token, "token", "", "`FILE` of what a login asks for")
	cmd.Flags().StringArrayVar(&f.hosts, "host", nil, "a `NAME` that browsers call this server by, beside what it listens on")
	return cmd
}

func (a *app) web(ctx context.Context, f webFlags) error {
	o := web.Options{Hosts: f.hosts, Log: slog.New(slog.NewTextHandler(a.stderr, nil)), Now: a.now}
	if f.token != "" {
		token, err := web.ReadToken(f.token)
		if err != nil {
			return err
		}
		o.Token = token
	}
	l, name, err := listenOn(f.listen)
	if err != nil {
		return err
	}
	if name != "" {
		o.Hosts = append(o.Hosts, name)
	}
	pools := &webPools{app: a}
	o.Source = pools.list
	if _, err := fmt.Fprintf(a.stderr, "slatefs web listens on %s\n", l.Addr()); err != nil {
		return err
	}
	return web.New(o).Serve(ctx, l)
}

// listenOn opens what a page or its numbers are asked for on. name is the host in addr.
func listenOn(addr string) (l net.Listener, name string, err error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if err := removeSocket(path); err != nil {
			return nil, "", err
		}
		if l, err = net.Listen("unix", path); err != nil {
			return nil, "", err
		}
		return l, "", os.Chmod(path, 0o600)
	}
	name, _, err = net.SplitHostPort(addr)
	if err != nil {
		return nil, "", show.Usagef("--listen %s: want HOST:PORT, or unix:PATH", addr)
	}
	l, err = net.Listen("tcp", addr)
	return l, name, err
}

// removeSocket takes away a socket that nobody listens on any more.
func removeSocket(path string) error {
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Type() != os.ModeSocket {
		return nil // the listener says what is there
	}
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close() //nolint:errcheck // it was only tried
		return fmt.Errorf("%s: another process listens on it", path)
	}
	return os.Remove(path)
}

// webPools finds the pools for the page. Those that have a daemon are asked each time; which others there are, seldom.
type webPools struct {
	app *app

	mu      sync.Mutex
	others  []poolState
	looked  time.Time
	looking bool
	daemons []uuid.UUID // that there were then
}

// otherTime is how often is looked which pools are not mounted, if no daemon came or went: LVM is asked for that, and devices.
const otherTime = 30 * time.Second

func (w *webPools) list(ctx context.Context) ([]web.Pool, error) {
	daemons := slices.DeleteFunc(w.app.host.Daemons(), func(l host.Live) bool { return l.Dir == "" })
	states := make([]web.Pool, len(daemons))
	var all sync.WaitGroup
	for i, l := range daemons {
		all.Go(func() {
			p := poolState{Name: l.Name, UUID: l.UUID, State: stateOnline, Device: l.Device, Dir: l.Dir}
			m, err := control.Metrics.Call(ctx, l, control.MetricsArgs{})
			p.said(m.Info, err)
			states[i] = webPool(p)
			states[i].Live = &l
			if err == nil {
				states[i].Metrics = &m
			}
		})
	}
	all.Wait()
	for _, p := range w.unmounted(daemons) {
		if !slices.ContainsFunc(states, func(l web.Pool) bool { return l.UUID == p.UUID }) {
			states = append(states, webPool(p))
		}
	}
	slices.SortFunc(states, func(a, b web.Pool) int { return strings.Compare(a.Name, b.Name) })
	return states, nil
}

// unmounted are the pools that had no daemon the last time that was looked. It looks by itself, and waits for nothing.
func (w *webPools) unmounted(live []host.Live) []poolState {
	ids := make([]uuid.UUID, len(live))
	for i, l := range live {
		ids[i] = l.UUID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.app.now(); !w.looking && (now.Sub(w.looked) > otherTime || !slices.Equal(ids, w.daemons)) {
		w.looked, w.daemons, w.looking = now, ids, true
		go w.look()
	}
	return w.others
}

func (w *webPools) look() {
	pools, err := w.app.poolStates(context.Background())
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.looking = false; err != nil {
		return // a note could not be written
	}
	w.others = slices.DeleteFunc(pools, func(p poolState) bool { return p.Info != nil })
}

// webPool is a pool as the page has it.
func webPool(p poolState) web.Pool {
	out := web.Pool{UUID: p.UUID, Name: p.Name, State: p.State, Device: p.Device, Info: p.Info}
	for _, t := range p.troubles() {
		out.Troubles = append(out.Troubles, web.Trouble(t))
	}
	return out
}
