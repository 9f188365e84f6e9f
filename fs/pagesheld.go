package fs

import (
	"sync"
	"time"

	"slatefs/chain"
)

// HeldPages is a snapshot without a name of which the kernel was told to give up the pages, and has not.
type HeldPages struct {
	Was   chain.SnapChange // what it was called last: Layer alone where nobody knows that any more
	Since time.Time        // when it was told first
	Err   error            // why it could not be told, the last time; nil: it was, and waits for a read of a page to end
	All   bool             // nothing that was freed since is erased; else only what this snapshot shows is not
	Kept  bool             // it is not told again: what the snapshot shows is kept until the mount ends
	More  int              // others, which are told at the same time, or after it
}

// pagesLate is how long the kernel may take before somebody is told; the first and longest pause before it is told again, where it could
// not be; and how often a close tries that.
const (
	pagesLate  = 10 * time.Second
	firstPause = 10 * time.Millisecond
	longPause  = time.Second
	closeTries = 5
)

// heldPages are the snapshots of which pages are being given up. The zero value has none.
type heldPages struct {
	mu  sync.Mutex // a leaf
	now map[*HeldPages]struct{}
}

func (h *heldPages) begin(was chain.SnapChange, all bool) *HeldPages {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		h.now = make(map[*HeldPages]struct{})
	}
	p := &HeldPages{Was: was, Since: time.Now(), All: all} //nolint:forbidigo // how long in fact, whatever clock the pool has
	h.now[p] = struct{}{}
	return p
}

// failed notes why the kernel could not be told, and whether that was the last try. It tells whether it was the first.
func (h *heldPages) failed(p *HeldPages, err error, last bool) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, p.Err, p.Kept = p.Err == nil, err, last
	return first
}

func (h *heldPages) end(p *HeldPages) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.now, p)
}

// nameOf is what a snapshot was called in its directory; empty: that is not known.
func nameOf(was chain.SnapChange) string {
	if was.Snap == "" {
		return ""
	}
	return was.File + "@" + was.Snap
}

// PagesHeld is the snapshot whose pages hold up most, of those the first that was told of; false: the kernel has given up all that it
// was told to.
func (f *FS) PagesHeld() (worst HeldPages, any bool) {
	waiting := f.pages.waiting()
	h := &f.held
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.now {
		if !any || p.All && !worst.All || p.All == worst.All && p.Since.Before(worst.Since) {
			worst, any = *p, true
		}
	}
	if any {
		worst.More = waiting + len(h.now) - 1
	}
	return worst, any
}

// giveUp tells the kernel to give up the pages of a snapshot, again and again while that fails, until stop is closed, or so many times
// if tries is not 0. It returns false if that never succeeded. What takes long, or fails, is a warning in the log, and its end another.
func (f *FS) giveUp(n notifier, was chain.SnapChange, all bool, tries int, stop <-chan struct{}) bool {
	p := f.held.begin(was, all)
	words := []any{"snapshot", nameOf(was), "layer", was.Layer, "holds_all", all}
	late := time.AfterFunc(f.pages.late, func() {
		f.log.Warn("fs: the kernel does not give up the pages of a snapshot that is destroyed; what was freed is not erased before", words...)
	})
	warned := false
	for pause := firstPause; ; pause = min(4*pause, longPause) {
		err := n.notifyNode(snapFileNode(was.Layer))
		if err == nil {
			break
		}
		tries--
		if f.held.failed(p, err, tries == 0) {
			warned = true
			f.log.Warn("fs: the kernel could not be told to give up the pages of a snapshot that is destroyed",
				append(words, "error", err)...)
		}
		if tries == 0 {
			late.Stop()
			return false // it stays among those that are held
		}
		select {
		case <-stop:
			late.Stop()
			return false
		case <-time.After(pause):
		}
	}
	f.held.end(p)
	if !late.Stop() || warned {
		f.log.Warn("fs: the kernel has given up the pages of the snapshot",
			append(words, "after", time.Since(p.Since).Round(time.Millisecond))...)
	}
	return true
}
