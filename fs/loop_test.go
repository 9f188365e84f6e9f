package fs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
)

// TestFioVerifies writes at random and at depth 32, and reads back what it wrote.
func TestFioVerifies(t *testing.T) {
	fio, err := exec.LookPath("fio")
	if err != nil {
		t.Skip("SKIPPED: needs fio; the transports are NOT verified at depth")
	}
	onTransports(t, func(t *testing.T, v variant) {
		s, p, _ := mountPool(t, v)
		path := filepath.Join(s.Dir(), "v")
		must(t, unix.Ftruncate(openAt(t, path, unix.O_CREAT|unix.O_RDWR), 16<<20))
		a, err := p.Resolve("v")
		must(t, err)
		for i, args := range [][]string{
			{"--bs=4k", "--rw=randrw", "--verify_backlog=64"},
			{"--bsrange=512-64k", "--bs_unaligned=0", "--blockalign=512", "--rw=randwrite"},
			{"--bs=4k", "--rw=randwrite", "--sync=dsync", "--size=512k"},
		} {
			cmd := exec.Command(fio, append([]string{
				"--name=v", "--filename=" + path, "--size=12m", "--ioengine=libaio", "--direct=1", "--iodepth=32",
				"--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--randseed=7", "--minimal",
			}, args...)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("fio %v: %v\n%s", args, err, out)
			}
			must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, fmt.Sprint("s", i)))
		}
	})
}

// TestUnalignedWritersAndSnapshots has eight writers of sectors that share blocks, while snapshots make every write a
// merging one. Each sector keeps its last writer's bytes, in the volume and, from its moment, in a snapshot.
func TestUnalignedWritersAndSnapshots(t *testing.T) {
	onTransports(t, func(t *testing.T, v variant) {
		s, p, _ := mountPool(t, v)
		path := filepath.Join(s.Dir(), "v")
		const writers, sectors, rounds = 8, 64, 6
		must(t, unix.Ftruncate(openAt(t, path, unix.O_CREAT|unix.O_RDWR), writers*sectors*devtest.SectorBytes))
		a, err := p.Resolve("v")
		must(t, err)
		sector := func(w, i, round int) []byte {
			return bytes.Repeat([]byte{byte(w), byte(i), byte(round), 1}, devtest.SectorBytes/4)
		}
		for round := range rounds {
			var wg sync.WaitGroup
			for w := range writers {
				fd := openAt(t, path, unix.O_RDWR|unix.O_DIRECT)
				buf := pattern(devtest.SectorBytes, 0)
				wg.Go(func() {
					for i := range sectors {
						copy(buf, sector(w, i, round))
						if _, err := unix.Pwrite(fd, buf, int64(i*writers+w)*devtest.SectorBytes); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, fmt.Sprint("during", round)))
			wg.Wait()
			must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, fmt.Sprint("after", round)))
		}
		for round := range rounds + 1 {
			name := fmt.Sprint(".snap/v@after", round)
			if round == rounds {
				name, round = "v", rounds-1
			}
			got, err := os.ReadFile(filepath.Join(s.Dir(), name))
			must(t, err)
			for i := range sectors * writers {
				if !bytes.Equal(got[i*devtest.SectorBytes:(i+1)*devtest.SectorBytes], sector(i%writers, i/writers, round)) {
					t.Fatalf("%s: sector %d is % x…", name, i, got[i*devtest.SectorBytes:][:8])
				}
			}
		}
	})
}

func TestZerosOverHolesAllocateNothing(t *testing.T) {
	onTransports(t, func(t *testing.T, v variant) {
		s, _, _ := mountPool(t, v)
		fd := openAt(t, filepath.Join(s.Dir(), "v"), unix.O_CREAT|unix.O_RDWR)
		for _, n := range []int{4096, 64 << 10, 1 << 20} {
			_, err := unix.Pwrite(fd, make([]byte, n), 1<<20)
			must(t, err)
		}
		var st unix.Stat_t
		must(t, unix.Fstat(fd, &st))
		if st.Size != 2<<20 || st.Blocks != 0 {
			t.Errorf("%d bytes, %d sectors", st.Size, st.Blocks)
		}
		half := append(pattern(4096, 1), make([]byte, 128<<10)...)
		_, err := unix.Pwrite(fd, half, 0)
		must(t, err)
		must(t, unix.Fstat(fd, &st))
		if st.Blocks != 8 {
			t.Errorf("a block and zeros take %d sectors", st.Blocks)
		}
	})
}

// load keeps a file busy with blocks in flight until an error, which it returns by file.
func load(t *testing.T, path string) (wait func() []error, rounds *atomic.Int64) {
	var wg sync.WaitGroup
	errs := make([]error, 6)
	rounds = new(atomic.Int64)
	for i := range errs {
		fd := openAt(t, path, unix.O_RDWR|unix.O_DIRECT)
		buf := pattern(16<<10, byte(i))
		wg.Go(func() {
			defer func() { _ = unix.Close(fd) }()
			for off := int64(0); errs[i] == nil && off >= 0; off = (off + 5*4096 + 512) % (8 << 20) {
				switch (i + int(off/512)) % 4 {
				case 0:
					_, errs[i] = unix.Pread(fd, buf, off)
				case 1:
					errs[i] = unix.Fdatasync(fd)
				default:
					_, errs[i] = unix.Pwrite(fd, buf, off)
				}
				if rounds.Add(1) > 1<<20 {
					return
				}
			}
		})
	}
	return func() []error { wg.Wait(); return errs }, rounds
}

// TestAbortUnderLoadLeavesNothing aborts a busy connection again and again: no goroutine, file or memory stays.
func TestAbortUnderLoadLeavesNothing(t *testing.T) {
	onTransports(t, func(t *testing.T, v variant) {
		p, _ := newPool(t, v)
		dir := t.TempDir()
		var before, maps int
		for i := range 5 {
			s := mountOn(t, p, dir, v.options())
			path := filepath.Join(s.Dir(), "v")
			must(t, unix.Ftruncate(openAt(t, path, unix.O_CREAT|unix.O_RDWR), 16<<20))
			wait, rounds := load(t, path)
			for rounds.Load() < 200 {
				time.Sleep(time.Millisecond)
			}
			abort(t, s)
			for _, err := range wait() {
				if err == nil {
					t.Error("the load ended without an error")
				}
			}
			select {
			case <-s.Done():
			case <-time.After(patience):
				t.Fatal("the server does not end after an abort")
			}
			if s.OpenFiles() != 0 {
				t.Errorf("%d files are open", s.OpenFiles())
			}
			must(t, unix.Unmount(dir, unix.MNT_DETACH)) // the dead mount
			if i == 0 {                                 // what the first time makes for good is no leak
				before, maps = runtime.NumGoroutine(), mappings(t)
			}
		}
		for end := time.Now().Add(patience); runtime.NumGoroutine() > before+4 && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > before+4 { // the cleanups of mountOn hold timers, no goroutines
			t.Errorf("%d goroutines, %d before", n, before)
		}
		if n := mappings(t); n > maps+1 {
			t.Errorf("%d arenas, %d before", n, maps)
		}
		must(t, p.Flush())
	})
}

// mappings counts what this process has mapped and kept out of core dumps: arenas of loops.
func mappings(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/smaps")
	must(t, err)
	n := 0
	for l := range strings.SplitSeq(string(b), "\n") {
		if strings.HasPrefix(l, "VmFlags:") && strings.Contains(l, " dd ") && strings.Contains(l, " dc ") {
			n++
		}
	}
	return n
}

// TestUnmountWhileBusy: refused under load; detached, the load goes on, and its end is the mount's.
func TestUnmountWhileBusy(t *testing.T) {
	onTransports(t, func(t *testing.T, v variant) {
		s, _, _ := mountPool(t, v)
		path := filepath.Join(s.Dir(), "v")
		fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
		must(t, err)
		must(t, unix.Ftruncate(fd, 16<<20))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				buf := pattern(8192, byte(w))
				for i := int64(0); ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := unix.Pwrite(fd, buf, (i%256)*32768+int64(w)*8192); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 20 {
			wantErr(t, "unmount", s.Unmount(), unix.EBUSY)
		}
		must(t, s.Detach())
		time.Sleep(20 * time.Millisecond)
		select {
		case <-s.Done():
			t.Error("the server has ended under an open file")
		default:
		}
		close(stop)
		wg.Wait()
		must(t, unix.Fsync(fd))
		must(t, unix.Close(fd))
		select {
		case <-s.Done():
		case <-time.After(patience):
			t.Error("the server goes on after the last close")
		}
	})
}
