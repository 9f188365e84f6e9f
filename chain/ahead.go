package chain

import (
	"fmt"

	"slatefs/chain/ledger"
	"slatefs/chain/size"
)

// ahead is what a freeze of many volumes promises before its instant, one after another: then the instant has to look at what is
// free, and at nothing that grows with them. What is written meanwhile takes nothing of what the new heads are promised. Who is
// refused for that waits for the end, and is judged by what came of it: a freeze that is refused leaves no trace.
//
// Who freezes holds the structure lock from the first promise on: nobody sets a property, moves or destroys meanwhile.
type ahead struct {
	sp       *admission
	forecast Forecast // Need and Meta: of the promises so far
	accounts []*ledger.Account
	written  int64   // blocks, of their heads
	bounds   []bound // of the quotas above them, each once
	known    map[*ledger.Account]bool
	over     chan struct{}
}

// bound is what was used of a quota before the first promise below it.
type bound struct {
	of  *ledger.Account
	was int64
}

// beginAhead lets those wait who are refused. Nobody else does the same: the structure lock is held.
func (sp *admission) beginAhead() *ahead {
	sp.structure.assertHeld()
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.ahead = &ahead{sp: sp, known: map[*ledger.Account]bool{}, over: make(chan struct{})}
	return sp.ahead
}

// promise promises a volume its next head. The plan lock is held.
func (h *ahead) promise(a *ledger.Account) {
	sp := h.sp
	for o := a; o != nil; o = o.Up() {
		sp.mu.step(1)
		if o.Numbers().Quota > 0 && !h.known[o] {
			h.known[o] = true
			h.bounds = append(h.bounds, bound{o, sp.ledger.Bounded(o)})
		}
	}
	n := a.Numbers()
	h.written += n.Head
	h.forecast.Why = whyFreeze(n)
	s := sp.supply()
	free, lacks := sp.ledger.Free(s), sp.ledger.PagesLacking(s)
	sp.ledger.Ahead(a, true)
	h.accounts = append(h.accounts, a)
	h.forecast.Need += (free - sp.ledger.Free(s)) * BlockSize
	h.forecast.Meta += (sp.ledger.PagesLacking(s) - lacks) * BlockSize
}

// name says what the promises are for, in messages.
func (h *ahead) name(what string) {
	h.forecast.What = what
	if len(h.accounts) > 1 {
		h.forecast.Why = fmt.Sprintf("of each the smaller one of what is written, %s in all, and its refreservation",
			size.Exact(h.written*BlockSize))
	}
}

// judgeQuotas refuses what lets a quota be exceeded by more than before. It takes the plan lock for each.
func (h *ahead) judgeQuotas() error {
	for _, b := range h.bounds {
		if err := h.sp.commits.underPlan(func() error { return h.judgeQuota(b) }); err != nil {
			return err
		}
	}
	return nil
}

func (h *ahead) judgeQuota(b bound) error {
	now, quota := h.sp.ledger.Bounded(b.of), b.of.Numbers().Quota
	if now <= quota || now <= b.was {
		return nil
	}
	return h.sp.tellRefusal(&h.forecast, ledger.Refusal{Lacks: ledger.LackQuota, At: b.of, Need: now - b.was, Used: b.was, Bound: quota})
}

// judge says what the promises take, and refuses them where there is less. The plan lock is held.
func (h *ahead) judge() Forecast {
	f, free := h.forecast, h.sp.free()*BlockSize
	if f.Avail = max(0, free+f.Need); f.Need > 0 && free < 0 {
		f.Err = f.refuse()
	}
	return f
}

// end lets those go on who wait. The plan lock is held.
func (h *ahead) end() {
	close(h.over)
	h.sp.ahead = nil
}

// takeBack ends it as if there had been none. It takes the plan lock, in pieces.
func (h *ahead) takeBack() {
	h.sp.tree.inPieces(func() bool {
		if len(h.accounts) == 0 {
			h.end()
			return false
		}
		h.sp.ledger.Ahead(h.accounts[0], false)
		h.accounts = h.accounts[1:]
		return true
	})
}
