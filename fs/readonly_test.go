package fs

import (
	"errors"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// A pool that was opened for reading answers EROFS to whatever would change it, without the kernel's help, and a mount of it is
// read-only.
func TestReadOnlyPool(t *testing.T) {
	disk := devtest.New(64<<20, 512)
	must(t, chain.Create(disk, chain.Format{Name: "lab", Zeroed: true, Now: time.Now}))
	p, err := chain.Open(disk, chain.Options{Now: time.Now})
	must(t, err)
	a, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
	must(t, err)
	must(t, p.Close())
	p, err = chain.Open(disk, chain.Options{Now: time.Now, ReadOnly: true})
	must(t, err)
	defer func() { must(t, p.Close()) }()
	f := New(p, nil)
	root := fuse.InHeader{NodeId: uint64(chain.RootIno)}
	file := fuse.InHeader{NodeId: uint64(a.Ino)}
	var entry fuse.EntryOut
	var attr fuse.AttrOut
	var open fuse.OpenOut
	if st := f.Open(nil, &fuse.OpenIn{InHeader: file, Flags: unix.O_RDONLY}, &open); !st.Ok() {
		t.Errorf("open for reading: %v", st)
	}
	for name, st := range map[string]fuse.Status{
		"open for writing": f.Open(nil, &fuse.OpenIn{InHeader: file, Flags: unix.O_RDWR}, &open),
		"open and cut":     f.Open(nil, &fuse.OpenIn{InHeader: file, Flags: unix.O_RDONLY | unix.O_TRUNC}, &open),
		"create":           f.Create(nil, &fuse.CreateIn{InHeader: root, Flags: unix.O_RDWR}, "w", &fuse.CreateOut{}),
		"mkdir":            f.Mkdir(nil, &fuse.MkdirIn{InHeader: root}, "d", &entry),
		"symlink":          f.Symlink(nil, &root, "to", "from", &entry),
		"unlink":           f.Unlink(nil, &root, "v"),
		"rename":           f.Rename(nil, &fuse.RenameIn{InHeader: root, Newdir: uint64(chain.RootIno)}, "v", "w"),
		"setattr":          f.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: file, Valid: fuse.FATTR_SIZE}}, &attr),
		"setxattr":         f.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: file}, "user.a", []byte("b")),
		"fallocate":        f.Fallocate(nil, &fuse.FallocateIn{InHeader: file, Length: 4096}),
	} {
		if st != fuse.Status(unix.EROFS) {
			t.Errorf("%s: %v", name, st)
		}
	}
	if _, st := f.Write(nil, &fuse.WriteIn{InHeader: file, Size: 4096}, make([]byte, 4096)); st != fuse.Status(unix.EROFS) {
		t.Errorf("write: %v", st)
	}
	f.Release(nil, &fuse.ReleaseIn{InHeader: file, Flags: unix.O_RDONLY})
	f.Forget(uint64(a.Ino), 1)
	if err := p.OpenFile(a.Ino, true); !errors.Is(err, chain.ErrReadOnly) {
		t.Errorf("chain: %v", err)
	}
}
