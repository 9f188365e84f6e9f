package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestExperiment does the published experiment, small: whoever rolls back and destroys waits for no zeros, whatever the
// rate; in the end all marks are gone from the device, and just what was freed was zeroed.
func TestExperiment(t *testing.T) {
	needs(t, "jq", "grep", "losetup")
	wd, err := os.Getwd()
	must(t, err)
	for _, c := range []struct{ rate, method string }{{"off", "overwrite"}, {"20M", "auto"}, {"0", "overwrite"}} {
		t.Run(fmt.Sprintf("rate=%s/method=%s", c.rate, c.method), func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, "SLATEFS="+program, "METHOD="+c.method, "TMPDIR="+l.dir)
			const size = 32 << 20
			r := l.exec(filepath.Join(wd, "experiment.sh"), c.rate, "32M")
			cells := strings.Split(strings.TrimSpace(r.stdout), " | ")
			if r.code != 0 || len(cells) != 9 {
				t.Fatal(r)
			}
			t.Log("rate, snapshot, rollback, delete, destroy, all is zero after, bytes zeroed, rate achieved, marks left\n", r.stdout)
			zeroed, marks := cells[6], strings.TrimSuffix(cells[8], " |")
			if c.rate == "off" {
				if marks != fmt.Sprint(size/4096*3/2) || cells[5] != "never" {
					t.Errorf("%s marks are left, of %d", marks, size/4096*3/2)
				}
				return
			}
			if zeroed != fmt.Sprint(size*3/2) || marks != "0" {
				t.Errorf("%s bytes zeroed of %d, %s marks are left", zeroed, size*3/2, marks)
			}
		})
	}
}

// deviceWrites is how many bytes were written to a block device so far, by the kernel's count.
func deviceWrites(t *testing.T, dev string) int64 {
	t.Helper()
	b, err := os.ReadFile("/sys/block/" + filepath.Base(dev) + "/stat")
	must(t, err)
	sectors, err := strconv.ParseInt(strings.Fields(string(b))[6], 10, 64)
	must(t, err)
	return sectors * 512
}

// TestEraseRateOnTheDevice counts the bytes that reach the device, by the clock on the wall: never more than the rate
// allows, and all of that where the device does twice as much.
func TestEraseRateOnTheDevice(t *testing.T) {
	needsRoot(t)
	needs(t, "losetup", "dd")
	const size = 3200 << 20
	l := newLab(t)
	l.tool("dd", "if=/dev/zero", "of="+l.path("image"), "bs=1M", fmt.Sprintf("count=%d", size>>20), "conv=fsync", "status=none")
	dev := loop(t, l, l.path("image"), "--direct-io=on")
	const mib = 1 << 20
	var p *pool
	// fresh is how fast the device is now by dd, and makes a pool on it: all of it is to be erased.
	fresh := func() (device float64) {
		if p != nil {
			p.umount()
		}
		start := time.Now()
		l.tool("dd", "if=/dev/zero", "of="+dev, "bs=1M", "seek=64", "count=1024", "oflag=direct", "conv=fsync,notrunc", "status=none")
		device = float64(1<<30) / time.Since(start).Seconds()
		t.Logf("dd: %.0f MiB/s", device/mib)
		p = l.createPool("lab", dev, "", "-f", "-o", "erase_throughput=5M", "-o", "erase_method=overwrite")
		p.mount()
		return device
	}
	fresh()
	for _, c := range []struct {
		rate int64
		time time.Duration
	}{{5 * mib, 10 * time.Second}, {50 * mib, 10 * time.Second}, {200 * mib, 10 * time.Second}, {5 * mib, 4 * time.Second}} {
		rate := float64(c.rate)
		// What a machine with other work to do takes away for more than a second is not made up for: up to three times,
		// and only if the device does twice the rate after it, too.
		for try := 1; ; try++ {
			p.slatefs("set", fmt.Sprintf("erase_throughput=%d", c.rate), p.mnt) // live
			time.Sleep(1100 * time.Millisecond)
			from, before := time.Now(), deviceWrites(t, dev)
			time.Sleep(c.time)
			bytes, seconds := float64(deviceWrites(t, dev)-before), time.Since(from).Seconds()
			t.Logf("rate %d MiB/s: %.2f MiB/s reach the device, %+.2f %%", c.rate/mib, bytes/seconds/mib, (bytes/seconds/rate-1)*100)
			// There is a step of 50 ms at both ends, and what a stall before owed is made up for within a second.
			if bytes > rate*(seconds+1+0.1)*1.01 {
				t.Errorf("rate %d: %.0f bytes in %.3f s: above the bound", c.rate, bytes, seconds)
			}
			if bytes >= 0.99*rate*(seconds-0.1) {
				break
			}
			device := fresh()
			if device < 2*rate {
				t.Logf("rate %d is not judged: the device does not do twice that", c.rate)
				break
			}
			if try == 3 {
				t.Errorf("rate %d: %.0f bytes in %.3f s: below it", c.rate, bytes, seconds)
				break
			}
		}
	}
	info := p.erase()
	if info.Demand != 0 || info.Counters.Methods["overwrite"].Background != info.Background {
		t.Errorf("%+v", info)
	}
}

// eraseInfo is a part of what erase status -j says.
type eraseInfo struct {
	Dirty, Failed int64
	Background    int64 `json:"erased_in_background"`
	Demand        int64 `json:"erased_on_demand"`
	Counters      struct {
		Queue   int
		Methods map[string]struct {
			Background int64
			Demand     int64 `json:"on_demand"`
		} `json:"bytes_by_method"`
	}
}

func (p *pool) erase() eraseInfo {
	p.t.Helper()
	var out struct{ Erase eraseInfo }
	must(p.t, json.Unmarshal([]byte(p.slatefs("erase", "status", "-j", p.mnt)), &out))
	return out.Erase
}

// TestFortyTrims trims forty volumes at once, while one that needs new blocks is written: no writer starves at any rate of
// the background, and the queue drains.
func TestFortyTrims(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		const (
			volumes = 40
			each    = 8 << 20
			piece   = 256 << 10
		)
		p := mountedPool(t, "448M", tr)
		p.slatefs("set", "erase_throughput=1M", p.mnt)
		var fds []int
		for i := range volumes {
			fd := open(t, p.at(volName(i)), unix.O_RDWR|unix.O_CREAT)
			defer closeFD(t, fd)
			must(t, pwrite(fd, stamped(each, i, 0, 1), 0))
			must(t, unix.Fsync(fd))
			fds = append(fds, fd)
		}
		w := open(t, p.at("writer.raw"), unix.O_RDWR|unix.O_CREAT|unix.O_DIRECT)
		defer closeFD(t, w)
		var wg sync.WaitGroup
		var trims atomic.Int64
		begin := make(chan struct{})
		for _, fd := range fds {
			wg.Go(func() {
				<-begin
				if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, each); err != nil {
					t.Errorf("trim: %v", err)
				}
				trims.Add(1)
			})
		}
		close(begin)
		// More than is clean: without the blocks that are trimmed meanwhile there is no room for it.
		var longest time.Duration
		const all = 256 << 20
		for at := int64(0); at < all; at += piece {
			start := time.Now()
			err := pwrite(w, stamped(piece, volumes, at, 2), at)
			for errors.Is(err, unix.ENOSPC) && trims.Load() < volumes {
				err = pwrite(w, stamped(piece, volumes, at, 2), at)
			}
			if err != nil {
				t.Fatalf("the writer starves at %d: %v", at, err)
			}
			longest = max(longest, time.Since(start))
		}
		must(t, unix.Fsync(w))
		wg.Wait()
		info := p.erase()
		t.Logf("the longest write took %v; %d MiB were erased on demand, %d MiB in the background", longest, info.Demand>>20, info.Background>>20)
		if info.Demand == 0 {
			t.Error("nothing was erased on demand: the pool is too large for this test")
		}
		p.slatefs("set", "erase_throughput=0", p.mnt)
		p.slatefs("erase", "wait", "--timeout", "10m", p.mnt)
		info = p.erase()
		if info.Dirty != 0 || info.Failed != 0 || info.Counters.Queue != 0 || info.Background+info.Demand < volumes*each {
			t.Errorf("the queue does not drain: %+v", info)
		}
		p.slatefs("erase", "audit", p.mnt)
	})
}

// pwrite writes all of b.
func pwrite(fd int, b []byte, off int64) error {
	n, err := unix.Pwrite(fd, b, off)
	if err == nil && n != len(b) {
		err = fmt.Errorf("%d of %d bytes written", n, len(b))
	}
	return err
}
