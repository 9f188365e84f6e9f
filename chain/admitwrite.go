package chain

import (
	"fmt"

	"slatefs/chain/ledger"
	"slatefs/chain/overlay"
	"slatefs/chain/size"
)

// planBytes bounds what a write's records take in the journal: one for each of its runs, with what each of its blocks may
// have shown then, and one more for each pieceLen/4 of those; a job, the size, and one that gives up what could not be mapped.
func planBytes(runs, blocks int64) int64 { return 128 + 64*runs + 22*blocks }

// admit refuses a write for which there is no space, and finds out what it must wait for. When it needs nothing, the
// plan's blocks are held in the ledger and taken from what is available.
func (sp *admission) admit(v *Volume, pl *Plan, want int64) (Need, error) {
	h := sp.tree.head(v.ino)
	if want == 0 && pl.end <= h.size {
		return Need{}, nil
	}
	c := credit{bytes: planBytes(want, pl.hi-pl.lo), pages: h.pagesFor(int64(len(pl.seen)+1)) - h.need}
	if !sp.commits.tryRoomFor(&pl.got, c) {
		return Need{&obstacle{kind: needRoom, room: c}}, nil
	}
	pl.room = &pl.got
	sp.memory.fit()
	if sp.memory.wants() {
		sp.signal(sp.wake)
	}
	need, err := sp.admitSize(v, pl, want)
	if err != nil || !need.None() {
		sp.commits.giveBack(pl.room, 0)
		pl.room = nil
	}
	return need, err
}

// admitSize is admit for a write that has room for its records.
func (sp *admission) admitSize(v *Volume, pl *Plan, want int64) (Need, error) {
	h := sp.tree.head(v.ino)
	if a := v.account; pl.end > h.size && a.Grows() { // its promise grows with it, or the write is refused
		if _, r := sp.ledger.Try(sp.supply(), sp.resizing(a, pl.end)); !r.OK() {
			if need, err := sp.admitted(sp.tryResize(v, pl.end)); err != nil || !need.None() {
				return need, err
			}
		}
		sp.ledger.Reach(a, max(a.Size(), blocksOf(pl.end)))
		need, err := sp.admitBlocks(v, pl, want)
		if err != nil || !need.None() {
			sp.reachChanged(v.ino)
		}
		return need, err
	}
	return sp.admitBlocks(v, pl, want)
}

func (sp *admission) admitBlocks(v *Volume, pl *Plan, want int64) (Need, error) {
	if want == 0 {
		return Need{}, nil
	}
	if want > sp.format.Window {
		return Need{}, fmt.Errorf("write of %d bytes, the window has %d: %w", pl.Len, sp.format.Window*BlockSize, ErrTooBig)
	}
	delta, refer := pl.adds(sp.tree.head(v.ino))
	if need, err := sp.hold(v, pl, want, delta, refer); err != nil || !need.None() {
		return need, err
	}
	if lack := sp.pagesLack(); sp.blocks.onHost.sparse && lack > 0 {
		sp.letGo(v, pl)
		return Need{&obstacle{kind: needStore, blocks: lack}}, nil
	}
	if sp.blocks.alloc.WindowReady() < want {
		sp.letGo(v, pl)
		return Need{&obstacle{kind: needBlocks, blocks: want}}, nil
	}
	if sp.blocks.alloc.WindowReady()-want < sp.format.Window/2 {
		sp.signal(sp.wake)
	}
	return Need{}, nil
}

// adds is by how much a write lets grow what the head owns and what it refers to. What it replaces of the head's own,
// because that must not be written in place yet, is freed by it.
func (pl *Plan) adds(h *layer) (delta, refer int64) {
	lb := pl.lo
	for _, q := range pl.seen {
		if !pl.mine(h, lb, q) {
			if delta += q.Len; q.Dev == 0 {
				refer += q.Len
			} else if q.Birth > h.floor() {
				delta -= q.Len
			}
		}
		lb += q.Len
	}
	return delta, refer
}

// hold charges a write to the ledger, or finds out why it cannot be: a promise that covers it always can.
func (sp *admission) hold(v *Volume, pl *Plan, want, delta, refer int64) (Need, error) {
	r := sp.ledger.Admit(v.account, sp.supply(), ledger.Write{Blocks: want, Adds: delta, Refers: refer, Refer: sp.tree.head(v.ino).refer})
	if !r.OK() {
		return sp.orMore(sp.writeRefused(v, pl, r), delta < want, want+max(0, -sp.free()))
	}
	pl.named, pl.held, pl.heldRefer = want, delta, refer
	sp.namedN += want
	return Need{}, nil
}

// writeRefused tells why a write is refused.
func (sp *admission) writeRefused(v *Volume, pl *Plan, r ledger.Refusal) error {
	used, bound := size.Exact(r.Used*BlockSize), size.Exact(r.Bound*BlockSize)
	switch r.Lacks {
	case ledger.LackRefquota:
		return fmt.Errorf("%s: refers to %s of a refquota of %s: %w", sp.names.pathOf(v.ino), used, bound, ErrQuota)
	case ledger.LackQuota:
		return fmt.Errorf("%s: %s of a quota of %s are used: %w", sp.names.nameOf(Ino(r.At.ID())), used, bound, ErrQuota)
	case ledger.LackNothing, ledger.LackSpace, ledger.LackWords, ledger.LackSense: // a write lacks space, if no quota refuses it
	}
	return fmt.Errorf("%s: write of %d bytes: needs %s and %s for metadata, %s available: %w", sp.names.pathOf(v.ino), pl.Len,
		size.Exact(r.Need*BlockSize), size.Exact(pl.room.pages*BlockSize), used, ErrNoSpace)
}

// letGo undoes hold.
func (sp *admission) letGo(v *Volume, pl *Plan) {
	sp.namedN -= pl.named
	sp.ledger.Hold(v.account, -pl.held, -pl.heldRefer)
	pl.named, pl.held, pl.heldRefer = 0, 0, 0
}

// mine tells whether a piece at lb is written in place.
func (pl *Plan) mine(h *layer, lb int64, q overlay.Piece) bool {
	return q.Dev != 0 && lb < pl.eof && pl.p.tree.private(h, q.Birth)
}
