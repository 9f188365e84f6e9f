package fs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
)

func TestMountIsNamedForThePool(t *testing.T) { onTransports(t, testMountIsNamedForThePool) }

func testMountIsNamedForThePool(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	want := " " + s.Dir() + " rw,nosuid,nodev"
	var line string
	for l := range strings.SplitSeq(string(b), "\n") {
		if strings.Contains(l, want) {
			line = l
		}
	}
	for _, part := range []string{"- fuse.slatefs " + p.Name() + " ", "allow_other", "default_permissions", "max_read=1048576"} {
		if os.Geteuid() == 0 && !strings.Contains(line, part) {
			t.Errorf("%q is not in %q", part, line)
		}
	}
	if _, err := Mount(p, s.Dir(), v.options()); err == nil {
		t.Error("mounted twice on one directory")
	}
}

func TestChangedDropsWhatTheKernelKnows(t *testing.T) {
	onTransports(t, testChangedDropsWhatTheKernelKnows)
}

func testChangedDropsWhatTheKernelKnows(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR)
	_, err := unix.Pwrite(fd, pattern(8192, 1), 0)
	must(t, err)
	a, err := p.Resolve("v")
	must(t, err)
	m := newMapper(t, path)
	shows := func(what string, seed byte) {
		if got, want := m.do("get"), fmt.Sprintf("%x", pattern(8192, seed)[4096:4112]); got != want {
			t.Errorf("%s: mmap shows %s, want %s", what, got, want)
		}
	}
	shows("before", 1)
	vol, err := p.Volume(a.Ino)
	must(t, err)
	_, err = vol.WriteAt(pattern(12288, 2), 0)
	must(t, err)
	must(t, s.FS().Changed(a.Ino))
	must(t, s.FS().Changed(a.Ino+1000)) // which the kernel does not know
	shows("after", 2)
	var st unix.Stat_t
	must(t, unix.Fstat(fd, &st))
	if st.Size != 12288 {
		t.Errorf("size %d", st.Size)
	}
	b, err := p.Create(chain.Req{}, chain.RootIno, "made", 0o644)
	must(t, err)
	must(t, unix.Stat(filepath.Join(s.Dir(), "made"), &st))
	if st.Ino != uint64(b.Ino) {
		t.Errorf("inode %d", st.Ino)
	}
	must(t, p.Unlink(chain.Req{}, chain.RootIno, "made"))
	must(t, s.FS().ChangedName(chain.RootIno, "made"))
	wantErr(t, "removed", unix.Stat(filepath.Join(s.Dir(), "made"), &st), unix.ENOENT)
}

func TestDrain(t *testing.T) { onTransports(t, testDrain) }

func testDrain(t *testing.T, v variant) {
	s, _, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	must(t, err)
	if s.OpenFiles() != 1 || s.Drain(true) != 1 {
		t.Error("one file is open")
	}
	_, err = unix.Open(path, unix.O_RDONLY, 0)
	wantErr(t, "open", err, unix.EBUSY)
	_, err = unix.Open(path+"2", unix.O_CREAT|unix.O_RDWR, 0o644)
	wantErr(t, "create", err, unix.EBUSY)
	_, err = unix.Pwrite(fd, pattern(4096, 1), 0)
	must(t, err)
	if err := s.Unmount(); err == nil {
		t.Error("unmounted with an open file")
	}
	must(t, unix.Close(fd))
	select {
	case <-s.Drained():
	case <-time.After(patience):
		t.Error("not drained after the last close")
	}
	must(t, s.Unmount())
	s.Wait()
	must(t, s.Unmount()) // once more does nothing
}

func TestAbortGivesOpensBack(t *testing.T) { onTransports(t, testAbortGivesOpensBack) }

func testAbortGivesOpensBack(t *testing.T, v variant) {
	p, _ := newPool(t, v)
	s := mountOn(t, p, t.TempDir(), v.options())
	fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
	a, err := p.Resolve("v")
	must(t, err)
	abort(t, s)
	s.Wait()
	_, err = unix.Pwrite(fd, pattern(4096, 1), 0)
	wantErr(t, "write", err, unix.ENOTCONN)
	if s.OpenFiles() != 0 {
		t.Errorf("%d files are open", s.OpenFiles())
	}
	again := mountOn(t, p, s.Dir(), v.options()) // over the dead one
	openAt(t, filepath.Join(again.Dir(), "v"), unix.O_RDWR)
	if b, err := p.GetAttr(a.Ino); err != nil || b.Nlink != 1 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestHoldersOfAMount(t *testing.T) { onTransports(t, testHoldersOfAMount) }

func testHoldersOfAMount(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	must(t, unix.Mkdir(filepath.Join(s.Dir(), "d"), 0o755))
	openAt(t, filepath.Join(s.Dir(), "d/v"), unix.O_CREAT|unix.O_RDWR)
	openAt(t, filepath.Join(s.Dir(), "d/v"), unix.O_PATH)
	openAt(t, filepath.Join(s.Dir(), "d"), unix.O_RDONLY|unix.O_DIRECTORY)
	other := openAt(t, filepath.Join(s.Dir(), "w"), unix.O_CREAT|unix.O_RDONLY)
	_ = other
	a, err := p.Resolve("d/v")
	must(t, err)
	list, err := s.Holders(a.Ino)
	must(t, err)
	if len(list) != 1 || list[0].PID != os.Getpid() || !list[0].Write || list[0].Path != "d/v" || list[0].Comm == "" {
		t.Errorf("%+v", list)
	}
	if list, err = s.Holders(0); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestHoldersFindLoopDevices(t *testing.T) { onTransports(t, testHoldersFindLoopDevices) }

func testHoldersFindLoopDevices(t *testing.T, v variant) {
	losetup, err := exec.LookPath("losetup")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and losetup")
	}
	s, p, _ := mountPool(t, v)
	must(t, unix.Mkdir(filepath.Join(s.Dir(), "d"), 0o755))
	fd := openAt(t, filepath.Join(s.Dir(), "d/v"), unix.O_CREAT|unix.O_RDWR)
	must(t, unix.Ftruncate(fd, 1<<20))
	out, err := exec.Command(losetup, "--show", "-f", filepath.Join(s.Dir(), "d/v")).CombinedOutput()
	if err != nil {
		t.Skipf("no loop devices: %s", out)
	}
	dev := strings.TrimSpace(string(out))
	defer func() { must(t, exec.Command(losetup, "-d", dev).Run()) }()
	a, err := p.Resolve("d/v")
	must(t, err)
	list, err := s.Holders(a.Ino)
	must(t, err)
	want := Holder{Loop: filepath.Base(dev), Path: "d/v", Ino: a.Ino, Write: true}
	if !slices.Contains(list, want) {
		t.Errorf("%+v", list)
	}
	block, err := unix.Open(dev, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	_, err = unix.Pwrite(block, pattern(8192, 1), 4096)
	must(t, err)
	must(t, unix.Fsync(block))
	got := make([]byte, 8192)
	if _, err := unix.Pread(fd, got, 4096); err != nil || !bytes.Equal(got, pattern(8192, 1)) {
		t.Errorf("through the loop device: %v", err)
	}
	must(t, unix.Close(block))
}
