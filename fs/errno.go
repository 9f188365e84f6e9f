package fs

import (
	"context"
	"errors"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
	"slatefs/chain/blockdev"
)

// stale makes the kernel look a path up again, once (stale.go).
const stale = syscall.ESTALE

// errnos is the one table from errors to errno. The first that matches counts.
var errnos = []struct {
	err   error
	errno syscall.Errno
}{
	{chain.ErrGone, stale},
	{chain.ErrNotFound, syscall.ENOENT},
	{chain.ErrExist, syscall.EEXIST},
	{chain.ErrNotDir, syscall.ENOTDIR},
	{chain.ErrIsDir, syscall.EISDIR},
	{chain.ErrNotEmpty, syscall.ENOTEMPTY},
	{chain.ErrBusy, syscall.EBUSY},
	{chain.ErrHasSnapshots, syscall.EBUSY},
	{chain.ErrHasClones, syscall.EBUSY},
	{chain.ErrTagged, syscall.EBUSY},
	{chain.ErrNoSpace, syscall.ENOSPC},
	{chain.ErrQuota, syscall.EDQUOT},
	{chain.ErrCorrupt, syscall.EIO},
	{blockdev.ErrSyncFailed, syscall.EIO},
	{chain.ErrReadOnly, syscall.EROFS},
	{blockdev.ErrReadOnly, syscall.EROFS},
	{chain.ErrPerm, syscall.EPERM},
	{chain.ErrInvalid, syscall.EINVAL},
	{chain.ErrNameTooLong, syscall.ENAMETOOLONG},
	{chain.ErrTooBig, syscall.EFBIG},
	{chain.ErrNoAttr, syscall.ENODATA},
	{chain.ErrRange, syscall.ENXIO},
	{chain.ErrUnsupported, syscall.EOPNOTSUPP},
	{context.Canceled, syscall.EINTR},
}

// errnoOf maps an error that is not nil. known is false for what is neither in the table nor a kernel's errno.
func errnoOf(err error) (errno syscall.Errno, known bool) {
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return e.errno, true
		}
	}
	if blockdev.HostFull(err) { // whatever bounds the pool file: to a guest it is a full disk
		return syscall.ENOSPC, true
	}
	if errors.As(err, &errno) && errno != 0 {
		return errno, true
	}
	return syscall.EIO, false
}

// status maps the error of a request, nil too, and logs what is EIO: an errno can't say more.
func (f *FS) status(op string, h *fuse.InHeader, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	errno, known := errnoOf(err)
	if errno == syscall.EIO {
		f.log.Error("fs: "+op, "path", f.path(h.NodeId), "error", err, "known", known)
	}
	if errno == stale {
		f.retries.tell(h.Pid)
	}
	return fuse.Status(errno)
}

// errno answers what needs no table.
func errno(e syscall.Errno) fuse.Status { return fuse.Status(e) }

// path shows a node in messages.
func (f *FS) path(node uint64) string {
	switch kind, num := split(node); kind {
	case snapFile:
		dir, name, _, err := f.pool.SnapPlace(chain.LayerID(num))
		if err != nil {
			return "snapshot " + chain.LayerID(num).String()
		}
		return path.Join(f.pool.Path(dir), chain.SnapDir, name)
	case snapDir:
		return path.Join(f.pool.Path(chain.Ino(num)), chain.SnapDir)
	case plain:
		return f.pool.Path(chain.Ino(num))
	}
	return ""
}
