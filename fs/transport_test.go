package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

// Who asks for nothing gets the loop on a file that a ring can read, and classic on anything else; it says why.
func TestAutoTransport(t *testing.T) {
	for _, c := range []struct {
		v    variant
		root Transport // what root gets
	}{{variant{file: true}, Loop}, {variant{}, Classic}} {
		p, _ := newPool(t, c.v)
		s := mountOn(t, p, t.TempDir(), MountOptions{})
		want := c.root
		if os.Geteuid() != 0 {
			want = Classic
		}
		if got, noLoop := s.Transport(); got != want || (noLoop == nil) != (want == Loop) {
			t.Errorf("file %v: %v, %v", c.v.file, got, noLoop)
		}
		fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
		_, err := unix.Pwrite(fd, pattern(8192, 1), 0)
		must(t, err)
		must(t, unix.Fsync(fd))
	}
}

// Whatever keeps a kernel from giving a ring, or a ring from reading the device, is told, with what can be done about it.
func TestNoRing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the event loop needs root")
	}
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	f, err := blockdev.Open(path, blockdev.Options{})
	must(t, err)
	defer func() { must(t, f.Close()) }()
	must(t, tryRing(f, blockdev.NewRing))
	for e, hint := range map[error]string{unix.EPERM: "seccomp", unix.ENOMEM: "LimitMEMLOCK=", unix.ENOSYS: "kernel has none"} {
		err := tryRing(f, func(uint32) (*blockdev.Ring, error) { return nil, e })
		if !errors.Is(err, e) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%v: %v", e, err)
		}
	}
	if err := tryRing(devtest.New(1<<20, 512), blockdev.NewRing); !errors.Is(err, chain.ErrUnsupported) {
		t.Errorf("memory: %v", err)
	}
	null, err := unix.Open("/dev", unix.O_RDONLY|unix.O_DIRECTORY, 0) // which nobody can read so
	must(t, err)
	good, err := unix.Dup(f.Fd())
	must(t, err)
	must(t, unix.Dup3(null, f.Fd(), unix.O_CLOEXEC))
	if err := tryRing(f, blockdev.NewRing); !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("a device that the ring can't read: %v", err)
	}
	must(t, unix.Dup3(good, f.Fd(), unix.O_CLOEXEC))
	must(t, unix.Close(good))
	must(t, unix.Close(null))
}

func TestParseTransport(t *testing.T) {
	for _, want := range []Transport{Auto, Loop, Classic} {
		if got, err := ParseTransport(want.String()); got != want || err != nil {
			t.Errorf("%v: %v, %v", want, got, err)
		}
	}
	if _, err := ParseTransport("fast"); !errors.Is(err, chain.ErrInvalid) {
		t.Errorf("a word that is none: %v", err)
	}
}
