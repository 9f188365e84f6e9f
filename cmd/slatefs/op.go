package main

import (
	"context"
	"encoding/json"
	"fmt"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
)

// op is an operation of the control protocol: what it is called on the wire, and the types of its arguments and its result. A
// command calls it, and the daemon handles it, so that the two cannot mean different types by one name.
type op[Args, Result any] struct {
	name  string
	reads bool // it changes nothing: a pool that is mounted for reading has it, too
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
	opCheck    = op[none, *chain.CheckReport]{name: "check", reads: true}
	opDump     = op[none, string]{name: "dump", reads: true}
	opAudit    = op[none, auditInfo]{name: "audit", reads: true}
	opAuditAt  = op[none, [2]int64]{name: "audit-at", reads: true} // bytes done, and in all
	opExtend   = op[extendArgs, poolSize]{name: "extend"}
	opReduce   = op[reduceArgs, poolSize]{name: "reduce"}
)

// operation answers one request: args is JSON, and so is the result.
type operation struct {
	reads  bool
	answer func(ctx context.Context, who peer, args json.RawMessage) (any, error)
}

// operations are what a daemon answers, by name.
type operations map[string]operation

// handle makes fn the answer to an operation. An operation that has one already is a bug.
func handle[Args, Result any](ops operations, o op[Args, Result], fn func(context.Context, peer, Args) (Result, error)) {
	if _, ok := ops[o.name]; ok {
		panic(fmt.Sprintf("control: operation %q has two handlers", o.name))
	}
	ops[o.name] = operation{o.reads, func(ctx context.Context, who peer, raw json.RawMessage) (any, error) {
		var args Args
		if err := show.Decode(raw, &args); err != nil {
			return nil, otherVersion(fmt.Errorf("the daemon (slatefs %s) does not understand the arguments: %w", version(), err))
		}
		return fn(ctx, who, args)
	}}
}

// onlyReading refuses with err all that does not only read.
func (ops operations) onlyReading(err error) {
	for name, o := range ops {
		if !o.reads {
			ops[name] = operation{answer: func(context.Context, peer, json.RawMessage) (any, error) { return nil, err }}
		}
	}
}

// call asks the daemon of a pool for the operation and waits for its end, or ctx's.
func (o op[Args, Result]) call(ctx context.Context, l live, args Args) (res Result, err error) {
	raw, err := show.Encode(args)
	if err != nil {
		return res, err
	}
	r, err := exchange(ctx, l.Socket, request{o.name, raw, actorOf(ctx)})
	if err != nil {
		return res, notAnswered(ctx, l, o.name, err)
	}
	if r.Error != nil {
		return res, r.Error.err()
	}
	return res, show.Decode(r.Result, &res)
}
