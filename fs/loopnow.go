package fs

import (
	"bytes"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"

	"slatefs/chain"
	"slatefs/fs/death"
)

// pollHack is a name that go-fuse knows in every root: by it the kernel learns that there is no POLL.
const pollHack = ".go-fuse-epoll-hack"

// answer answers a LOOKUP, GETATTR or STATFS of n bytes from memory. false: something must be read or written to the log for it,
// or somebody be waited for, and nothing was done. The slot stays in use.
func (l *eventLoop) answer(s *slot, n int) bool {
	death.By(s.in[:n])
	a := s.answer
	switch h := s.header(); h.Opcode {
	case codeLookup:
		name, _, whole := bytes.Cut(s.in[headerInBytes:n], []byte{0})
		if !whole || string(name) == pollHack || l.fs.retries.told.Load() != 0 { // who is told ESTALE looks again in another way
			return false
		}
		switch node, at, err := l.fs.find(l.now, h.NodeId, string(name)); {
		case err == nil:
			a.entry = fuse.EntryOut{}
			l.fs.fillEntry(node, at, &a.entry)
			l.reply(s, fuse.OK, bytesOf(&a.entry))
		case notThere(err):
			l.reply(s, fuse.ENOENT, nil)
		default:
			return false
		}
	case codeGetAttr:
		a.attr = fuse.AttrOut{}
		if l.fs.getAttr(l.now, h.NodeId, &a.attr) != nil {
			return false
		}
		l.reply(s, fuse.OK, bytesOf(&a.attr))
	case codeStatFS:
		l.reply(s, l.fs.StatFs(nil, h, &a.stat), bytesOf(&a.stat))
	}
	return true
}

// notThere: an error is ENOENT.
func notThere(err error) bool {
	e, known := errnoOf(err)
	return known && fuse.Status(e) == fuse.ENOENT
}

// bytesOf is an answer as it is sent.
func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

var _ names = chain.AtOnce{}
