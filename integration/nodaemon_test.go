package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/fs/mounts"
)

// goneUser is somebody who uses a mount while no daemon serves it: what he has written and not flushed before, and a read that waits.
type goneUser struct {
	fd   int
	data []byte
	got  chan error
}

// read begins a read of what he has written.
func (u *goneUser) read() {
	u.got = make(chan error, 1)
	go func() {
		b := make([]byte, len(u.data))
		_, err := unix.Pread(u.fd, b, 0)
		if err == nil && string(b) != string(u.data) {
			err = errors.New("other bytes")
		}
		u.got <- err
	}()
}

// endCase is how a mount ends whose daemon has died, and whose device is away.
type endCase struct {
	name  string
	open  bool // somebody has a file open, and reads
	end   func(p *pool) result
	waits bool // for the next daemon, as umount(8) does: it asks a mount what it is before it takes it away
	code  int  // of end, which says that it is busy unless it is 0
	lost  bool // a user gets an error; else he is served when the device is back
	kept  bool // what was acknowledged and not flushed is there
}

func umount(more ...string) func(p *pool) result {
	return func(p *pool) result { return p.exec("umount", append(more, p.mnt)...) }
}

func fusermount(p *pool) result { return p.exec("fusermount3", "-u", p.mnt) }

var endCases = []endCase{
	{name: "umount", end: umount(), waits: true, kept: true},
	{name: "umount, busy", open: true, end: umount(), waits: true, code: 32, kept: true},
	{name: "umount -l", open: true, end: umount("-l"), kept: true},
	{name: "fusermount3 -u", end: fusermount, kept: true},
	{name: "fusermount3 -u, busy", open: true, end: fusermount, code: 1, kept: true},
	{name: "slatefs umount --force, by name, after umount -l", // of one that is mounted: TestTakeoverGivenUp
		end: func(p *pool) result {
			p.tool("umount", "-l", p.mnt)
			return p.try("umount", "--force", p.name)
		}},
	{name: "abort", open: true, end: abortMount, lost: true, kept: true},
	{name: "abort, nobody", end: abortMount, kept: true},
}

// TestEndsWithoutDaemon: a mount whose daemon has died, and whose device is away, ends by whatever takes mounts away: busy is said at
// once, a user who can't be served any more gets an error, and nothing hangs. What was acknowledged is written when the device comes
// back, unless the mount was given up.
func TestEndsWithoutDaemon(t *testing.T) {
	needsRoot(t)
	needs(t, "fusermount3", "umount")
	for i, c := range endCases {
		t.Run(c.name, func(t *testing.T) { c.run(t, "transport="+transports[i%len(transports)]) })
	}
}

func (c endCase) run(t *testing.T, tr string) {
	p := takeoverPool(t, tr)
	p.slatefs("create", "--size", "4M", p.at("a"))
	u := &goneUser{fd: open(t, p.at("a"), unix.O_RDWR), data: stamped(64<<10, 1, 0, 7)}
	_, err := unix.Pwrite(u.fd, u.data, 0)
	must(t, err)
	if !c.open {
		closeFD(t, u.fd)
		eventually(t, "the close", patience, func() bool { return p.info().Info.OpenFiles == 0 })
	}
	daemon, hidden := p.info().Info.Daemon, p.device+".hidden"
	supervisor, err := unix.PidfdOpen(daemon.Supervisor, 0)
	must(t, err)
	defer unix.Close(supervisor)
	must(t, os.Rename(p.device, hidden))
	must(t, unix.Kill(daemon.PID, unix.SIGKILL))
	eventually(t, "the daemon's end", patience, func() bool { return errors.Is(unix.Kill(daemon.PID, 0), unix.ESRCH) })
	if c.open {
		u.read()
	}
	ended := make(chan result, 1)
	go func() { ended <- c.end(p) }()
	if !c.waits {
		c.judge(t, <-ended)
	}
	if c.lost {
		if err := <-u.got; !c.open || !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("a user's read: %v", err)
		}
	}
	must(t, os.Rename(hidden, p.device))
	if c.waits {
		c.judge(t, <-ended)
	}
	if c.open && !c.lost {
		must(t, <-u.got)
	}
	if c.open {
		_ = unix.Close(u.fd) // it may be ENOTCONN
	}
	if c.code != 0 {
		p.waitServed(daemon.PID)
		p.umount()
	}
	p.waitEnd(supervisor)
	p.watch.Stop()
	if p.mounted() { // it was aborted: a dead mount stays where it is
		p.slatefs("umount", p.mnt)
	}
	p.check()
	p.mount()
	if got := read(t, p.at("a")); c.kept && !strings.HasPrefix(string(got), string(u.data)) {
		t.Error("what was written is not there")
	}
}

// judge looks at what became of the command.
func (c endCase) judge(t *testing.T, r result) {
	t.Helper()
	if r.code != c.code || c.code != 0 && !strings.Contains(r.stderr, "busy") {
		t.Errorf("want exit %d: %v", c.code, r)
	}
	t.Logf("it took %v", r.took.Round(time.Millisecond))
}

// abortMount has the kernel fail all requests of a mount, now and ever.
func abortMount(p *pool) (r result) {
	p.t.Helper()
	table, err := mounts.Own()
	must(p.t, err)
	m, ok := table.On(p.mnt)
	if !ok {
		p.t.Fatalf("%s is not mounted", p.mnt)
	}
	_, minor, _ := strings.Cut(m.Dev, ":")
	must(p.t, os.WriteFile("/sys/fs/fuse/connections/"+minor+"/abort", []byte("1"), 0))
	return r
}
