package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOrdinaryUser does the main job as a user without any rights, by fusermount3. Root becomes nobody for it.
func TestOrdinaryUser(t *testing.T) {
	needs(t, "fusermount3")
	l := newLab(t)
	home := l.path("h")
	must(t, os.Mkdir(home, 0o755))
	if isRoot() {
		needs(t, "setpriv", "nsenter", "unshare")
		must(t, os.Chown(home, 65534, 65534))
		// The registry is where a user without any settings has it.
		l.env = []string{"HOME=" + home, "XDG_STATE_HOME=", "XDG_RUNTIME_DIR=", "TMPDIR=" + home}
		l.as = asUser(l, 65534)
	}
	if r := l.exec("test", "-w", "/dev/fuse"); r.code != 0 {
		t.Skip("/dev/fuse is not for ordinary users here")
	}
	device, mnt := filepath.Join(home, "mine.pool"), filepath.Join(home, "mnt")
	l.tool("mkdir", mnt)
	l.slatefs("pool", "create", "--size", "128M", "mine", device)
	l.slatefs("mount", "mine", mnt)
	if out := l.slatefs("pool", "status", "mine"); !strings.Contains(out, "classic: no loop: only for root") {
		t.Errorf("how it is served: %s", out)
	}
	v, w := mnt+"/v.raw", mnt+"/w.raw"
	l.slatefs("create", "--size", "32M", v)
	l.tool("sh", "-c", fmt.Sprintf("echo precious | dd of=%s conv=notrunc,fsync status=none", v))
	l.slatefs("snapshot", v+"@s")
	l.tool("dd", "if=/dev/urandom", "of="+v, "bs=1M", "count=4", "oflag=direct", "conv=notrunc", "status=none")
	l.slatefs("rollback", v+"@s")
	if got := l.tool("head", "-c", "9", v); got != "precious\n" {
		t.Errorf("%q", got)
	}
	l.tool("cp", v, mnt+"/copy.raw") // files come by open(2) as well
	l.tool("mkdir", mnt+"/images")
	l.tool("cmp", v, mnt+"/copy.raw")
	l.slatefs("clone", v+"@s", w)
	l.slatefs("destroy", w)
	l.slatefs("set", "erase_throughput=0", "mine")
	l.slatefs("erase", "wait", "mine")
	if isRoot() { // another user is not listened to
		other := &lab{t: t, dir: l.dir, as: asUser(l, 65533), env: l.env}
		if r := other.try("snapshot", v+"@stolen"); r.code != 1 {
			t.Errorf("another user: %v", r)
		}
	}
	if list := l.slatefs("list", "-Hp", "-t", "snapshot", "-o", "name"); list != v+"@s\n" {
		t.Errorf("snapshots: %s", list)
	}
	l.slatefs("umount", mnt)
	if r := l.exec("grep", " "+mnt+" ", "/proc/self/mountinfo"); r.code == 0 {
		t.Errorf("still mounted: %v", r)
	}
	l.slatefs("pool", "check", "mine")
	l.slatefs("pool", "destroy", "--force", "mine")
}

// asUser is what runs a command as an ordinary user, in a mount namespace where /dev/fuse is open to all, as udev has it.
func asUser(l *lab, uid int) []string {
	l.t.Helper()
	script := fmt.Sprintf("cp -a /dev/fuse %[1]s && chmod 666 %[1]s && mount --bind %[1]s /dev/fuse; echo ready; read end", l.path(fmt.Sprint("fuse", uid)))
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	in, err := cmd.StdinPipe()
	must(l.t, err)
	out, err := cmd.StdoutPipe()
	must(l.t, err)
	must(l.t, cmd.Start())
	l.t.Cleanup(func() {
		must(l.t, in.Close())
		_ = cmd.Wait() // read ends with 1 at the end of its input
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		l.t.Fatalf("namespace: %q, %v", line, err)
	}
	id := fmt.Sprint(uid)
	return []string{"nsenter", "--mount", "--target", fmt.Sprint(cmd.Process.Pid), "setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}
}
