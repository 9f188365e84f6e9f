package web

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// A map has so many cells, in rows.
const (
	mapColumns = 64
	mapRows    = 8
	cellSize   = 10 // pixels
)

// mapTime is how long a daemon may take for a map: nobody waits for it.
const mapTime = 30 * time.Second

// maps are the last maps of the pools, drawn anew while somebody looks at them.
type maps struct {
	mu  sync.Mutex
	all map[uuid.UUID]*spaceMap
}

// spaceMap is one of them.
type spaceMap struct {
	at    time.Time
	busy  bool
	cells []control.MapCell
}

// tile is a piece of a drawn map: neighbours in a row that look alike.
type tile struct {
	Class    string
	X, Y, Of int
}

// Width is that of a tile.
func (t tile) Width() int { return t.Of * cellSize }

// of is the last map of a pool, which is asked for another one if it is old. Nobody waits for that.
func (m *maps) of(l *host.Live, now time.Time) (tiles []tile, label string) {
	if l == nil {
		return nil, ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = map[uuid.UUID]*spaceMap{}
	}
	for id, old := range m.all {
		if !old.busy && now.Sub(old.at) > time.Hour {
			delete(m.all, id)
		}
	}
	one := m.all[l.UUID]
	if one == nil {
		one = &spaceMap{}
		m.all[l.UUID] = one
	}
	if !one.busy && now.Sub(one.at) >= refreshTime {
		one.busy = true
		go m.fetch(one, *l, now)
	}
	return tilesOf(one.cells), labelOf(one.cells)
}

// fetch asks a daemon for a map.
func (m *maps) fetch(one *spaceMap, l host.Live, now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), mapTime)
	defer cancel()
	cells, err := control.Map.Call(ctx, l, control.MapArgs{Cells: mapColumns * mapRows})
	m.mu.Lock()
	defer m.mu.Unlock()
	one.busy, one.at = false, now
	if err == nil {
		one.cells = cells
	}
}

// tilesOf draws cells. One shows what needs attention most: what failed, then what is to be erased; else what most of it is.
func tilesOf(cells []control.MapCell) (out []tile) {
	for i, c := range cells {
		x, y, class := i%mapColumns, i/mapColumns, classOf(c)
		if n := len(out); n > 0 && x > 0 && out[n-1].Class == class {
			out[n-1].Of++
			continue
		}
		out = append(out, tile{class, x * cellSize, y * cellSize, 1})
	}
	return out
}

func classOf(c control.MapCell) string {
	all := c.Clean + c.Claimed + c.Live + c.Meta + c.Dirty + c.Failed
	switch {
	case all == 0:
		return "none"
	case c.Failed > 0:
		return "failed"
	case c.Dirty > 0:
		return "dirty"
	case c.Meta > all/2:
		return "meta"
	case c.Live == 0:
		return "clean"
	}
	return fmt.Sprintf("live fill%d", (4*c.Live+all-1)/all) // quarters
}

// labelOf says in words what a map shows.
func labelOf(cells []control.MapCell) string {
	n := map[string]int{}
	for _, c := range cells {
		switch {
		case c.Failed > 0:
			n["failed"]++
		case c.Dirty > 0:
			n["dirty"]++
		case c.Live > 0:
			n["live"]++
		}
	}
	return fmt.Sprintf("of %d parts of the device %d are in use, %d have something to be erased, %d something that failed",
		len(cells), n["live"], n["dirty"], n["failed"])
}
