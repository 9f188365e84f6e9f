package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// user runs commands of the lab as another user of the host, with these groups.
func (l *lab) user(uid int, groups string) *lab {
	id := fmt.Sprint(uid)
	home := l.path("home" + id)
	must(l.t, os.MkdirAll(home, 0o755))
	must(l.t, os.Chown(home, uid, uid))
	set := []string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups"}
	if groups != "" {
		set[3] = "--groups=" + groups
	}
	return &lab{t: l.t, dir: l.dir, as: set, env: []string{"HOME=" + home, "SLATEFS_STATE_DIR=" + home, "SLATEFS_RUN_DIR=" + l.path("run")}}
}

// guestUID is a user that guests run as: libvirt-qemu on Debian.
const guestUID = 64055

// Members of a group that a mount lets in may look, or change what is in the pool, and no more; nobody else may do anything.
// That is so after a takeover, and it is over with a mount that lets in nobody.
func TestWhoMayAsk(t *testing.T) {
	needsRoot(t)
	needs(t, "setpriv")
	p := newLab(t).newPool("lab", "128M", "")
	member, stranger := p.user(65533, "4242,100"), p.user(65532, "4243")
	v := p.at("v")
	looks := [][]string{
		{"pool", "list"},
		{"pool", "status", "lab"},
		{"list", "-t", "all", "lab"},
		{"tree", v},
		{"get", "all", v},
		{"erase", "status", "lab"},
		{"erase", "log", "lab"},
	}
	changes := [][]string{
		{"snapshot", v + "@m"},
		{"clone", v + "@m", p.at("c")},
		{"set", "erase_throughput=20M", "lab"},
		{"rollback", v + "@m"},
		{"destroy", "-R", v + "@m"},
		{"create", "--size", "1M", p.at("n")},
		{"resize", p.at("n"), "2M"},
		{"rename", p.at("n"), p.at("n2")},
		{"erase", "wait", "lab"},
	}
	owns := [][]string{
		{"set", "on_low_space=true", "lab"},
		{"set", "autoextend_threshold=50", "lab"},
		{"erase", "certificate", v, "lab"},
		{"erase", "certificate", "-n", v, "lab"},
		{"pool", "check", "--online", "lab"},
		{"pool", "dump", "lab"},
		{"erase", "audit", "lab"},
		{"reload", "lab"},
		{"umount", p.mnt},
		{"pool", "extend", "lab", "+64M"},
	}
	try := func(who *lab, name string, list [][]string, may bool, says string) {
		t.Helper()
		for _, args := range list {
			r := who.try(args...)
			// pool list of who may not ask has nothing.
			ok := r.code == 0 && (args[1] != "list" || strings.Contains(r.stdout, "lab"))
			if ok != may || !may && !strings.Contains(r.stderr+"none", says) {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
	for _, c := range []struct {
		opts          string
		look, change  bool
		refused, host string
	}{
		{"", false, false, "", ""},
		{"readers=4242", true, false, "user 65533 may look, and not change anything", "user 65533 may look, and not change anything"},
		{"operators=4242", true, true, "user 65533 may change what is in the pool, and not what reaches beyond it", "reaches beyond the pool"},
	} {
		p.opts = c.opts
		p.mount()
		p.slatefs("create", "--size", "1M", v)
		p.slatefs("set", "on_low_space=echo secret", "lab")
		for range 2 {
			try(stranger, "a stranger at "+c.opts, append(append(looks, changes...), owns...), false, "")
			try(member, "a member at "+c.opts, looks, c.look, c.refused)
			try(member, "a member at "+c.opts, changes, c.change, c.refused)
			try(member, "a member at "+c.opts, owns[:2], false, c.host)
			try(member, "a member at "+c.opts, owns[2:], false, c.refused)
			out := member.try("get", "-H", "on_low_space,erase_throughput", "lab").stdout
			if strings.Contains(out, "secret") || c.look != strings.Contains(out, "erase_throughput") {
				t.Errorf("get by a member: %s", out)
			}
			for _, path := range []string{"run/*.lock", "run/*.json", "state/conf/*", "state/log/*"} {
				if r := member.exec("sh", "-c", "cat "+p.path(path)+" || exit 7"); r.code != 7 {
					t.Errorf("a member reads %s", path)
				}
			}
			if c.change {
				if log := string(read(t, p.path("state/log/lab.log"))); !strings.Contains(log, `command=rename pool=lab by="uid 65533,`) {
					t.Error("the log does not say who it was")
				}
				p.slatefs("destroy", p.at("n2"))
			}
			p.slatefs("inherit", "erase_throughput", "lab")
			p.killDaemon()
		}
		p.slatefs("destroy", "-r", v)
		p.umount()
	}
	p.opts = "operators=4242"
	p.mount()
	if r := member.try("list", "lab"); r.code != 0 {
		t.Error(r)
	}
	p.kill() // what let the group in is left, and not heeded
	p.opts = ""
	p.mount()
	if r := member.try("list", "lab"); r.code != 1 {
		t.Error(r)
	}
	p.umount()
	p.refuses(1, []string{"group nosuchgroup"}, "mount", "-o", "readers=nosuchgroup", "lab", p.mnt)
	p.refuses(2, []string{"one group"}, "mount", "-o", "readers=1,operators=2", "lab", p.mnt)
}

// A guest's user reads and writes the file that is its own, and nothing else: the kernel checks, by default_permissions, what the
// pool keeps of owners and modes.
func TestGuestsUser(t *testing.T) {
	needsRoot(t)
	needs(t, "setpriv", "setfattr", "chattr")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "128M", tr)
		if line := p.tool("findmnt", "-n", "-o", "OPTIONS", p.mnt); !strings.Contains(line, "default_permissions") {
			t.Error(line)
		}
		mine, other, dir := p.at("mine"), p.at("other"), p.at("tenant")
		p.slatefs("create", "--size", "1M", mine, other)
		must(t, os.Mkdir(dir, 0o700))
		p.slatefs("create", "--size", "1M", filepath.Join(dir, "v"))
		for _, path := range []string{mine, other} {
			must(t, os.Chmod(path, 0o600))
		}
		must(t, os.Chown(mine, guestUID, guestUID))
		must(t, os.Symlink("/etc/shadow", p.at("link")))
		p.slatefs("snapshot", mine+"@s", other+"@s", filepath.Join(dir, "v@s"))
		u := p.user(guestUID, "")
		sh := func(line string) result {
			return u.exec("sh", "-c", strings.NewReplacer("MINE", mine, "OTHER", other, "DIR", dir, "MNT", p.mnt).Replace(line))
		}
		for _, line := range []string{
			"echo own | dd of=MINE conv=notrunc,fsync status=none", "grep -aq own MINE", "cat MNT/.snap/mine@s", "ls MNT/.snap",
			"fallocate -p -o 8192 -l 4096 MINE",
			"truncate -s 2M MINE", "truncate -s 1M MINE", "chmod 640 MINE", "chmod 600 MINE", "touch MINE", "setfattr -n user.note -v x MINE",
			"stat OTHER",
		} {
			if r := sh(line); r.code != 0 {
				t.Errorf("a guest's user, of its own file: %s: %v", line, r)
			}
		}
		settings := func() string { // of get all: the numbers, which nobody sets, have no source
			lines := slices.DeleteFunc(strings.Split(p.slatefs("get", "-H", "all", "lab", mine), "\n"), func(line string) bool {
				return strings.HasSuffix(line, "\t-")
			})
			return strings.Join(lines, "\n")
		}
		before := settings()
		for _, line := range []string{
			"cat OTHER", "echo x >>OTHER", "truncate -s 0 OTHER", "cat MNT/.snap/other@s", "ls DIR", "cat DIR/v", "ls DIR/.snap",
			"cat DIR/.snap/v@s", "cat MNT/link",
			"echo x >MNT/new", "mkdir MNT/newdir", "ln -s x MNT/newlink", "ln MINE MNT/hard", "mkfifo MNT/fifo", "mknod MNT/node b 7 0",
			"rm -f MINE",
			"mv MINE MNT/moved", "mv -f OTHER MINE", "rm -f OTHER", "rmdir MNT/.snap", "mkdir MNT/.snap/x", "echo x >>MNT/.snap/mine@s",
			"rm -f MNT/.snap/mine@s",
			"chmod u+w MNT/.snap/mine@s", "mv MNT/.snap/mine@s MNT/x", "chown 0 MINE", "chgrp 0 MINE", "chown GUEST OTHER", "chmod 666 OTHER",
			"chmod 777 MNT",
			"touch -d yesterday OTHER", "chattr +i MINE", "setfattr -n user.x -v x OTHER", "setfattr -n user.x -v x MNT",
			"setfattr -n trusted.x -v x MINE",
			"setfattr -n security.capability -v 0sAQAAAg== MINE", "setfattr -n system.posix_acl_access -v x MINE",
			"setfattr -n user.x -v x MNT/.snap/mine@s",
			program + " snapshot MINE@u", program + " destroy MINE", program + " set quota=1M MNT", program + " list MNT", program + " umount MNT",
		} {
			if r := sh(strings.ReplaceAll(line, "GUEST", fmt.Sprint(guestUID))); r.code == 0 {
				t.Errorf("a guest's user may: %s: %v", line, r)
			}
		}
		// An attribute steers nothing, whatever it is called.
		for _, name := range []string{"user.slatefs.refreservation", "user.quota", "user.erase"} {
			p.ok(sh("setfattr -n " + name + " -v none MINE"))
		}
		if after := settings(); after != before {
			t.Errorf("properties were\n%s\nand are\n%s", before, after)
		}
		var st unix.Stat_t
		must(t, unix.Stat(mine, &st))
		if st.Uid != guestUID || st.Mode&0o7777 != 0o600 || st.Size != 1<<20 {
			t.Errorf("%+v", st)
		}
		if names := p.tool("ls", "-A", p.mnt); names != "link\nmine\nother\ntenant\n" {
			t.Errorf("there is now:\n%s", names)
		}
	})
}
