package main

import (
	"context"
	"encoding/json"
	"fmt"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// op is an operation of the control protocol: what it is called on the wire, and the types of its arguments and its result. A
// command calls it, and the daemon handles it, so that the two cannot mean different types by one name.
type op[Args, Result any] struct {
	name  string
	reads bool // it changes nothing: a pool that is mounted for reading has it, too
}

// stream is an operation that takes its time, and tells events before its result.
type stream[Args, Event, Result any] struct {
	name  string
	reads bool
}

// The operations.
var (
	opInfo     = op[none, poolInfo]{name: "info", reads: true}
	opUmount   = op[umountArgs, umountResult]{name: "umount", reads: true} // of the pool nothing
	opCreate   = op[createArgs, []string]{name: "create"}                  // forecasts
	opSnapshot = op[snapshotArgs, []string]{name: "snapshot"}              // forecasts
	opRollback = op[rollbackArgs, []string]{name: "rollback"}              // forecasts
	opClone    = op[cloneArgs, none]{name: "clone"}
	opDestroy  = op[destroyArgs, destroyResult]{name: "destroy"}
	opUndo     = op[undoArgs, string]{name: "undestroy"} // the path
	opRename   = op[renameArgs, none]{name: "rename"}
	opResize   = op[resizeArgs, []string]{name: "resize"} // forecasts
	opList     = op[listArgs, []row]{name: "list", reads: true}
	opTree     = op[object, []treeInfo]{name: "tree", reads: true}
	opSetProps = op[setArgs, []string]{name: "set"} // forecasts
	opGetProps = op[getArgs, []propValue]{name: "get", reads: true}
	opJobs     = op[none, eraseInfo]{name: "jobs", reads: true}
	opDrain    = op[none, none]{name: "drain"}
	opFirst    = op[firstArgs, none]{name: "first"}
	opEraseLog = op[none, []eraseRecord]{name: "erase-log", reads: true}
	opCheck    = op[none, checkReport]{name: "check", reads: true}
	opDump     = op[none, string]{name: "dump", reads: true}
	opAudit    = stream[none, progressInfo, auditInfo]{name: "audit", reads: true}
	opExtend   = op[extendArgs, poolSize]{name: "extend"}
	opReduce   = op[reduceArgs, poolSize]{name: "reduce"}
)

// progressInfo is how far an operation is, in bytes.
type progressInfo struct{ Done, Total int64 }

// handle makes fn the answer to an operation. An operation that has one already is a bug.
func handle[Args, Result any](c *controlServer, o op[Args, Result], fn func(context.Context, peer, Args) (Result, error)) {
	c.add(o.name, operation{o.reads, func(ctx context.Context, who peer, raw json.RawMessage, _ func(any) error) (any, error) {
		args, err := argumentsOf[Args](raw)
		if err != nil {
			return nil, err
		}
		return fn(ctx, who, args)
	}})
}

// handleStream makes fn the answer to a stream. The error of tell is for fn to return: nobody is there who would hear more.
func handleStream[Args, Event, Result any](c *controlServer, s stream[Args, Event, Result],
	fn func(ctx context.Context, who peer, args Args, tell func(Event) error) (Result, error),
) {
	c.add(s.name, operation{s.reads, func(ctx context.Context, who peer, raw json.RawMessage, tell func(any) error) (any, error) {
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
		return args, otherVersion(fmt.Errorf("the daemon (slatefs %s) does not understand the arguments: %w", version(), err))
	}
	return args, nil
}

// call asks the daemon of a pool for the operation and waits for its end, or ctx's.
func (o op[Args, Result]) call(ctx context.Context, l host.Live, args Args) (res Result, err error) {
	err = ask(ctx, l, o.name, args, func(json.RawMessage) error { return nil }, &res)
	return res, err
}

// call asks the daemon of a pool for the stream and calls each for its events, until the result is there or ctx ends.
func (s stream[Args, Event, Result]) call(ctx context.Context, l host.Live, args Args, each func(Event)) (res Result, err error) {
	err = ask(ctx, l, s.name, args, func(raw json.RawMessage) error {
		var e Event
		err := show.Decode(raw, &e)
		if err == nil {
			each(e)
		}
		return err
	}, &res)
	return res, err
}
