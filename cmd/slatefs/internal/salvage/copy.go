// Package salvage copies out of a pool what can be read of it, into a directory of the host. The pool may not open, and its device
// may have been written by anybody: what holds here is that nothing is written to it, nothing is written outside the
// directory, that what cannot be read is told by its ranges, and that the copy of a volume has as many bytes as the volume.
package salvage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// Range is a part of a volume that is not in its copy, which has zeros there.
type Range struct {
	Offset int64  `json:"offset"` // bytes
	Bytes  int64  `json:"bytes"`
	Error  string `json:"error"`
}

// File is a volume or snapshot, and its copy.
type File struct {
	Path     string  `json:"path"`               // in the pool
	Snapshot string  `json:"snapshot,omitempty"` // empty: the volume itself
	Inode    uint64  `json:"inode"`
	Layer    string  `json:"layer"`
	Nowhere  bool    `json:"path_lost,omitempty"` // the path is not whole
	Copy     string  `json:"copy,omitempty"`      // below the directory; empty: none was made
	Size     int64   `json:"size"`                // bytes
	Data     int64   `json:"copied"`              // bytes that were read from the pool
	Lost     []Range `json:"lost"`                // at most maxRanges
	LostAll  int64   `json:"lost_bytes"`          // of all, told or not
	Error    string  `json:"error,omitempty"`     // why it is not whole, besides ranges
}

// Whole tells whether all of it was copied.
func (f *File) Whole() bool { return f.LostAll == 0 && f.Error == "" }

// maxRanges bounds what is told of one file.
const maxRanges = 100

// Copier copies relics of a wreck.
type Copier struct {
	Dev  blockdev.Device
	From *chain.Wreck
	To   *Dir
	Done func(bytes int64) // is told what was dealt with, a piece at a time

	buf []byte
}

// step is how much is read at once.
const step = 1 << 20

// lostAndFound is where files are of which no path is known.
const lostAndFound = "lost+found"

// Copy copies one relic. An error is one of the host, with which it makes no sense to go on: the directory is full, or ctx ended;
// what is wrong with the pool stands in the File.
func (c *Copier) Copy(ctx context.Context, r *chain.Relic) (f File, err error) {
	f = File{Path: strings.Join(r.Path, "/"), Snapshot: r.Snap, Inode: uint64(r.Volume), Layer: r.Layer.String(), Nowhere: r.Nowhere, Size: r.Size, Lost: []Range{}}
	path := append([]string{}, r.Path...)
	if r.Nowhere {
		path = append([]string{lostAndFound}, path...)
	}
	if r.Snap != "" {
		path[len(path)-1] += "@" + r.Snap
	}
	out, as, err := c.To.Create(path)
	if err != nil {
		return c.failed(f, r, err)
	}
	f.Copy = as
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(r.Size); err != nil {
		return c.failed(f, r, fmt.Errorf("%d bytes: %w", r.Size, err))
	}
	if c.buf == nil {
		c.buf = blockdev.Aligned(step)
	}
	err = c.From.Content(r, func(off, n, dev int64) error {
		return c.piece(ctx, out, &f, off, n, dev)
	}, func(off, n int64, err error) error {
		f.lose(off, n, err)
		return ctx.Err()
	})
	return f, err
}

// failed: there is no copy of this one. Only a host that takes nothing more ends the others.
func (c *Copier) failed(f File, r *chain.Relic, err error) (File, error) {
	c.Done(r.Blocks * chain.BlockSize)
	f.Error, f.LostAll = err.Error(), max(f.LostAll, r.Size)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS) {
		return f, err
	}
	return f, nil
}

// piece copies what lies at one place of the device.
func (c *Copier) piece(ctx context.Context, out *os.File, f *File, off, n, dev int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := min(n, step)
		if err := c.some(out, f, off, k, dev); err != nil {
			return err
		}
		c.Done(k)
		off, n, dev = off+k, n-k, dev+k
	}
	return nil
}

// some copies at most a step. What cannot be read in one is read block by block, so that a bad sector costs a block.
func (c *Copier) some(out *os.File, f *File, off, n, dev int64) error {
	whole := (n + chain.BlockSize - 1) / chain.BlockSize * chain.BlockSize
	b := c.buf[:whole]
	if _, err := c.Dev.ReadAt(b, dev); err != nil {
		if n <= chain.BlockSize {
			f.lose(off, n, err)
			return nil
		}
		for at := int64(0); at < n; at += chain.BlockSize {
			if err := c.some(out, f, off+at, min(chain.BlockSize, n-at), dev+at); err != nil {
				return err
			}
		}
		return nil
	}
	f.Data += n
	return writeSparse(out, b[:n], off)
}

// writeSparse writes what is not zero: the file is zeros already.
func writeSparse(out io.WriterAt, b []byte, off int64) error {
	for at := 0; at < len(b); {
		end := at
		for end < len(b) && !zero(b[end:min(end+chain.BlockSize, len(b))]) {
			end = min(end+chain.BlockSize, len(b))
		}
		if end > at {
			if _, err := out.WriteAt(b[at:end], off+int64(at)); err != nil {
				return err
			}
		}
		at = end + chain.BlockSize
	}
	return nil
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// lose notes a range that is not in the copy, joined to the one before.
func (f *File) lose(off, n int64, err error) {
	f.LostAll += n
	if k := len(f.Lost) - 1; k >= 0 && f.Lost[k].Offset+f.Lost[k].Bytes == off && f.Lost[k].Error == err.Error() {
		f.Lost[k].Bytes += n
	} else if len(f.Lost) < maxRanges {
		f.Lost = append(f.Lost, Range{off, n, err.Error()})
	}
}
