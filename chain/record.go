package chain

import (
	"fmt"
	"reflect"

	"slatefs/chain/codec"
)

// A record is one change of the pool. There is one way to change it: encode the record into the batch that waits
// for the next commit, and apply it to memory. Replay applies the same records in the same order to the state of
// the last checkpoint, so what is rebuilt is what was.
//
// A record starts with its kind; zero is none. Records carry everything that apply needs but the state itself:
// numbers of layers, jobs and walks that it makes are counted up by apply.
type record interface {
	encode(e *codec.Encoder)
	decode(d *codec.Decoder)
	apply(p *Pool) error
}

// cutter is a record that cuts or joins trees: of lists, of maps, or the tree of layers that hangs together by them. cuts tells
// whether it does this time; the structure lock is held then, for a checkpoint is built from what nobody cuts meanwhile.
type cutter interface{ cuts() bool }

func cutsTrees(r record) bool {
	c, ok := r.(cutter)
	return ok && c.cuts()
}

// recordOwner is a pool, as those see it who make records and do not know what they change.
type recordOwner interface {
	prepareRecord(r record) error // an error: the record must not be made, and nothing has changed
	applyRecord(r record) error   // an error: memory and journal differ
}

// kinds are all kinds of records, by the number that stands in the journal: its row of the table in docs/format.md. What a
// kind is, how it is coded and what it does stand side by side in record_*.go.
var kinds = [...]struct {
	name  string // in docs/format.md
	empty func() record
}{
	1:  {"claim", empty[recClaim]},
	2:  {"unclaim", empty[recUnclaim]},
	3:  {"map", empty[recMap]},
	4:  {"dirty, plain", empty[recDirtyPlain]},
	5:  {"erased, plain", empty[recErasedPlain]},
	6:  {"seal", empty[recSeal]},
	7:  {"grant", empty[recGrant]},
	8:  {"put", empty[recPut]},
	9:  {"head", empty[recHead]},
	10: {"freeze", empty[recFreeze]},
	11: {"rollback", empty[recRollback]},
	12: {"unname", empty[recUnname]},
	13: {"destroy", empty[recDestroy]},
	14: {"detach", empty[recDetach]},
	15: {"walk", empty[recWalk]},
	16: {"resize", empty[recResize]},
	17: {"rename", empty[recRename]},
	18: {"recover", empty[recRecover]},
	19: {"reap", empty[recReap]},
	20: {"answer", empty[recAnswer]},
	21: {"sweep", empty[recSweep]},
	22: {"job", empty[recJob]},
	23: {"home", empty[recHome]},
	24: {"forget", empty[recForget]},
	25: {"first", empty[recFirst]},
	26: {"revive", empty[recRevive]},
	32: {"extend", empty[recExtend]},
	33: {"reduce", empty[recReduce]},
	34: {"apart", empty[recApart]},
	35: {"dirty", empty[recDirty]},
	36: {"erased", empty[recErased]},
	40: {"begin", empty[recBegin]},
	41: {"ended", empty[recEnded]},
	42: {"copied", empty[recCopied]},
	43: {"closed", empty[recClosed]},
	37: {"day", empty[recDay]},
	38: {"cut", empty[recCut]},
	39: {"gone", empty[recGone]},
	44: {"signed", empty[recSigned]},
	45: {"shed", empty[recShed]},
	46: {"home, some", empty[recHomeSome]},
	47: {"holes", empty[recHoles]},
	48: {"event", empty[recEvent]},
	49: {"tag", empty[recTag]},
}

func empty[T any, R interface {
	*T
	record
}]() record {
	return R(new(T))
}

var numbers = numbersOf()

// numbersOf are the numbers of the kinds, by type. A type has one.
func numbersOf() map[reflect.Type]byte {
	out := map[reflect.Type]byte{}
	for n, k := range kinds {
		if k.empty == nil {
			continue
		}
		t := reflect.TypeOf(k.empty())
		if out[t] != 0 {
			panic(fmt.Sprintf("records of kinds %d and %d are one type", out[t], n))
		}
		out[t] = byte(n)
	}
	return out
}

// kindOf is the number of a record's kind.
func kindOf(r record) byte { return numbers[reflect.TypeOf(r)] }

// newRecord is an empty record of a kind; nil: there is no such kind.
func newRecord(kind byte) record {
	if int(kind) >= len(kinds) || kinds[kind].empty == nil {
		return nil
	}
	return kinds[kind].empty()
}

// fillsHole tells whether a record maps nothing but claimed blocks where there was a hole. Such blocks are zeros, durably, but for
// what its plan has written: they come from clean, and a plan that does not make its record leaves them dirty.
func fillsHole(r record) bool {
	h, ok := r.(interface{ fillsHole() bool })
	return ok && h.fillsHole()
}

// decodeRecords takes a batch apart.
func decodeRecords(b []byte, fn func(record) error) error {
	d := &codec.Decoder{B: b}
	for len(d.B) > 0 {
		k := d.Byte()
		r := newRecord(k)
		if r == nil {
			return fmt.Errorf("record kind %d: %w", k, ErrCorrupt)
		}
		r.decode(d)
		if d.Err != nil {
			return fmt.Errorf("record kind %d: %w", k, wrapCorrupt(d.Err))
		}
		if err := fn(r); err != nil {
			return fmt.Errorf("record kind %d: %w", k, err)
		}
	}
	return nil
}

// applyRecord makes a record true in memory, when it is made and when it is replayed.
func (p *Pool) applyRecord(r record) error {
	if invariants && p.space.ledger != nil { // accounts change by records only
		p.space.ledger.Seal(false)
		defer p.space.ledger.Seal(true)
	}
	return r.apply(p)
}
