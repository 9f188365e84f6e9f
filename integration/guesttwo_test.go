package integration

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a guest that runs commands for the test, one after the other.
type shell struct{ *guest }

func (l *lab) newShell(name string, disks ...disk) shell {
	l.t.Helper()
	s := shell{l.newGuest(insideLimit, "sh", disks...)}
	s.ok("hostname " + name + "; echo " + fmt.Sprintf("%x", strings.Repeat(name[:1], 16)) + " >/etc/machine-id; mkdir -p /mnt/vms")
	return s
}

// run runs a command line.
func (s shell) run(line string) (out string, code int) {
	s.t.Helper()
	from := s.text.Len()
	s.send(line + "; code=$?; echo; echo @$code") // an end of its own, whatever the command printed
	code, err := strconv.Atoi(s.until("@"))
	must(s.t, err)
	out = s.text.String()[from:]
	return strings.TrimSpace(out[:strings.LastIndex(out, "@")]), code
}

// ok runs a command line that must succeed.
func (s shell) ok(line string) string {
	s.t.Helper()
	out, code := s.run(line)
	if code != 0 {
		s.t.Fatalf("%s: exit %d\n%s", line, code, out)
	}
	return out
}

// refused runs a command line that must fail and say something.
func (s shell) refused(says, line string) {
	s.t.Helper()
	if out, code := s.run(line); code == 0 || !strings.Contains(out, says) {
		s.t.Errorf("%s: exit %d, want a refusal that says %q\n%s", line, code, says, out)
	}
}

func (s shell) signal(sig syscall.Signal) {
	s.t.Helper()
	must(s.t, s.cmd.Process.Signal(sig))
}

// TestGuestTwoHosts: two hosts reach one disk. A pool that one holds the other refuses by name; handing it over loses nothing;
// taking it over from a host that hangs loses nothing that was flushed, and that host, awake again, is read-only before it
// acknowledges a flush.
func TestGuestTwoHosts(t *testing.T) {
	l := newLab(t)
	d := l.image("shared", 256<<20)
	d.share = true
	one, two := l.newShell("one", d), l.newShell("two", d)
	one.ok("lvm vgcreate -q -y vg0 /dev/vda")
	one.ok("slatefs pool create --size 64M vms vg0/vms")
	one.ok("slatefs mount vms /mnt/vms")
	one.ok("dd if=/dev/urandom of=/mnt/vms/a.raw bs=1M count=4 conv=fsync")
	a := one.ok("md5sum </mnt/vms/a.raw")

	two.refused("held by host one (machine 6f6f", "slatefs mount vms /mnt/vms")
	two.refused("is surely off or fenced", "slatefs mount vms /mnt/vms")
	two.refused("held by host one", "slatefs pool destroy --force vms")
	two.refused("held by host one", "slatefs pool create -f x vg0/vms")
	two.refused("held by host one", "slatefs pool extend vms +4M")
	if out := two.ok("slatefs pool status vms"); !strings.Contains(out, "held by: one (machine 6f6f") {
		t.Error(out)
	}
	if out := two.ok("lvm lvs --noheadings -o lv_active vg0/vms"); out != "" {
		t.Errorf("a refused pool's volume is %s", out)
	}

	one.ok("slatefs umount vms")
	two.ok("slatefs mount vms /mnt/vms")
	if got := two.ok("md5sum </mnt/vms/a.raw"); got != a {
		t.Errorf("handed over: %s, want %s", got, a)
	}
	two.ok("dd if=/dev/urandom of=/mnt/vms/b.raw bs=1M count=4 conv=fsync")
	b := two.ok("md5sum </mnt/vms/b.raw")

	two.signal(syscall.SIGSTOP) // it hangs, with the pool mounted
	one.refused("held by host two", "slatefs mount vms /mnt/vms")
	if out := one.ok("slatefs mount --take-over vms /mnt/vms"); !strings.Contains(out, "must not write any more") {
		t.Error(out)
	}
	for file, sum := range map[string]string{"a.raw": a, "b.raw": b} {
		if got := one.ok("md5sum </mnt/vms/" + file); got != sum {
			t.Errorf("taken over: %s is %s, want %s", file, got, sum)
		}
	}
	one.ok("dd if=/dev/urandom of=/mnt/vms/c.raw bs=1M count=4 conv=fsync")
	c := one.ok("md5sum </mnt/vms/c.raw")

	two.signal(syscall.SIGCONT)
	if out, code := two.run("dd if=/dev/zero of=/mnt/vms/b.raw bs=4k count=1 conv=notrunc,fsync"); code == 0 {
		t.Errorf("the host that lost the pool acknowledged a flush: %s", out)
	}
	var status string
	for end := time.Now().Add(patience); !strings.Contains(status, "state: read-only") && time.Now().Before(end); time.Sleep(time.Second) {
		status = two.ok("slatefs pool status vms")
	}
	if !strings.Contains(status, "taken over by host one") {
		t.Errorf("the host that lost the pool says: %s", status)
	}
	if out := one.ok("slatefs pool check --online vms"); !strings.Contains(out, "0 errors, 0 leaks") {
		t.Error(out)
	}
	if got := one.ok("md5sum </mnt/vms/c.raw"); got != c {
		t.Errorf("after the other one woke up: %s, want %s", got, c)
	}
	one.ok("slatefs umount vms")
	if out := one.ok("slatefs pool check vms"); !strings.Contains(out, "0 errors, 0 leaks") {
		t.Error(out)
	}
	for _, s := range []shell{one, two} {
		s.send("exit 0")
		s.wait()
	}
}
