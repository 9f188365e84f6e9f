package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// errNoDaemon is for a page that only a daemon can fill.
var errNoDaemon = errors.New("this pool is not mounted, or its daemon does not answer: slatefs pool status says more")

// card is a pool in the overview, or the head of its own pages.
type card struct {
	Pool
	Segments []segment
	Promised segment
}

func cardOf(p Pool) card {
	c := card{Pool: p}
	if p.Info != nil {
		c.Segments, c.Promised = spaceBar(p.Info.Usage)
	}
	return c
}

func (s *Server) overview(w http.ResponseWriter, r *http.Request) {
	body, err := s.overviewBody(r.Context())
	if err != nil {
		s.refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	s.render(w, r, http.StatusOK, "overview", frame{Title: "Pools", Live: "view=overview", Body: body})
}

func (s *Server) overviewBody(ctx context.Context) (list []card, err error) {
	pools, _, err := s.state.last(ctx)
	for _, p := range pools {
		list = append(list, cardOf(p))
	}
	if len(list) > 0 {
		err = nil // what was known before
	}
	return list, err
}

// poolBody is what the page of a pool shows.
type poolBody struct {
	Card     card
	Plots    []plot
	Tiles    []tile // of the map
	MapLabel string
}

func (s *Server) poolPage(w http.ResponseWriter, r *http.Request, p Pool) {
	s.render(w, r, http.StatusOK, "pool", frame{
		Title: p.Name, Pool: &p, Tab: "pool", Live: "view=pool&pool=" + p.UUID.String(), Body: s.poolBody(p),
	})
}

func (s *Server) poolBody(p Pool) poolBody {
	list, now := s.history.of(p.UUID), s.Now()
	b := poolBody{Card: cardOf(p)}
	b.Tiles, b.MapLabel = s.maps.of(p.Live, now)
	for which := range series {
		b.Plots = append(b.Plots, plotOf(list, which, now))
	}
	return b
}

// volumesBody is a piece of the list of volumes.
type volumesBody struct {
	Rows       []volumeRow
	Find       string
	From, To   int
	All, Total int // that were found, and that there are
	Prev, Next string
}

type volumeRow struct {
	control.Row
	Path string // as in an address: escaped
}

// perPage is how many volumes a page lists.
const perPage = 200

func (s *Server) volumesPage(w http.ResponseWriter, r *http.Request, p Pool) {
	if p.Live == nil {
		s.refuse(w, r, http.StatusServiceUnavailable, errNoDaemon)
		return
	}
	ctx, cancel := asking(r)
	defer cancel()
	rows, err := shared(ctx, &s.answers, question{p.UUID, "volumes", ""}, func(ctx context.Context) ([]control.Row, error) {
		return volumesOf(ctx, *p.Live)
	})
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	find, from := r.FormValue("find"), 0
	if n, err := strconv.Atoi(r.FormValue("from")); err == nil && n > 0 {
		from = n
	}
	b := volumesBody{Find: find, Total: len(rows)}
	var found []volumeRow
	for _, row := range rows {
		name := show.Escape(below(*p.Live, row.Name))
		if find == "" || strings.Contains(strings.ToLower(name), strings.ToLower(find)) {
			found = append(found, volumeRow{row, name})
		}
	}
	slices.SortFunc(found, func(a, b volumeRow) int { return cmp.Compare(a.Path, b.Path) })
	b.All = len(found)
	from = min(from, max(0, b.All-1)) / perPage * perPage
	to := min(from+perPage, b.All)
	b.Rows, b.From, b.To = found[from:to], from+1, to
	if b.All == 0 {
		b.From = 0
	}
	if from > 0 {
		b.Prev = strconv.Itoa(from - perPage)
	}
	if to < b.All {
		b.Next = strconv.Itoa(to)
	}
	s.render(w, r, http.StatusOK, "volumes", frame{Title: p.Name + ": volumes", Pool: &p, Tab: "volumes", Body: b})
}

// volumeBody is one volume and its chain.
type volumeBody struct {
	Row   control.Row
	Path  string // escaped
	Chain []branch
	More  int // layers that are not drawn
}

// maxDrawn bounds the layers that a page draws.
const maxDrawn = 500

func (s *Server) volumePage(w http.ResponseWriter, r *http.Request, p Pool) {
	name, err := show.Unescape(r.FormValue("path"))
	if err != nil || p.Live == nil {
		s.refuse(w, r, http.StatusBadRequest, cmp.Or(err, errNoDaemon))
		return
	}
	ctx, cancel := asking(r)
	defer cancel()
	b, err := shared(ctx, &s.answers, question{p.UUID, "volume", name}, func(ctx context.Context) (volumeBody, error) {
		return volumeBodyOf(ctx, p, name)
	})
	if err != nil {
		s.refuse(w, r, http.StatusNotFound, err)
		return
	}
	s.render(w, r, http.StatusOK, "volume", frame{Title: p.Name + ": " + b.Path, Pool: &p, Tab: "volumes", Body: b})
}

func volumeBodyOf(ctx context.Context, p Pool, name string) (b volumeBody, err error) {
	o := objectOf(*p.Live, name)
	rows, err := control.List.Call(ctx, *p.Live, control.ListArgs{
		Objects: []control.Object{o}, Types: []string{control.TypeVolume, control.TypeSnapshot},
	})
	if err != nil {
		return b, err
	}
	used := map[string]*int64{}
	for _, row := range rows {
		if row.Type == control.TypeVolume {
			b.Row = row
		} else if _, snap, ok := control.SplitSnapshot(row.Name); ok {
			used[snap] = row.Used
		}
	}
	trees, err := control.Tree.Call(ctx, *p.Live, o)
	if err != nil {
		return b, err
	}
	b.Path = show.Escape(name)
	for _, t := range trees {
		b.Chain, b.More = chainOf(t, maxDrawn)
	}
	for i := range b.Chain {
		c := &b.Chain[i]
		c.Owner = below(*p.Live, c.Owner)
		c.Mine = c.Owner == name
		if c.Mine && !c.Head && !c.Nameless {
			c.Used = used[c.Name]
		}
	}
	return b, nil
}

// eraseBody is what waits to be erased.
type eraseBody struct {
	control.EraseInfo
	More int           // jobs that are not shown
	Kept []control.Row // what was destroyed and can be brought back
}

// maxJobs bounds the jobs of a page.
const maxJobs = 200

func (s *Server) erasePage(w http.ResponseWriter, r *http.Request, p Pool) {
	ctx, cancel := asking(r)
	defer cancel()
	b, err := s.eraseBody(ctx, p)
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	s.render(w, r, http.StatusOK, "erase", frame{
		Title: p.Name + ": erase", Pool: &p, Tab: "erase", Live: "view=erase&pool=" + p.UUID.String(), Body: b,
	})
}

func (s *Server) eraseBody(ctx context.Context, p Pool) (b eraseBody, err error) {
	if p.Live == nil {
		return b, errNoDaemon
	}
	return shared(ctx, &s.answers, question{p.UUID, "erase", ""}, func(ctx context.Context) (eraseBody, error) { return eraseBodyOf(ctx, p) })
}

func eraseBodyOf(ctx context.Context, p Pool) (b eraseBody, err error) {
	if b.EraseInfo, err = control.Jobs.Call(ctx, *p.Live, control.None{}); err != nil {
		return b, err
	}
	b.Kept, err = control.List.Call(ctx, *p.Live, control.ListArgs{Recursive: true, Types: []string{control.TypeDestroyed}})
	b.More = max(0, len(b.Jobs)-maxJobs)
	b.Jobs = b.Jobs[:min(len(b.Jobs), maxJobs)]
	return b, err
}

// logBody is the end of the erase log, the newest record first.
type logBody struct {
	Records []control.EraseRecord
	Info    control.LogInfo
	More    int // records that are older than these
}

// maxRecords bounds the records of a page.
const maxRecords = 200

// logTime is how long a daemon may take for its erase log, which may be long.
const logTime = 20 * time.Second

func (s *Server) logPage(w http.ResponseWriter, r *http.Request, p Pool) {
	if p.Live == nil {
		s.refuse(w, r, http.StatusServiceUnavailable, errNoDaemon)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), logTime)
	defer cancel()
	b, err := shared(ctx, &s.answers, question{p.UUID, "log", ""}, func(ctx context.Context) (logBody, error) { return logBodyOf(ctx, p) })
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	s.render(w, r, http.StatusOK, "log", frame{Title: p.Name + ": erase log", Pool: &p, Tab: "log", Body: b})
}

// eventsBody is the end of the log of events, the newest first.
type eventsBody struct {
	Events []control.Event
	Info   control.EventsInfo
	More   int // that are older than these
}

func (s *Server) eventsPage(w http.ResponseWriter, r *http.Request, p Pool) {
	ctx, cancel := asking(r)
	defer cancel()
	b, err := s.eventsBody(ctx, p)
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, err)
		return
	}
	s.render(w, r, http.StatusOK, "events", frame{
		Title: p.Name + ": events", Pool: &p, Tab: "events", Live: "view=events&pool=" + p.UUID.String(), Body: b,
	})
}

func (s *Server) eventsBody(ctx context.Context, p Pool) (b eventsBody, err error) {
	if p.Live == nil {
		return b, errNoDaemon
	}
	return shared(ctx, &s.answers, question{p.UUID, "events", ""}, func(ctx context.Context) (eventsBody, error) {
		return eventsBodyOf(ctx, p)
	})
}

func eventsBodyOf(ctx context.Context, p Pool) (b eventsBody, err error) {
	b.Info, err = control.Events.Call(ctx, *p.Live, control.EventsArgs{}, func(some []control.Event) {
		b.Events = append(b.Events, some...)
	})
	if err != nil {
		return b, err
	}
	b.More = max(0, len(b.Events)-maxRecords)
	b.Events = b.Events[b.More:]
	slices.Reverse(b.Events)
	return b, nil
}

func logBodyOf(ctx context.Context, p Pool) (b logBody, err error) {
	n := 0
	b.Info, err = control.EraseRecs.Call(ctx, *p.Live, control.None{}, func(some []control.EraseRecord) {
		n += len(some)
		b.Records = append(b.Records, some...)
		if len(b.Records) > 2*maxRecords {
			b.Records = slices.Clone(b.Records[len(b.Records)-maxRecords:])
		}
	})
	b.Records = b.Records[max(0, len(b.Records)-maxRecords):]
	slices.Reverse(b.Records)
	b.More = n - len(b.Records)
	return b, err
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	s.render(w, r, http.StatusOK, "login", frame{Title: "Log in", Body: ""})
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	c, err := s.sessions.login(r.PostFormValue("token"), r.RemoteAddr)
	if err != nil {
		s.Log.Warn("a login was refused", "from", r.RemoteAddr, "why", err)
		status := http.StatusForbidden
		if errors.Is(err, errTooFast) {
			status = http.StatusTooManyRequests
		}
		s.render(w, r, status, "login", frame{Title: "Log in", Body: err.Error()})
		return
	}
	s.Log.Info("somebody logged in", "from", r.RemoteAddr)
	http.SetCookie(w, c)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if !s.sessions.of(r).honest(r) {
		s.refuse(w, r, http.StatusForbidden, errForm)
		return
	}
	http.SetCookie(w, s.sessions.logout(r))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// errForm is for a form that is not of this server, or of a session that has ended.
var errForm = fmt.Errorf("the form is not of this session, or that has ended: nothing was done; log in and try again")
