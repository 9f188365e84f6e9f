package chain

import (
	"fmt"

	"slatefs/chain/size"
)

// planBytes bounds what a write's records take in the journal: one for each of its runs, with what each of its blocks may
// have shown then, a job, the size, and one that gives up what could not be mapped.
func planBytes(runs, blocks int64) int64 { return 128 + 64*runs + 16*blocks }

// admit refuses a write for which there is no space, and finds out what it must wait for. When it needs nothing, the
// plan's blocks are held in the ledger and taken from what is available.
func (p *Pool) admit(v *Volume, pl *Plan, want int64) (Need, error) {
	h := v.head()
	if want == 0 && pl.end <= h.size {
		return Need{}, nil
	}
	c := credit{bytes: planBytes(want, pl.hi-pl.lo), pages: h.pagesFor(int64(len(pl.seen)+1)) - h.need}
	if !p.tryRoomFor(&pl.got, c) {
		return Need{kind: needRoom, room: c}, nil
	}
	pl.room = &pl.got
	need, err := p.admitSize(v, pl, want)
	if err != nil || !need.None() {
		p.giveBack(pl.room, 0)
		pl.room = nil
	}
	return need, err
}

// admitSize is admit for a write that has room for its records.
func (p *Pool) admitSize(v *Volume, pl *Plan, want int64) (Need, error) {
	h := v.head()
	if a := v.account; pl.end > h.size && (a.auto || a.kept) { // its promise grows with it, or the write is refused
		if need, err := p.admitted(p.tryResize(v, pl.end)); err != nil || !need.None() {
			return need, err
		}
		p.ledger.resize(a, max(a.size, blocksOf(pl.end)))
		need, err := p.admitBlocks(v, pl, want)
		if err != nil || !need.None() {
			p.headChanged(v.ino)
		}
		return need, err
	}
	return p.admitBlocks(v, pl, want)
}

func (p *Pool) admitBlocks(v *Volume, pl *Plan, want int64) (Need, error) {
	if want == 0 {
		return Need{}, nil
	}
	if want > p.format.window {
		return Need{}, fmt.Errorf("write of %d bytes, the window has %d: %w", pl.Len, p.format.window*BlockSize, ErrTooBig)
	}
	delta, refer := pl.adds(v.head())
	if need, err := p.hold(v, pl, want, delta, refer); err != nil || !need.None() {
		return need, err
	}
	if lack := p.pagesLack(); p.host.sparse && lack > 0 {
		p.letGo(v, pl)
		return Need{kind: needStore, blocks: lack}, nil
	}
	if p.blocks.WindowReady() < want {
		p.letGo(v, pl)
		return Need{kind: needBlocks, blocks: want}, nil
	}
	if p.blocks.WindowReady()-want < p.format.window/2 {
		p.signal(p.wake)
	}
	return Need{}, nil
}

// adds is by how much a write lets grow what the head owns and what it refers to. What it replaces of the head's own,
// because that must not be written in place yet, is freed by it.
func (pl *Plan) adds(h *layer) (delta, refer int64) {
	lb := pl.lo
	for _, q := range pl.seen {
		if !pl.mine(h, lb, q) {
			if delta += q.n; q.dev == 0 {
				refer += q.n
			} else if q.birth > h.floor() {
				delta -= q.n
			}
		}
		lb += q.n
	}
	return delta, refer
}

// hold charges a write to the ledger, or finds out why it cannot be: a promise that covers it always can.
func (p *Pool) hold(v *Volume, pl *Plan, want, delta, refer int64) (Need, error) {
	a, before := v.account, p.unpromised()
	err := p.underQuota(v, delta, refer)
	if err == nil {
		h := v.head()
		pl.named, pl.held, pl.heldRefer = want, delta, refer
		p.namedN += want
		p.ledger.hold(a, delta, refer)
		if p.unpromised() >= before || p.free() >= 0 {
			return Need{}, nil
		}
		pages := pl.room.pages
		p.letGo(v, pl)
		err = fmt.Errorf("%s: write of %d bytes: needs %s and %s for metadata, %s available: %w", p.pathOf(v.ino), pl.Len,
			size.Exact(want*BlockSize), size.Exact(pages*BlockSize), size.Exact(p.available(a, h.refer)*BlockSize), ErrNoSpace)
	}
	return p.orMore(err, delta < want, want+max(0, -p.free()))
}

// letGo undoes hold.
func (p *Pool) letGo(v *Volume, pl *Plan) {
	p.namedN -= pl.named
	p.ledger.hold(v.account, -pl.held, -pl.heldRefer)
	pl.named, pl.held, pl.heldRefer = 0, 0, 0
}

// underQuota refuses what a quota above the volume, or its own, does not allow.
func (p *Pool) underQuota(v *Volume, delta, refer int64) error {
	a := v.account
	if bound := a.refquota; refer > 0 && bound > 0 && v.head().refer+a.openRefer+refer > bound {
		return fmt.Errorf("%s: refers to %s of a refquota of %s: %w", p.pathOf(v.ino),
			size.Exact((v.head().refer+a.openRefer)*BlockSize), size.Exact(bound*BlockSize), ErrQuota)
	}
	grows := delta - max(0, a.refres-a.head) // of used, at most; at each level a promise may cover a part
	for ; a != nil && grows > 0; a = a.up {
		if a.quota > 0 && a.bounded()+grows > a.quota {
			return fmt.Errorf("%s: %s of a quota of %s are used: %w", p.nameOf(a.ino),
				size.Exact(a.bounded()*BlockSize), size.Exact(a.quota*BlockSize), ErrQuota)
		}
		grows -= max(0, a.reservation-a.used)
	}
	return nil
}
