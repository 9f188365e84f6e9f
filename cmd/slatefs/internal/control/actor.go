package control

import (
	"context"
	"fmt"
	"strings"
	"unicode"
)

// The actor is whom a command acts for, where that is not the user who runs it: a management system's user. It goes to
// the daemon with each request, and from there into the erase log.

type actorKey struct{}

// WithActor makes ctx one of what is done for somebody; empty: for nobody else.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

func actorOf(ctx context.Context) string {
	s, _ := ctx.Value(actorKey{}).(string)
	return s
}

// maxActor bounds an actor, in bytes.
const maxActor = 128

// cleanActor makes what a client calls itself fit for a line of a log.
func cleanActor(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == ',' { // a comma divides who did it from what with
			return '_'
		}
		return r
	}, s)
	return strings.ToValidUTF8(s[:min(len(s), maxActor)], "")
}

// String says who asked, for the log.
func (who Peer) String() string {
	s := fmt.Sprintf("uid %d, process %d", who.UID, who.PID)
	if who.Actor != "" {
		s += ", " + who.Actor
	}
	return s
}
