package erase

import (
	"bytes"
	"math/rand/v2"

	"slatefs/chain/blockdev"
)

// sampleBytes is the stretch of which one block is sampled, and the size of a
// read in a full verify.
const sampleBytes = 1 << 20

var zeroBlock [blockBytes]byte

// readBack moves what does not read as zeros from p.zeroed to p.failed. The
// caller holds the worker lock and has synced the device.
func (e *Eraser) readBack(p *part, v blockdev.Verify) {
	if v == blockdev.VerifyOff || len(p.zeroed) == 0 {
		return
	}
	if e.buf == nil {
		e.buf = blockdev.Aligned(sampleBytes)
	}
	written := p.zeroed
	p.zeroed = nil
	before := total(p.failed)
	for _, x := range written {
		if v == blockdev.VerifyFull {
			e.readFull(p, x)
		} else if e.sample(x) {
			p.zeroed = appendExtent(p.zeroed, x)
		} else {
			p.failed = appendExtent(p.failed, x)
		}
	}
	if bad := total(p.failed) - before; bad > 0 {
		e.log.Warn("erase: read back: not zero or not readable", "job", p.job, "failed_bytes", bad)
	}
}

// readFull reads all of x and sorts its blocks into p.
func (e *Eraser) readFull(p *part, x blockdev.Extent) {
	for off, end := x.Off, x.End(); off < end; off += sampleBytes {
		n := min(sampleBytes, end-off)
		if e.readsZero(off, n) {
			p.zeroed = appendExtent(p.zeroed, blockdev.Extent{Off: off, Len: n})
			continue
		}
		// Something in there is bad: find out which blocks.
		for b := off; b < off+n; b += blockBytes {
			block := blockdev.Extent{Off: b, Len: blockBytes}
			if e.readsZero(b, blockBytes) {
				p.zeroed = appendExtent(p.zeroed, block)
			} else {
				p.failed = appendExtent(p.failed, block)
			}
		}
	}
}

// sample tells whether the sampled blocks of x are zero.
func (e *Eraser) sample(x blockdev.Extent) bool {
	if !e.readsZero(x.Off, blockBytes) || !e.readsZero(x.End()-blockBytes, blockBytes) {
		return false
	}
	for off, end := x.Off, x.End(); off < end; off += sampleBytes {
		blocks := min(sampleBytes, end-off) / blockBytes
		if !e.readsZero(off+rand.Int64N(blocks)*blockBytes, blockBytes) {
			return false
		}
	}
	return true
}

// readsZero reads n bytes (at most sampleBytes) at off; an error or a short
// read is no zero.
func (e *Eraser) readsZero(off, n int64) bool {
	got, err := e.dev.ReadAt(e.buf[:n], off)
	if err != nil || int64(got) != n {
		e.stats.fault(&e.stats.s.Errors.Read)
		return false
	}
	for b := e.buf[:n]; len(b) > 0; b = b[blockBytes:] {
		if !bytes.Equal(b[:blockBytes], zeroBlock[:]) {
			e.stats.fault(&e.stats.s.Errors.Verify)
			return false
		}
	}
	return true
}
