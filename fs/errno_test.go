package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
)

func TestErrno(t *testing.T) {
	for _, c := range []struct {
		err   error
		want  syscall.Errno
		known bool
	}{
		{chain.ErrNotFound, syscall.ENOENT, true},
		{chain.ErrExist, syscall.EEXIST, true},
		{chain.ErrNotDir, syscall.ENOTDIR, true},
		{chain.ErrIsDir, syscall.EISDIR, true},
		{chain.ErrNotEmpty, syscall.ENOTEMPTY, true},
		{&chain.BusyError{What: "a", Writers: 1}, syscall.EBUSY, true},
		{chain.ErrHasSnapshots, syscall.EBUSY, true},
		{chain.ErrHasClones, syscall.EBUSY, true},
		{chain.ErrNoSpace, syscall.ENOSPC, true},
		{chain.ErrQuota, syscall.EDQUOT, true},
		{chain.ErrReadOnly, syscall.EROFS, true},
		{chain.ErrCorrupt, syscall.EIO, true},
		{chain.ErrPerm, syscall.EPERM, true},
		{chain.ErrInvalid, syscall.EINVAL, true},
		{chain.ErrNameTooLong, syscall.ENAMETOOLONG, true},
		{chain.ErrTooBig, syscall.EFBIG, true},
		{chain.ErrNoAttr, syscall.ENODATA, true},
		{chain.ErrRange, syscall.ENXIO, true},
		{chain.ErrUnsupported, syscall.EOPNOTSUPP, true},
		{syscall.ENOSPC, syscall.ENOSPC, true},
		{errors.Join(chain.ErrReadOnly, syscall.EIO), syscall.EROFS, true},
		{errors.New("what is this"), syscall.EIO, false},
		{syscall.Errno(0), syscall.EIO, false},
	} {
		got, known := errnoOf(fmt.Errorf("chain: op: 7: %w", c.err))
		if got != c.want || known != c.known {
			t.Errorf("%v: %v, %t, want %v, %t", c.err, got, known, c.want, c.known)
		}
	}
}

func TestStatusLogsWhatErrnoCannotSay(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	for _, c := range []struct {
		err    error
		want   fuse.Status
		logged bool
	}{
		{nil, fuse.OK, false},
		{chain.ErrNotFound, fuse.ENOENT, false},
		{errors.New("odd"), fuse.EIO, true},
		{fmt.Errorf("page 7: %w", chain.ErrCorrupt), fuse.EIO, true},
	} {
		var log logBuffer
		f := New(p, slog.New(slog.NewTextHandler(&log, nil)))
		if got := f.status("read", &fuse.InHeader{NodeId: 1}, c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		if got := log.String(); (got != "") != c.logged || c.logged && !strings.Contains(got, c.err.Error()) {
			t.Errorf("%v: logged %q", c.err, got)
		}
	}
}
