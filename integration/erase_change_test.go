package integration

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestChangesDuringAnErase changes what is erased first, and how, again and again while blocks are being erased: the daemon
// lives, and in the end all is erased.
func TestChangesDuringAnErase(t *testing.T) {
	needsRoot(t)
	needs(t, "losetup")
	const each = 12 << 20
	l := newLab(t)
	f, err := os.Create(l.path("image"))
	must(t, err)
	must(t, f.Truncate(160<<20))
	must(t, f.Close())
	p := l.createPool("lab", loop(t, l, l.path("image")), "", "-f", "-o", "erase_throughput=0")
	p.mount()
	p.slatefs("erase", "wait", "--timeout", "10m", p.mnt)
	pid := p.pid()
	p.slatefs("set", "erase_throughput=4M", p.mnt)
	for i := range 3 {
		fd := open(t, p.at(volName(i)), unix.O_RDWR|unix.O_CREAT)
		must(t, pwrite(fd, stamped(each, i, 0, 1), 0))
		must(t, unix.Fsync(fd))
		closeFD(t, fd)
	}
	for i := range 3 {
		must(t, os.Remove(p.at(volName(i))))
	}
	jobs := func() (ids []string, busy bool) {
		for _, line := range strings.Split(strings.TrimSpace(p.slatefs("erase", "status", "-Hp", p.mnt)), "\n") {
			if cells := strings.Split(line, "\t"); len(cells) > 1 {
				ids, busy = append(ids, cells[0]), busy || cells[len(cells)-1] == "erasing"
			}
		}
		return ids, busy
	}
	changed := 0
	for n := 0; ; n++ {
		ids, busy := jobs()
		if len(ids) == 0 {
			break
		}
		if _, err := strconv.Atoi(ids[0]); err != nil {
			t.Fatalf("job %q", ids[0])
		}
		if !busy { // a walk, or the next step
			continue
		}
		changed++
		if r := p.try("erase", "first", ids[len(ids)-1], p.mnt); r.code != 0 && !strings.Contains(r.stderr, "not found") {
			t.Fatal(r)
		}
		p.slatefs("set", "erase_method="+[]string{"zeroout", "overwrite"}[n%2], p.mnt)
		if n == 60 {
			p.slatefs("set", "erase_throughput=0", p.mnt)
		}
	}
	if changed < 10 {
		t.Errorf("only %d changes while something was being erased", changed)
	}
	p.slatefs("erase", "wait", "--timeout", "10m", p.mnt)
	if now := p.pid(); now != pid {
		t.Errorf("the daemon was %d and is %d", pid, now)
	}
	if info := p.erase(); info.Dirty+info.Failed != 0 {
		t.Errorf("%+v", info)
	}
	p.slatefs("erase", "audit", p.mnt)
}
