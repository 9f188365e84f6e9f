package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
)

// TestChain draws a chain with two branches: parents first, a line of history in one column, the lines of others beside it.
func TestChain(t *testing.T) {
	tree := control.TreeInfo{}
	add := func(id, parent, owner string, head bool, children ...string) {
		tree.Layers = append(tree.Layers, control.Layer{ID: id, Parent: parent, Name: id, Head: head, Children: children})
		tree.Owners = append(tree.Owners, owner)
	}
	add("a", "", "v", false, "b", "x")
	add("b", "a", "v", false, "c")
	add("x", "a", "w", true)
	add("c", "b", "v", true)
	rows, more := chainOf(tree, 100)
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s %d %v %s", r.ID, r.Column, r.Lines, strings.Join(r.Paths(), " ")))
	}
	want := []string{"a 0 [] M9 16V32", "b 1 [0] M9 0V32 M9 0V16H27 M27 16V32", "c 1 [0] M9 0V32 M27 0V16", "x 1 [] M9 0V16H27"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || more != 0 {
		t.Errorf("%d more\n%s\nwant\n%s", more, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if rows, more := chainOf(tree, 3); len(rows) != 3 || more != 1 {
		t.Errorf("%d drawn, %d more", len(rows), more)
	}
}

// TestSpaceBar: the pieces fill the bar, each begins where the one before ends.
func TestSpaceBar(t *testing.T) {
	list, promised := spaceBar(control.Usage{
		Total: 100, Live: 50, Kept: 10, Dirty: 5, Failed: 1, Meta: 4, Clean: 30, Claimed: 10, Promised: 20,
	})
	x := 0.0
	for _, s := range list {
		if s.X != x {
			t.Errorf("%s begins at %v, not %v", s.Label, s.X, x)
		}
		x += s.Width
	}
	if x != 100 || promised.X+promised.Width != 100 || promised.Width != 20 {
		t.Errorf("it ends at %v; %+v", x, promised)
	}
	if list, _ := spaceBar(control.Usage{}); list != nil {
		t.Error(list)
	}
}

// TestTiles: what needs attention is seen, however little it is, and neighbours that look alike are one.
func TestTiles(t *testing.T) {
	cells := make([]control.MapCell, 2*mapColumns)
	for i := range cells {
		cells[i].Clean = 100
	}
	cells[3] = control.MapCell{Live: 99, Dirty: 1}
	cells[4] = control.MapCell{Live: 98, Dirty: 1, Failed: 1}
	cells[5] = control.MapCell{Live: 10, Clean: 90}
	var got []string
	for _, x := range tilesOf(cells) {
		got = append(got, fmt.Sprintf("%s %d,%d %d", x.Class, x.X, x.Y, x.Width()))
	}
	want := []string{"clean 0,0 30", "dirty 30,0 10", "failed 40,0 10", "live fill1 50,0 10", "clean 60,0 580", "clean 0,10 640"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestSamples: rates are differences, a daemon that began anew has none below zero, and an hour is kept.
func TestSamples(t *testing.T) {
	var h history
	now := time.Unix(1_700_000_000, 0)
	pool := func(bytes int64) Pool {
		took := control.Histogram{First: 1, Sum: float64(bytes) / 1000, Slots: []int64{bytes / 10}}
		return Pool{UUID: uuid.UUID{1}, Metrics: &control.PoolMetrics{
			Requests: []control.RequestMetrics{{Op: "write", Bytes: bytes, Took: took}},
		}}
	}
	h.add(pool(1000), now)
	h.add(pool(6000), now.Add(5*time.Second))
	h.add(Pool{UUID: uuid.UUID{1}}, now.Add(10*time.Second))
	h.add(pool(10), now.Add(15*time.Second))
	h.add(pool(60), now.Add(20*time.Second))
	h.add(pool(20), now.Add(25*time.Second))
	list := h.of(uuid.UUID{1})
	var got []string
	for _, s := range list {
		got = append(got, fmt.Sprintf("%v %v %v %.3g", s.there, s.values[writeRate], s.values[requestRate], s.values[writeWait]))
	}
	want := []string{"true 0 0 0", "true 1000 100 0.01", "false 0 0 0", "true 0 0 0", "true 10 1 0.01", "true 0 0 0"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
	if p := plotOf(list, writeRate, now.Add(25*time.Second)); len(p.Pieces) != 2 || p.Most != "1000B/s" {
		t.Errorf("%+v", p)
	}
	for i := range 2 * maxSamples {
		h.add(pool(int64(i)), now.Add(time.Duration(i)*sampleTime))
	}
	if n := len(h.of(uuid.UUID{1})); n > maxSamples+1 {
		t.Errorf("%d samples are kept", n)
	}
	h.add(Pool{UUID: uuid.UUID{2}}, now.Add(100*time.Hour))
	if h.of(uuid.UUID{1}) != nil {
		t.Error("a pool that is gone is kept for ever")
	}
}

// TestSessions: they end when they are not used, and the one that was not used for longest goes when there are too many.
func TestSessions(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := newSessions("a long enough token", func() time.Time { return now })
	login := func() *http.Request {
		t.Helper()
		now = now.Add(time.Second)
		c, err := l.login("a long enough token", "10.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(c)
		return r
	}
	first, second := login(), login()
	for range maxSessions - 1 {
		now = now.Add(time.Second)
		if l.of(second) == nil {
			t.Fatal("a session that is used has ended")
		}
		login()
	}
	if l.of(first) != nil || len(l.open) != maxSessions {
		t.Errorf("%d sessions", len(l.open))
	}
	now = now.Add(sessionIdle - time.Second)
	if l.of(second) == nil {
		t.Error("it ended too early")
	}
	now = now.Add(sessionIdle + time.Second)
	if l.of(second) != nil {
		t.Error("it did not end")
	}
	third := login()
	l.logout(third)
	if l.of(third) != nil {
		t.Error("it did not log out")
	}
	if _, err := newSessions("", time.Now).login("", ""); err == nil {
		t.Error("without a token everybody may log in")
	}
}

// TestHosts: which names are this server's.
func TestHosts(t *testing.T) {
	s := New(Options{Hosts: []string{"PVE1.example.org.", "10.1.2.3"}, Now: time.Now})
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8480": true, "LOCALHOST.": true, "127.0.0.1:1": true, "127.9.9.9": true, "[::1]:80": true, "::1": true,
		"pve1.example.org": true, "Pve1.Example.Org:443": true, "10.1.2.3:80": true,
		"": false, "evil.example": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false,
		"10.1.2.4": false, "example.org": false,
	} {
		if s.forUs(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
