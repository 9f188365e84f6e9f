package control

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// Who may ask for what is this list: an operation that is not on it is the owner's.
func TestCircles(t *testing.T) {
	c := NewServer(slog.New(slog.DiscardHandler))
	take := func(name string, reads bool, who Circle) {
		c.add(name, operation{reads, who, func(context.Context, Peer, json.RawMessage, func(any) error) (any, error) { return "done", nil }})
	}
	took := 0
	for _, o := range []interface{ circle() (string, bool, Circle) }{
		Info, Map, Metrics,
		Umount, Reload, Create, Snapshot, Rollback, Clone, Tag, Holds, Destroy, Undestroy, Rename, Resize, List, Tree, Set, Get, Jobs, Drain,
		First, EraseRecs, Events, Prove, Certify, Check, Dump, DumpAll, Audit, Extend, Reduce,
	} {
		take(o.circle())
		took++
	}
	if took != len(shapes) {
		t.Errorf("%d of %d operations are tested", took, len(shapes))
	}
	readers := []string{"info", "map", "metrics", "list", "tree", "get", "jobs", "erase-records", "events", "holds"}
	operators := []string{
		"create", "snapshot", "rollback", "clone", "tag", "destroy", "undestroy", "rename", "resize", "set", "drain", "first",
	}
	for name, o := range c.ops {
		for _, as := range []Circle{Owner, Operators, Readers} {
			may := as == Owner || slices.Contains(readers, name) || as == Operators && slices.Contains(operators, name)
			r := c.perform(context.Background(), Peer{UID: 12345, Circle: as}, []byte(`{"op":"`+name+`","args":{}}`), func(any) error { return nil })
			if may != (r.Error == nil) ||
				r.Error != nil && (!errors.Is(r.Error.Err(), ErrPerm) || !strings.Contains(r.Error.Text, "user 12345 may")) {
				t.Errorf("%s as %d: %+v", name, as, r.Error)
			}
		}
		if slices.Contains(readers, name) && !o.reads {
			t.Errorf("%s is for readers, and changes something", name)
		}
	}
}

func (o Op[Args, Result]) circle() (string, bool, Circle) { return o.Name, o.Reads, o.For }

func (s Stream[Args, Event, Result]) circle() (string, bool, Circle) { return s.Name, s.Reads, s.For }
