package fs

import (
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slatefs/chain"
)

// A name that a command made since the kernel looked is looked up again, with its permissions, not just opened.
func TestCreateOfWhatACommandHasMade(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	f := New(p, nil)
	_, err := p.Create(chain.Req{}, chain.RootIno, "v", 0o600)
	must(t, err)
	for flags, want := range map[uint32]unix.Errno{0: unix.ESTALE, unix.O_TRUNC: unix.ESTALE, unix.O_EXCL: unix.EEXIST} {
		in := &fuse.CreateIn{InHeader: fuse.InHeader{NodeId: uint64(chain.RootIno)}, Flags: unix.O_RDWR | unix.O_CREAT | flags}
		if st := f.Create(nil, in, "v", new(fuse.CreateOut)); st != fuse.Status(want) {
			t.Errorf("flags %#x: %v, want %v", flags, st, want)
		}
	}
	if n := f.files.count(); n != 0 {
		t.Errorf("%d files are open", n)
	}
}

// open(2) with O_CREAT never finds nothing, whoever makes and destroys the name beside it.
func TestCreateBesideCommands(t *testing.T) { onTransports(t, testCreateBesideCommands) }

func testCreateBesideCommands(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			_, _ = p.Create(chain.Req{}, chain.RootIno, "v", 0o644)
			_ = p.Unlink(chain.Req{}, chain.RootIno, "v")
			_ = s.FS().ChangedName(chain.RootIno, "v")
		}
	}()
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		fd, err := unix.Open(filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
		switch err {
		case nil:
			must(t, unix.Close(fd))
		case unix.ESTALE: // it was destroyed before the first look and made before the second: the kernel takes no third
		default:
			t.Error(err)
			open = false
		}
	}
	<-done
}
