package web

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options are what a server works with.
type Options struct {
	Source Source
	Token  string   // what a login asks for; empty: nobody can log in, and nothing can be done
	Hosts  []string // names that a browser may call this server by, beside localhost and loop-back addresses
	Log    *slog.Logger
	Now    func() time.Time
}

// Server serves the pages. Its methods may be called by several goroutines.
type Server struct {
	Options
	state    state
	history  history
	maps     maps
	answers  answers
	sessions *sessions
	flashes  flashes
	hosts    map[string]bool
	live     chan struct{} // a place for each that listens
	patience time.Duration // how long one that listens may take for a piece
}

// maxListeners bounds the browsers that are told of changes at a time; another one gets pages that stand still.
const maxListeners = 64

// New returns a server, which serves nothing yet.
func New(o Options) *Server {
	s := &Server{
		Options: o, patience: writeTime, sessions: newSessions(o.Token, o.Now), hosts: map[string]bool{}, live: make(chan struct{}, maxListeners),
		state: state{source: o.Source, now: o.Now, asked: make(chan struct{})}, answers: answers{now: o.Now},
	}
	for _, h := range o.Hosts {
		s.hosts[strings.ToLower(strings.TrimSuffix(h, "."))] = true
	}
	return s
}

// Serve answers on a listener until ctx ends. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.sample(ctx)
	server := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: time.Minute,
		WriteTimeout:   actTime + writeTime, // an action may take as long; who listens has another one
		MaxHeaderBytes: maxBody, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) //nolint:errcheck // it ends the line below
	defer stop()
	err := server.Serve(bounded{l, make(chan struct{}, maxConnections)})
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return err
}

// sample asks the pools as long as ctx lives.
func (s *Server) sample(ctx context.Context) {
	tick := time.NewTicker(refreshTime)
	defer tick.Stop()
	var next time.Time
	for {
		s.state.refresh(ctx)
		if now := s.Now(); !now.Before(next) {
			next = now.Add(sampleTime)
			s.remember(ctx, now)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// refreshTime is how often the pools are asked.
const refreshTime = 2 * time.Second

// remember adds a sample of each pool that has a daemon.
func (s *Server) remember(ctx context.Context, now time.Time) {
	pools, _, _ := s.state.last(ctx) //nolint:errcheck // it is on the pages
	for _, p := range pools {
		if p.Live != nil {
			s.history.add(p, now)
		}
	}
}

// maxConnections bounds the connections at a time: others wait for one to end.
const maxConnections = 256

// writeTime is how long a browser may take for a piece of an answer.
const writeTime = 10 * time.Second

// bounded is a listener that has so many connections at most as there are places.
type bounded struct {
	net.Listener
	places chan struct{}
}

// Accept waits for a place, and for a connection.
func (b bounded) Accept() (net.Conn, error) {
	b.places <- struct{}{}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-b.places })}, nil
}

// placed is a connection that gives its place back when it is closed.
type placed struct {
	net.Conn
	leave func()
}

// Close ends it.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

//go:embed asset
var assets embed.FS

// Handler is what answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	static, err := fs.Sub(assets, "asset")
	if err != nil {
		panic(err) // it is embedded
	}
	files := http.StripPrefix("/asset/", http.FileServerFS(static))
	mux.Handle("GET /asset/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		files.ServeHTTP(w, r)
	}))
	mux.HandleFunc("GET /{$}", s.overview)
	mux.HandleFunc("GET /pool/{id}/{$}", s.withPool(s.poolPage))
	mux.HandleFunc("GET /pool/{id}/volumes", s.withPool(s.volumesPage))
	mux.HandleFunc("GET /pool/{id}/volume", s.withPool(s.volumePage))
	mux.HandleFunc("GET /pool/{id}/erase", s.withPool(s.erasePage))
	mux.HandleFunc("GET /pool/{id}/log", s.withPool(s.logPage))
	mux.HandleFunc("GET /pool/{id}/events", s.withPool(s.eventsPage))
	mux.HandleFunc("GET /pool/{id}/certificate", s.withPool(s.certificate))
	mux.HandleFunc("GET /pool/{id}/ask", s.withPool(s.askPage))
	mux.HandleFunc("POST /pool/{id}/do", s.withPool(s.do))
	mux.HandleFunc("GET /live", s.listen)
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	return s.guard(mux)
}

// withPool finds the pool of a request.
func (s *Server) withPool(next func(http.ResponseWriter, *http.Request, Pool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, ok := s.state.pool(r.Context(), r.PathValue("id"))
		if !ok {
			s.refuse(w, r, http.StatusNotFound, errNoPool)
			return
		}
		next(w, r, p)
	}
}
