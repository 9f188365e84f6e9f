//go:build guest

package inside

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// reclaimBytes is what TestReclaim dirties, in bytes: more than the guest has memory. SLATEFS_SCALE=full: 2 GiB.
func reclaimBytes() int64 {
	if os.Getenv("SLATEFS_SCALE") == "full" {
		return 2 << 30
	}
	return 512 << 20
}

// TestReclaim dirties more than there is memory in a file system that lies on a volume, by way of a loop device, on the host that
// serves it: to free memory the kernel writes to the daemon, which needs memory to write. Nobody waits for himself, nobody is
// ended, and all of it is there.
func TestReclaim(t *testing.T) {
	var info unix.Sysinfo_t
	must(t, unix.Sysinfo(&info))
	t.Logf("%d MiB of memory, %d free, no swap: %v", info.Totalram>>20, info.Freeram>>20, info.Totalswap == 0)
	for _, transport := range []string{"classic", "loop"} {
		t.Run(transport, func(t *testing.T) { reclaim(t, transport) })
	}
}

func reclaim(t *testing.T, transport string) {
	dir, on := mountpoint(t, "short"), mountpoint(t, "ext4")
	slatefs(t, "pool create -f --zero-now short /dev/vda")
	slatefs(t, "mount --memory 64M -o transport="+transport+" short "+dir)
	pid := daemonOf(t, "short")
	supervisorIsSpared(t, pid)
	slatefs(t, "create --size 2800M "+dir+"/disk.raw")
	dev := strings.TrimSpace(run(t, "losetup", "-f"))
	run(t, "losetup", dev, dir+"/disk.raw")
	run(t, "mke2fs", "-q", "-t", "ext4", dev)
	must(t, unix.Mount(dev, on, "ext4", 0, ""))

	const files = 4
	each := reclaimBytes() / files
	var wg sync.WaitGroup
	for i := range files {
		wg.Go(func() {
			if err := dirty(filepath.Join(on, strconv.Itoa(i)), byte('a'+i), each, i == 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	allFlushIO(t, pid)
	unix.Sync()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, most, _ := strings.Cut(string(status), "VmHWM:")
	t.Logf("%d MiB were dirtied; the daemon had %s KiB at most", reclaimBytes()>>20, strings.Fields(most)[0])
	must(t, unix.Unmount(on, 0))
	run(t, "losetup", "-d", dev)
	run(t, "e2fsck", "-fn", dir+"/disk.raw")

	run(t, "losetup", dev, dir+"/disk.raw")
	must(t, unix.Mount(dev, on, "ext4", unix.MS_RDONLY, ""))
	for i := range files {
		if err := isDirtied(filepath.Join(on, strconv.Itoa(i)), byte('a'+i), each); err != nil {
			t.Error(err)
		}
	}
	must(t, unix.Unmount(on, 0))
	run(t, "losetup", "-d", dev)
	if now := daemonOf(t, "short"); now != pid {
		t.Errorf("the daemon is process %d, it was %d", now, pid)
	}
	slatefs(t, "umount "+dir)
	clean(t, "after reclaim", "short")
	slatefs(t, "pool destroy --force short")
	for line := range strings.Lines(run(t, "dmesg")) {
		for _, word := range []string{"Out of memory", "oom-kill", "blocked for more than", "I/O error", "lockdep"} {
			if strings.Contains(line, word) {
				t.Errorf("kernel: %s", line)
			}
		}
	}
}

// dirty writes a file of n bytes, by write(2), or through a map of it that is dirty until memory is wanted.
func dirty(path string, name byte, n int64, mapped bool) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const piece = 1 << 20
	p := pattern(piece, name)
	if !mapped {
		for off := int64(0); off < n; off += piece {
			if _, err := f.WriteAt(p, off); err != nil {
				return err
			}
		}
		return nil
	}
	if err := f.Truncate(n); err != nil {
		return err
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	for off := int64(0); off < n; off += piece {
		copy(m[off:], p)
	}
	return unix.Munmap(m)
}

// isDirtied reads what dirty wrote.
func isDirtied(path string, name byte, n int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const piece = 1 << 20
	want, got := pattern(piece, name), make([]byte, piece)
	for off := int64(0); off < n; off += piece {
		if _, err := f.ReadAt(got, off); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s: at %d is not what was written", path, off)
		}
	}
	return nil
}

// supervisorIsSpared: the kernel ends a daemon for want of memory as any other process, and its parent, which starts the next one, never.
func supervisorIsSpared(t *testing.T, daemon int) {
	t.Helper()
	adjust := func(pid string) string {
		b, err := os.ReadFile("/proc/" + pid + "/oom_score_adj")
		must(t, err)
		return strings.TrimSpace(string(b))
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", daemon))
	must(t, err)
	stat := string(b)
	parent := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[1]
	if of, own := adjust(strconv.Itoa(daemon)), adjust("self"); of != own || adjust(parent) != "-1000" {
		t.Errorf("oom_score_adj of daemon %d is %s, of its parent %s; want %s, -1000", daemon, of, adjust(parent), own)
	}
}

// allFlushIO: each thread of a process, those of the kernel for its io_uring too, says that reclaim may wait for it.
func allFlushIO(t *testing.T, pid int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	must(t, err)
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // it has ended
		}
		stat := string(b)
		flags, err := strconv.ParseUint(strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])[6], 10, 64)
		must(t, err)
		const noIO, localThrottle = 0x80000, 0x100000 // PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE
		if flags&noIO == 0 || flags&localThrottle == 0 {
			t.Errorf("flags %#x of %s", flags, stat)
		}
	}
}
