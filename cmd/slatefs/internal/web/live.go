package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"slatefs/cmd/slatefs/internal/show"
)

// part is a piece of a page that changes by itself, as its template has it.
type part struct {
	ID   string `json:"id"`
	HTML string `json:"html"`
}

// listen tells a browser of what has changed on its page, by server-sent events: a part each, as it is now.
func (s *Server) listen(w http.ResponseWriter, r *http.Request) {
	select {
	case s.live <- struct{}{}:
		defer func() { <-s.live }()
	default:
		http.Error(w, "too many listen", http.StatusServiceUnavailable)
		return
	}
	flow := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	sent := map[string]string{}
	tick := time.NewTicker(refreshTime)
	defer tick.Stop()
	for {
		for _, p := range s.parts(r) {
			if sent[p.ID] == p.HTML {
				continue
			}
			sent[p.ID] = p.HTML
			line, err := json.Marshal(p)
			if err != nil {
				return
			}
			if err := flow.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", line); err != nil {
				return
			}
		}
		if err := flow.SetWriteDeadline(time.Now().Add(s.patience)); err != nil { // of the network: no clock of a test
			return
		}
		if _, err := fmt.Fprint(w, ": here\n\n"); err != nil || flow.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// parts are those of the page that a browser shows.
func (s *Server) parts(r *http.Request) (out []part) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	add := func(id string, body any) {
		var b bytes.Buffer
		if err := views.ExecuteTemplate(&b, id, body); err != nil {
			s.Log.Error("a part of a page was not made", "part", id, "err", err)
			return
		}
		out = append(out, part{id, b.String()})
	}
	view := r.FormValue("view")
	if view == "overview" {
		if body, err := s.overviewBody(ctx); err == nil {
			add("part-cards", body)
		}
		return out
	}
	p, ok := s.state.pool(ctx, r.FormValue("pool"))
	if !ok {
		return out
	}
	switch view {
	case "pool":
		b := s.poolBody(p)
		add("part-state", b.Card)
		add("part-map", b)
		add("part-plots", b)
	case "events":
		if b, err := s.eventsBody(ctx, p); err == nil {
			add("part-events", b)
		}
	case "erase":
		b, err := s.eraseBody(ctx, p)
		if err != nil {
			b.Trouble = show.ErrorText(err)
		}
		add("part-queue", b)
	}
	return out
}
