package devtest

import (
	"fmt"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
	"slatefs/chain/fault"
)

// hostPage is the unit in which a host gives space to a sparse file, in bytes.
const hostPage = 4096

// host is what the host of a sparse file has given to it.
type host struct {
	backed map[int64]struct{} // by offset/hostPage
	room   int64              // bytes that it can still give
}

// OnHost makes the disk a sparse file on a host that can give it room bytes more; again: the host has so much from now on.
// What is not zero when it is called first has its space. A write into a hole for which there is none is ENOSPC, and
// nothing of it takes place.
func (d *Disk) OnHost(room int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.host == nil {
		d.host = &host{backed: map[int64]struct{}{}}
		for c, k := range d.chunks {
			for in := int64(0); in < chunkBytes; in += hostPage {
				if !zeros(k.data[in : in+hostPage]) {
					d.host.backed[(c*chunkBytes+in)/hostPage] = struct{}{}
				}
			}
		}
	}
	d.host.room = room
}

// HostBytes is what the host has given to a sparse file.
func (d *Disk) HostBytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.host == nil {
		return d.size
	}
	return int64(len(d.host.backed)) * hostPage
}

// back gives op the space of the host that it needs. The caller holds mu.
func (d *Disk) back(op Op) error {
	if d.host == nil || op.Len == 0 {
		return nil
	}
	switch op.Kind {
	case OpRead, OpSync, OpGrow:
		return nil
	case OpWrite, OpWriteDsync, OpZero:
	}
	lo, hi := op.Off/hostPage, (op.Off+op.Len+hostPage-1)/hostPage
	if op.Kind == OpZero && op.Method == blockdev.Release {
		for at := lo; at < hi; at++ {
			if _, ok := d.host.backed[at]; ok {
				delete(d.host.backed, at)
				d.host.room += hostPage
			}
		}
		return nil
	}
	var lacks []int64
	for at := lo; at < hi; at++ {
		if _, ok := d.host.backed[at]; !ok {
			lacks = append(lacks, at)
		}
	}
	if need := int64(len(lacks)) * hostPage; need > d.host.room {
		return fault.Mark(fault.Transient, fmt.Errorf("needs %d bytes of the host, %d left: %w", need, d.host.room, unix.ENOSPC))
	}
	for _, at := range lacks {
		d.host.backed[at] = struct{}{}
		d.host.room -= hostPage
	}
	return nil
}

// Sparse tells whether OnHost was called, and not all of the disk is backed.
func (d *Disk) Sparse() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.host != nil && int64(len(d.host.backed))*hostPage < d.size
}

// Prepare writes zeros into the holes of [off, off+n), one page at a time, and returns how far it came.
func (d *Disk) Prepare(off, n int64) (int64, error) {
	for at := off; at < off+n; at += hostPage {
		if d.isBacked(at) {
			continue
		}
		if err := d.Zero(at, hostPage, blockdev.Overwrite); err != nil {
			return at - off, err
		}
	}
	return n, nil
}

// Reserve gives the holes of [off, off+n) their space, or none of it.
func (d *Disk) Reserve(off, n int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.back(Op{Kind: OpZero, Off: off, Len: n, Method: blockdev.Overwrite})
}

// Backed is the first part of [off, off+n) that the host has given, with length 0 if there is none.
func (d *Disk) Backed(off, n int64) (at, length int64) {
	for at = off; at < off+n && !d.isBacked(at); at += hostPage {
	}
	end := at
	for ; end < off+n && d.isBacked(end); end += hostPage {
	}
	return at, end - at
}

func (d *Disk) isBacked(off int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.host == nil {
		return true
	}
	_, ok := d.host.backed[off/hostPage]
	return ok
}
