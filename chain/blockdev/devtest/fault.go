package devtest

import (
	"errors"
	"fmt"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

// ErrCrashed is the answer to every operation from a crash on.
var ErrCrashed = errors.New("the device has crashed")

// OpKind is what an operation does.
type OpKind uint8

// The operations, as hooks see them.
const (
	OpRead OpKind = iota + 1
	OpWrite
	OpWriteDsync
	OpZero
	OpSync
	OpGrow
)

// String is the word in error texts.
func (k OpKind) String() string {
	switch k {
	case OpRead:
		return "read"
	case OpWrite:
		return "write"
	case OpWriteDsync:
		return "write dsync"
	case OpZero:
		return "zero"
	case OpSync:
		return "sync"
	case OpGrow:
		return "grow"
	}
	return fmt.Sprintf("op(%d)", uint8(k))
}

// Watch is told, if it is not nil, of every operation of every disk, in the goroutine that asks for it. Set it before the first.
var Watch func(Op)

// Op is one operation on a Disk.
type Op struct {
	Kind   OpKind
	Off    int64           // bytes; the new size for OpGrow
	Len    int64           // bytes; 0 for OpSync and OpGrow
	N      int             // its number from 1 on, as Ops counts; for OpRead as Reads counts
	Method blockdev.Method // of OpZero, else 0
}

// String names the operation and its operands.
func (o Op) String() string {
	switch o.Kind {
	case OpSync:
		return "sync"
	case OpGrow:
		return fmt.Sprintf("grow: to %d bytes", o.Off)
	case OpRead, OpWrite, OpWriteDsync, OpZero:
	}
	return fmt.Sprintf("%s: %d bytes at %#x", o.Kind, o.Len, o.Off)
}

type hold struct {
	match func(Op) bool
	done  chan struct{}
}

// Ops is the number of operations but reads since the disk was made, failed and
// crashed ones included.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Reads is the number of reads since the disk was made.
func (d *Disk) Reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reads
}

// Fail makes hook decide about every operation, reads too: an error that it
// returns is the operation's, and nothing of it takes place. For OpSync and
// OpWriteDsync the error is final, as on a device. hook runs without a lock,
// concurrently, and may look at the disk. nil removes it.
func (d *Disk) Fail(hook func(Op) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = hook
}

// Hold holds every operation that match names until release, before it takes
// effect; release may be called more than once. match runs once per operation,
// without a lock, concurrently; it may tell the test that the operation came.
// What is held while the disk crashes never takes effect.
func (d *Disk) Hold(match func(Op) bool) (release func()) {
	h := &hold{match: match, done: make(chan struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holds[h] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if _, ok := d.holds[h]; ok {
			delete(d.holds, h)
			close(h.done)
		}
	}
}

// CrashAt makes the k-th operation but reads from now (1 is the next) and all
// later operations answer ErrCrashed. Of the k-th, Crash leaves any part. 0
// takes the plan back.
func (d *Disk) CrashAt(k int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.crashAt = 0
	if k > 0 {
		d.crashAt = d.ops + k
	}
}

// Crashed tells whether the disk has crashed.
func (d *Disk) Crashed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crashed
}

// do counts op, asks the hooks, and runs apply under mu. n is op.Len or 0.
func (d *Disk) do(op Op, apply func()) (n int, err error) {
	if Watch != nil {
		Watch(op)
	}
	crashing, err := d.begin(&op)
	if err == nil && !crashing {
		err = d.ask(op)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && d.crashed && !crashing {
		err = ErrCrashed // while it was held
	}
	if err == nil && op.Kind != OpRead {
		err = d.failed // another operation failed while this one was held
	}
	if err == nil {
		err = d.back(op)
	}
	if err == nil {
		apply()
		if crashing {
			d.torn = blockdev.Extent{Off: op.Off, Len: op.Len}
			err = ErrCrashed
		}
	}
	if err != nil {
		return 0, fmt.Errorf("devtest: %s: %w", op, err)
	}
	return int(op.Len), nil
}

// begin numbers op and makes the checks that a device makes. crashing: it is the
// operation in which the disk crashes.
func (d *Disk) begin(op *Op) (crashing bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if op.Kind == OpRead {
		d.reads++
		op.N = d.reads
	} else {
		d.ops++
		op.N = d.ops
	}
	switch {
	case d.crashed:
		return false, ErrCrashed
	case op.Kind != OpRead && d.failed != nil:
		return false, d.failed
	case op.Kind == OpGrow && op.Off < d.size:
		return false, fmt.Errorf("%w: it has %d bytes", blockdev.ErrTooSmall, d.size)
	case op.Kind == OpGrow:
		err = blockdev.CheckRange(op.Off, 0, op.Off, d.sectorSize)
	default:
		err = blockdev.CheckRange(op.Off, op.Len, d.size, d.sectorSize)
	}
	if err != nil {
		return false, err
	}
	if op.Kind != OpRead && d.crashAt > 0 && op.N >= d.crashAt {
		d.crashed, crashing = true, true
	}
	return crashing, nil
}

// ask puts op before the hooks: it waits for the holds and returns the error
// that Fail's hook wants.
func (d *Disk) ask(op Op) error {
	d.mu.Lock()
	fail := d.fail
	holds := make([]*hold, 0, len(d.holds))
	for h := range d.holds {
		holds = append(holds, h)
	}
	d.mu.Unlock()
	for _, h := range holds {
		if h.match(op) {
			<-h.done
		}
	}
	if fail == nil {
		return nil
	}
	err := fault.Mark(fault.Transient, fail(op))
	if err != nil && (op.Kind == OpSync || op.Kind == OpWriteDsync) {
		err = fault.Mark(fault.Pool, fmt.Errorf("%w: %w", blockdev.ErrSyncFailed, err))
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.failed == nil {
			d.failed = err
		}
	}
	return err
}
