package journal

import (
	"fmt"
	"io"
)

// ring turns ring offsets into device offsets; nothing else in the package does.
// Offsets are in [0, size); a span of at most size bytes may wrap around the end.
type ring struct {
	dev  Device
	base int64 // device offset, bytes
	size int64 // bytes
	unit int64 // bytes
}

// add returns the offset n bytes after off.
func (r ring) add(off, n int64) int64 { return (off + n) % r.size }

// distance returns the bytes from one offset forward to another, 0 for the same.
func (r ring) distance(from, to int64) int64 { return (to - from + r.size) % r.size }

// batchSize returns the ring bytes that a batch with length payload bytes takes.
func (r ring) batchSize(length int64) int64 {
	return (headerSize + length + r.unit - 1) / r.unit * r.unit
}

// read fills p from ring offset off.
func (r ring) read(off int64, p []byte) error {
	return r.each(off, p, "read", r.dev.ReadAt)
}

// write writes p at ring offset off.
func (r ring) write(off int64, p []byte) error {
	return r.each(off, p, "write", r.dev.WriteAt)
}

// each splits p where the ring ends and does one transfer for each part.
func (r ring) each(off int64, p []byte, name string, transfer func([]byte, int64) (int, error)) error {
	for len(p) > 0 {
		part := p[:min(int64(len(p)), r.size-off)]
		n, err := transfer(part, r.base+off)
		if err == nil && n != len(part) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("%s %d bytes at device offset %#x: %w", name, len(part), r.base+off, err)
		}
		p = p[len(part):]
		off = 0
	}
	return nil
}

const (
	windowSize = 1 << 20 // bytes read at once by replay
	keepBuffer = 1 << 20 // a larger append buffer is given back
)

// grow returns a slice of n bytes, in b's memory where it is large enough and not
// larger than is worth keeping. The content is undefined.
func grow(b []byte, n int64) []byte {
	if int64(cap(b)) >= n && (cap(b) <= keepBuffer || n > keepBuffer) {
		return b[:n]
	}
	// A power of two from 64 KiB on comes page-aligned from the runtime, which
	// saves the device a copy; nothing depends on it.
	size := int64(64 << 10)
	for size < n && size < keepBuffer {
		size *= 2
	}
	return make([]byte, n, max(n, size))
}

// window reads the ring forward in large pieces.
type window struct {
	ring ring
	off  int64  // ring offset of buf
	buf  []byte // what was read there, wrapping around the end of the ring
}

// at returns n bytes, at most the ring, from off, both multiples of the unit. They
// are valid until the next call.
func (w *window) at(off, n int64) ([]byte, error) {
	if d := w.ring.distance(w.off, off); d+n <= int64(len(w.buf)) {
		return w.buf[d : d+n], nil
	}
	size := min(max(n, windowSize), w.ring.size)
	buf := grow(w.buf, size)
	w.buf = nil
	if err := w.ring.read(off, buf); err != nil {
		return nil, err
	}
	w.off, w.buf = off, buf
	return buf[:n], nil
}
