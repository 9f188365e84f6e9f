package web

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"

	"slatefs/cmd/slatefs/internal/show"
)

//go:embed page
var pages embed.FS

// views are the pages and their parts. What a page is made of is in page/NAME.html, the parts of it that change in page/parts.html.
var views = template.Must(template.New("").Funcs(template.FuncMap{
	"size":  show.FormatSize,
	"text":  show.Escape,
	"query": url.QueryEscape,
	"time":  show.FormatTime,
	"short": func(p *int64) string {
		if p == nil {
			return "-"
		}
		return show.FormatSize(*p)
	},
	"num": func(f float64) string { return fmt.Sprintf("%.2f", f) },
	"clock": func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return show.FormatTime(*t)
	},
}).ParseFS(pages, "page/*.html"))

// frame is what all pages have around them.
type frame struct {
	Title    string
	Pool     *Pool
	Tab      string // of the pool
	LoggedIn bool
	CanLogin bool   // there is a token
	CSRF     string // of the session
	Done     string // what the last action came to
	Live     string // what is told of changes: a query of /live; empty: nothing
	At       time.Time
	Body     any
}

// render answers with a page. view is the template of its body.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, view string, f frame) {
	f.CanLogin = !s.sessions.none
	if one := s.sessions.of(r); one != nil {
		f.LoggedIn, f.CSRF, f.Done = true, one.csrf, s.flashes.take(one)
	}
	f.At = s.Now()
	var body, page bytes.Buffer
	err := views.ExecuteTemplate(&body, view, f)
	if err == nil {
		err = views.ExecuteTemplate(&page, "frame", struct {
			frame
			Main template.HTML
		}{f, template.HTML(body.String())}) //nolint:gosec // a template made it
	}
	if err != nil {
		s.Log.Error("a page was not made", "page", view, "err", err)
		http.Error(w, "this page could not be made; the log of slatefs web says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) //nolint:errcheck // nobody reads it any more
}

// errNoPool is for an address of a pool that this host does not know.
var errNoPool = errors.New("no pool of this host has this UUID")

// refuse answers with an error as a page.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	s.render(w, r, status, "refused", frame{Title: http.StatusText(status), Body: show.ErrorText(err)})
}

// flashes are what the last action of a session came to, until the next page.
type flashes struct {
	mu  sync.Mutex
	all map[*session]string
}

func (f *flashes) put(s *session, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil || len(f.all) > maxSessions {
		f.all = map[*session]string{}
	}
	f.all[s] = text
}

func (f *flashes) take(s *session) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := f.all[s]
	delete(f.all, s)
	return text
}
