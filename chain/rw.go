package chain

import (
	"context"
	"fmt"
	"io"
	"sync"

	"slatefs/chain/blockdev"
)

// The synchronous way to carry plans out: for the classic transport, copies and tests. The event loop is the other.

// maxIO bounds one plan of these helpers, in bytes; longer requests are taken in pieces.
const maxIO = 1 << 20

var buffers = sync.Pool{New: func() any {
	b := blockdev.Aligned(maxIO + 2*BlockSize)
	return &b
}}

// until plans and fulfils until the plan is made. A page that cannot be read is believed at the second failure: a
// checkpoint may have replaced it meanwhile.
func (vs *openVolumes) until(plan func() (Need, error)) error {
	var last Need
	for {
		need, err := plan()
		if err != nil || need.None() {
			return err
		}
		if err := vs.works.fulfil(context.Background(), need); err != nil {
			if !need.is(needPage) || need.same(last) {
				return err
			}
		}
		last = need
	}
}

// underPlan is until under the plan lock: what fn misses is fetched without it, and fn is called again. It makes no record before
// it has looked up all that it needs.
func (vs *openVolumes) underPlan(fn func() (Need, error)) error {
	var er *errand
	return vs.until(func() (need Need, err error) {
		vs.mu.Lock()
		defer vs.mu.Unlock()
		vs.commits.beginCold(er)
		vs.commits.keepPages()
		need, err = fn()
		if missed := vs.commits.endCold(); missed != nil {
			er = missed
			return need.fetching(er), nil
		}
		return need, err
	})
}

// ReadAt reads len(b) bytes at off, or up to the end and then io.EOF.
func (v *Volume) ReadAt(b []byte, off int64) (int, error) { return v.p.readAt(v.PlanRead, b, off) }

// ReadAt reads len(b) bytes at off, or up to the end and then io.EOF.
func (s *Snap) ReadAt(b []byte, off int64) (int, error) { return s.p.readAt(s.PlanRead, b, off) }

func (vs *openVolumes) readAt(plan func(*Plan, int64, int64) (Need, error), b []byte, off int64) (int, error) {
	pl := Plan{Lane: anyLane()}
	for n := 0; n < len(b); {
		want := min(len(b)-n, maxIO)
		err := vs.until(func() (Need, error) { return plan(&pl, off+int64(n), int64(want)) })
		if err != nil {
			return n, err
		}
		got, err := vs.readSpans(&pl, b[n:n+want])
		if err != nil {
			pl.Abort()
			return n + got, err
		}
		short := pl.Len < int64(want)
		n += int(pl.Len)
		if err := pl.Commit(pl.Len); err != nil {
			return n, err
		}
		if short {
			return n, io.EOF
		}
	}
	return len(b), nil
}

func (vs *openVolumes) readSpans(pl *Plan, b []byte) (int, error) {
	at := int64(0)
	for _, s := range pl.Spans {
		if err := vs.readSpan(s, b[at:at+s.Len]); err != nil {
			return int(at), err
		}
		at += s.Len
	}
	return int(at), nil
}

// readSpan reads one span; what is not a whole number of sectors goes through a buffer.
func (vs *openVolumes) readSpan(s Span, b []byte) error {
	if s.Dev < 0 {
		clear(b)
		return nil
	}
	sector := int64(vs.dev.SectorSize())
	if s.Dev%sector == 0 && s.Len%sector == 0 {
		_, err := vs.dev.ReadAt(b, s.Dev)
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	from := s.Dev / sector * sector
	to := (s.Dev + s.Len + sector - 1) / sector * sector
	if _, err := vs.dev.ReadAt((*buf)[:to-from], from); err != nil {
		return err
	}
	copy(b, (*buf)[s.Dev-from:])
	return nil
}

// WriteAt writes b at off, and extends the volume where it ends after it. The write is acknowledged when it returns,
// and durable after the next Flush. Whole blocks of zeros over a hole allocate nothing.
func (v *Volume) WriteAt(b []byte, off int64) (int, error) { return v.writeAt(nil, b, off, false) }

// WriteAtSync is WriteAt, durable when it returns.
func (v *Volume) WriteAtSync(b []byte, off int64) (int, error) { return v.writeAt(nil, b, off, true) }

func (v *Volume) writeAt(fence *Plan, b []byte, off int64, stable bool) (int, error) {
	flush := false
	for n := 0; n < len(b); {
		part, zero := nextPart(b[n:min(len(b), n+v.p.largestWrite())], off+int64(n))
		var dirty bool
		var err error
		if zero {
			dirty, err = true, v.writeZeros(fence, off+int64(n), int64(len(part)))
		} else {
			dirty, err = v.writeWithin(fence, part, off+int64(n), stable)
		}
		if err != nil {
			v.p.space.refused(err, blocksOf(int64(len(part))))
			return n, err
		}
		flush = flush || dirty
		n += len(part)
	}
	if stable && flush {
		return len(b), v.p.commits.flush()
	}
	return len(b), nil
}

// largestWrite is what one plan may write, in bytes: it must find its blocks in the window.
func (vs *openVolumes) largestWrite() int { return int(min(maxIO, vs.format.Window*BlockSize/2)) }

// nextPart takes the next piece of at most maxIO: as many whole blocks of zeros as there are, or what comes before
// the next run of them that is worth it.
func nextPart(b []byte, off int64) (part []byte, zero bool) {
	limit := min(len(b), maxIO)
	head := int(-off & (BlockSize - 1))
	if head == 0 {
		n := zeroBlocks(b[:limit])
		if n > 0 {
			return b[:n], true
		}
	}
	const worth = 16 * BlockSize
	for i := head; i+worth <= limit; i += BlockSize {
		if i > 0 && zeroBlocks(b[i:min(limit, i+worth)]) == worth {
			return b[:i], false
		}
	}
	return b[:limit], false
}

func zeroBlocks(b []byte) (n int) {
	for n+BlockSize <= len(b) && allZero(b[n:n+BlockSize]) {
		n += BlockSize
	}
	return n
}

var zeroBlock [BlockSize]byte

func allZero(b []byte) bool { return b[0] == 0 && string(b) == string(zeroBlock[:len(b)]) }

// writeWithin writes one piece, within a fence unless that is nil. dirty: it needs a flush to be durable.
func (v *Volume) writeWithin(fence *Plan, b []byte, off int64, stable bool) (dirty bool, err error) {
	pl := Plan{within: fence, Lane: anyLane()}
	for len(b) > 0 {
		if err := v.p.until(func() (Need, error) { return v.PlanWrite(&pl, off, int64(len(b))) }); err != nil {
			pl.Quit()
			return dirty, err
		}
		n := pl.Covers()
		if err := v.p.carryOut(&pl, b[:n], off, stable); err != nil {
			pl.Abort()
			return dirty, err
		}
		dirty = dirty || !pl.InPlace || pl.grew()
		if err := pl.Commit(pl.Len); err != nil {
			return dirty, err
		}
		b, off = b[n:], off+n
	}
	return dirty, nil
}

func (pl *Plan) grew() bool { return pl.room != nil }

// carryOut moves the bytes of a write.
func (vs *openVolumes) carryOut(pl *Plan, b []byte, off int64, stable bool) error {
	if pl.Len != int64(len(b)) {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		for _, f := range pl.Fill {
			if err := vs.readSpan(f.Span, (*buf)[f.At:f.At+f.Len]); err != nil {
				return err
			}
		}
		copy((*buf)[off-pl.Off:], b)
		b = (*buf)[:pl.Len]
	}
	write := vs.dev.WriteAt
	if stable && pl.InPlace {
		write = vs.dev.WriteAtDsync
	}
	at := int64(0)
	for _, s := range pl.Spans {
		if _, err := write(b[at:at+s.Len], s.Dev); err != nil {
			return err
		}
		at += s.Len
	}
	return nil
}

// SeekData is the first byte at or after off that is mapped. ErrRange: there is none, or off is not below the size.
func (v *Volume) SeekData(off int64) (int64, error) { return v.p.seek(v.layer, off, true) }

// SeekHole is the first byte at or after off that is not mapped; the end of the volume counts as a hole.
func (v *Volume) SeekHole(off int64) (int64, error) { return v.p.seek(v.layer, off, false) }

// SeekData is Volume.SeekData for the snapshot.
func (s *Snap) SeekData(off int64) (int64, error) { return s.p.seek(s.layer, off, true) }

// SeekHole is Volume.SeekHole for the snapshot.
func (s *Snap) SeekHole(off int64) (int64, error) { return s.p.seek(s.layer, off, false) }

func (v *Volume) layer() *layer { return v.head() }
func (s *Snap) layer() *layer {
	if s.alive() != nil {
		return nil
	}
	return s.l
}

func (vs *openVolumes) seek(of func() *layer, off int64, data bool) (int64, error) {
	lb := off / BlockSize
	var size int64
	var found bool
	for more := true; more; {
		err := vs.underPlan(func() (need Need, err error) {
			l := of()
			if l == nil {
				return Need{}, ErrGone
			}
			if size = l.size; off < 0 || off >= size {
				return Need{}, fmt.Errorf("seek to %d in %d bytes: %w", off, size, ErrRange)
			}
			lb, found, need = l.next(vs.blocks, lb, blocksOf(size), data)
			more = !found && lb < blocksOf(size)
			return need, nil
		})
		if err != nil {
			return 0, err
		}
	}
	switch {
	case found:
		return min(max(off, lb*BlockSize), size), nil
	case data:
		return 0, fmt.Errorf("no data after %d: %w", off, ErrRange)
	}
	return size, nil
}

// next is the first block from lb on, below end, that is mapped, or is not, as far as a piece looks.
func (l *layer) next(p *blockSpace, lb, end int64, mapped bool) (at int64, found bool, need Need) {
	for n := 0; lb < end && n < pieceLen; n++ {
		p.mu.step(1)
		q, miss := l.top.Lookup(p.maps, lb, end-lb)
		if miss {
			m, _ := l.top.Bottom()
			return lb, false, Need{&obstacle{kind: needPage, m: m, lb: lb}}
		}
		if (q.Dev != 0) == mapped {
			return lb, true, Need{}
		}
		lb += q.Len
	}
	return lb, false, Need{}
}
