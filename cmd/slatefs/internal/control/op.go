package control

import (
	"context"
	"encoding/json"
	"fmt"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// Op is an operation of the control protocol: what it is called on the wire, and the types of its arguments and its result. A
// command calls it, and the daemon handles it, so that the two cannot mean different types by one name.
type Op[Args, Result any] struct {
	Name  string
	Reads bool // it changes nothing: a pool that is mounted for reading has it, too
	For   Circle
}

// Stream is an operation that takes its time, and tells events before its result.
type Stream[Args, Event, Result any] struct {
	Name  string
	Reads bool
	For   Circle
}

// Handle makes fn the answer to an operation. An operation that has one already is a bug.
func Handle[Args, Result any](c *Server, o Op[Args, Result], fn func(context.Context, Peer, Args) (Result, error)) {
	c.add(o.Name, operation{o.Reads, o.For, func(ctx context.Context, who Peer, raw json.RawMessage, _ func(any) error) (any, error) {
		args, err := argumentsOf[Args](raw)
		if err != nil {
			return nil, err
		}
		return fn(ctx, who, args)
	}})
}

// HandleStream makes fn the answer to a stream. The error of tell is for fn to return: nobody is there who would hear more.
func HandleStream[Args, Event, Result any](c *Server, s Stream[Args, Event, Result],
	fn func(ctx context.Context, who Peer, args Args, tell func(Event) error) (Result, error),
) {
	c.add(s.Name, operation{s.Reads, s.For, func(ctx context.Context, who Peer, raw json.RawMessage, tell func(any) error) (any, error) {
		args, err := argumentsOf[Args](raw)
		if err != nil {
			return nil, err
		}
		return fn(ctx, who, args, func(e Event) error { return tell(e) })
	}})
}

// argumentsOf reads what an operation is asked with.
func argumentsOf[Args any](raw json.RawMessage) (args Args, err error) {
	if err := show.Decode(raw, &args); err != nil {
		return args, otherVersion(fmt.Errorf("the daemon (slatefs %s) does not understand the arguments: %w", Version(), err))
	}
	return args, nil
}

// Call asks the daemon of a pool for the operation and waits for its end, or ctx's.
func (o Op[Args, Result]) Call(ctx context.Context, l host.Live, args Args) (res Result, err error) {
	err = ask(ctx, l, o.Name, args, func(json.RawMessage) error { return nil }, &res)
	return res, err
}

// Call asks the daemon of a pool for the stream and calls each for its events, until the result is there or ctx ends.
func (s Stream[Args, Event, Result]) Call(ctx context.Context, l host.Live, args Args, each func(Event)) (res Result, err error) {
	err = ask(ctx, l, s.Name, args, func(raw json.RawMessage) error {
		var e Event
		err := show.Decode(raw, &e)
		if err == nil {
			each(e)
		}
		return err
	}, &res)
	return res, err
}
