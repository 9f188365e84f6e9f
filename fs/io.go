package fs

import (
	"errors"
	"io"
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// directUnit is the unit of offset and length of I/O on an O_DIRECT open, in bytes.
const directUnit = 512

// copyChunk is how much of a copy_file_range is in memory at once, copyMax how much one request copies; both in bytes.
// The caller asks again for the rest.
const (
	copyChunk = 1 << 20
	copyMax   = 64 << 20
)

// rangeOf checks a byte range of a request with the flags of its open.
func rangeOf(off uint64, n uint32, flags uint32) (int64, error) {
	if off > math.MaxInt64-uint64(n) {
		return 0, chain.ErrTooBig
	}
	if flags&unix.O_DIRECT != 0 && (off%directUnit != 0 || n%directUnit != 0) {
		return 0, chain.ErrInvalid
	}
	return int64(off), nil
}

// readable checks a READ and finds what it reads, and the byte to begin at.
func (f *FS) readable(from names, in *fuse.ReadIn) (*openFile, int64, error) {
	o, err := f.file(from, in.NodeId)
	if err != nil {
		return nil, 0, err
	}
	off, err := rangeOf(in.Offset, in.Size, in.Flags)
	return o, off, err
}

// change is what a WRITE asks for.
type change struct {
	vol    *chain.Volume
	count  *volumeMeter
	off    int64 // the byte to begin at
	n      int   // bytes to be written: fewer than were sent where the largest size is in the way
	kill   bool  // dropPrivileges comes first
	append bool  // it goes to the end, which the offset may have missed
	stable bool  // it must be durable when it is answered, by O_DSYNC, which stands for RWF_DSYNC too
}

// writable checks a WRITE of n bytes. What the kernel writes back from an mmap has no open, so no flags.
func (f *FS) writable(from names, in *fuse.WriteIn, n int) (c change, err error) {
	flags := in.Flags
	if in.WriteFlags&fuse.WRITE_CACHE != 0 {
		flags = 0
	}
	o, err := f.changing(from, in.NodeId)
	if err != nil {
		return c, err
	}
	c.vol, c.count, c.kill = o.vol, o.count, in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 && o.privileged.Load()
	c.off, err = rangeOf(in.Offset, uint32(n), flags)
	if c.n = n; c.off < chain.MaxSize {
		c.n = int(min(int64(n), chain.MaxSize-c.off))
	}
	c.append, c.stable = flags&unix.O_APPEND != 0 && !sentAgain(&in.InHeader), flags&unix.O_DSYNC != 0
	return c, err
}

// Read reads. It is short at the end of the file only.
func (f *FS) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	o, off, err := f.readable(f.pool, in)
	var n int
	if err == nil {
		n, err = o.data.ReadAt(buf[:min(len(buf), int(in.Size))], off)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, f.status("read", &in.InHeader, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Writev is what go-fuse calls for a WRITE, before Write.
func (f *FS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	if len(data) == 1 {
		return f.Write(cancel, in, data[0])
	}
	var all []byte
	for _, b := range data {
		all = append(all, b...)
	}
	return f.Write(cancel, in, all)
}

// Write writes all of data or fails; it is short at the largest size only.
func (f *FS) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	c, err := f.writable(f.pool, in, len(data))
	n := 0
	if err == nil && c.kill {
		err = f.dropPrivileges(&in.InHeader, c.vol.Ino())
	}
	if err == nil {
		n, err = c.write(data)
	}
	if err != nil {
		return 0, f.status("write", &in.InHeader, err)
	}
	return uint32(n), fuse.OK
}

// write writes what was sent, as far as it is to be written.
func (c change) write(data []byte) (int, error) {
	switch {
	case c.append:
		return c.vol.Append(data, c.off, c.stable)
	case c.stable:
		return c.vol.WriteAtSync(data[:c.n], c.off)
	}
	return c.vol.WriteAt(data[:c.n], c.off)
}

// Lseek finds data and holes; the kernel asks for nothing else.
func (f *FS) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	o, err := f.file(f.pool, in.NodeId)
	if err != nil {
		return f.status("lseek", &in.InHeader, err)
	}
	if in.Offset > math.MaxInt64 {
		return errno(syscall.ENXIO)
	}
	var off int64
	switch in.Whence {
	case unix.SEEK_DATA:
		off, err = o.data.SeekData(int64(in.Offset))
	case unix.SEEK_HOLE:
		off, err = o.data.SeekHole(int64(in.Offset))
	default:
		return fuse.EINVAL
	}
	out.Offset = uint64(off)
	return f.status("lseek", &in.InHeader, err)
}

// Fallocate answers the modes that the kernel lets through.
func (f *FS) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	vol, err := f.volume(&in.InHeader, in.NodeId)
	if err != nil {
		return f.status("fallocate", &in.InHeader, err)
	}
	if in.Length == 0 {
		return fuse.EINVAL
	}
	if in.Length > math.MaxInt64 || in.Offset > math.MaxInt64-in.Length {
		return errno(syscall.EFBIG)
	}
	off, n := int64(in.Offset), int64(in.Length)
	switch in.Mode {
	case 0:
		err = vol.Allocate(off, n, false)
	case unix.FALLOC_FL_KEEP_SIZE:
		err = vol.Allocate(off, n, true)
	case unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE:
		err = vol.Punch(off, n)
	case unix.FALLOC_FL_ZERO_RANGE:
		err = vol.ZeroRange(off, n, false)
	case unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE:
		err = vol.ZeroRange(off, n, true)
	default:
		return errno(syscall.EOPNOTSUPP)
	}
	return f.status("fallocate", &in.InHeader, err)
}

// CopyFileRange copies between two open files, a part of what is asked for, and ends early when it is interrupted. 0
// bytes mean the end of the source.
func (f *FS) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	if in.Flags != 0 {
		return 0, fuse.EINVAL
	}
	src, err := f.file(f.pool, in.NodeId)
	var dst *chain.Volume
	if err == nil {
		dst, err = f.volume(&in.InHeader, in.NodeIdOut)
	}
	n := uint32(min(in.Len, copyMax))
	if err == nil {
		_, err = rangeOf(in.OffIn, n, 0)
	}
	if err == nil {
		_, err = rangeOf(in.OffOut, n, 0)
	}
	if err != nil {
		return 0, f.status("copy_file_range", &in.InHeader, err)
	}
	done, err := copyRange(cancel, dst, int64(in.OffOut), src.data, int64(in.OffIn), int64(n))
	if err != nil && done == 0 {
		return 0, f.status("copy_file_range", &in.InHeader, err)
	}
	return uint32(done), fuse.OK
}

// copyRange copies n bytes, fewer at the end of the source, and returns how many it has copied. Its pieces end at whole
// blocks of dst. When it is interrupted it ends after a piece, never with EINTR: a signal whose handler restarts system
// calls could not restart this one.
func copyRange(cancel <-chan struct{}, dst io.WriterAt, to int64, src io.ReaderAt, from, n int64) (int64, error) {
	buf := make([]byte, min(n, copyChunk))
	var done int64
	for done < n {
		select {
		case <-cancel:
			if done > 0 {
				return done, nil
			}
		default:
		}
		got, err := src.ReadAt(buf[:min(n-done, copyChunk-(to+done)%blockSize)], from+done)
		if err != nil && !errors.Is(err, io.EOF) {
			return done, err
		}
		if got == 0 {
			return done, nil
		}
		if _, err := dst.WriteAt(buf[:got], to+done); err != nil {
			return done, err
		}
		done += int64(got)
	}
	return done, nil
}
