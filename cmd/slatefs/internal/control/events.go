package control

import (
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
)

// The words for what happens to a pool, in its log of events. They stay. What PoolTroubles tells of is an event by its own word when it
// begins; docs/events.md has them all.
const (
	EventMounted     = "mounted"
	EventTakenOver   = "taken-over"
	EventReloaded    = "reloaded"
	EventUnmounted   = "unmounted"
	EventGrown       = "grown"
	EventShrunk      = "shrunk"
	EventErased      = "erased"
	EventLogCut      = "log-cut"
	EventRefused     = "space-refused"
	EventLowSpace    = "space-low"
	EventIOFailed    = "io-failed"
	EventDevice      = "device-error"
	EventTroubleOver = "trouble-over"
	EventAutosnap    = "autosnap"
	EventAutosnapNot = "autosnap-refused"
)

// EventKinds are all of them, but for the troubles.
var EventKinds = []string{
	EventMounted, EventTakenOver, EventReloaded, EventUnmounted, EventGrown, EventShrunk, EventErased, EventLogCut, EventRefused,
	EventLowSpace, EventIOFailed, EventDevice, EventTroubleOver, EventAutosnap, EventAutosnapNot,
}

type (
	// Event is something that happened to a pool. Several that are alike and came soon after each other are one, with a count; their
	// numbers are added up, and the text is the last one's.
	Event struct {
		ID       uint64        // in the pool's log; 0: the pool could not keep it, and who asks the daemon that saw it is told
		Time     time.Time     // of the first, UTC
		Last     time.Time     // of the last
		Count    int64         // how many
		Kind     string        // a word that stays
		Pool     string        // its name
		PoolUUID uuid.UUID     // and what it is on every host
		Object   string        // UUID of the volume or snapshot; empty: of the pool, or several
		Path     string        // of it, from the pool's root, as it was called then
		Text     string        // for people
		Numbers  []EventNumber // bytes, or what their name says
	}
	// EventNumber is a number of an event.
	EventNumber struct {
		Name  string
		Value int64
	}
	// EventsArgs ask for events from a number on. With Follow also for those that come.
	EventsArgs struct {
		From   uint64
		Follow bool
	}
	// EventsInfo is what is known of the log as a whole. First above 1: older ones have left it.
	EventsInfo struct {
		First, Last uint64
		Lost        int64  // since the mount, that could not even be remembered
		Trouble     string // why the pool keeps none; empty: it does
	}
)

// EventOf is an event of a pool's log.
func EventOf(pool string, id uuid.UUID, e *chain.Event) Event {
	out := Event{
		ID: e.ID, Time: e.Time.UTC(), Last: e.Last.UTC(), Count: max(e.Count, 1), Kind: e.Kind,
		Pool: pool, PoolUUID: id, Path: e.Path, Text: e.Text,
	}
	if e.Object != uuid.Nil {
		out.Object = e.Object.String()
	}
	for _, n := range e.Numbers {
		out.Numbers = append(out.Numbers, EventNumber(n))
	}
	return out
}

// PublicEvent is an event as -j and a hook have it.
type PublicEvent struct {
	ID       uint64           `json:"id,omitempty"` // none: the pool could not keep it
	Time     time.Time        `json:"time"`
	Last     *time.Time       `json:"last,omitempty"` // of several
	Count    int64            `json:"count"`
	Kind     string           `json:"kind"`
	Pool     string           `json:"pool"`
	PoolUUID uuid.UUID        `json:"pool_uuid"`
	Object   string           `json:"object,omitempty"`
	Path     string           `json:"path,omitempty"`
	Text     string           `json:"text"`
	Numbers  map[string]int64 `json:"numbers,omitempty"`
}

// Public is an event as others see it.
func (e Event) Public() PublicEvent {
	p := PublicEvent{
		ID: e.ID, Time: e.Time, Count: e.Count, Kind: e.Kind, Pool: e.Pool, PoolUUID: e.PoolUUID, Object: e.Object, Path: e.Path, Text: e.Text,
	}
	if e.Count > 1 {
		p.Last = &e.Last
	}
	for _, n := range e.Numbers {
		if p.Numbers == nil {
			p.Numbers = map[string]int64{}
		}
		p.Numbers[n.Name] = n.Value
	}
	return p
}
