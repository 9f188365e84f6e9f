package integration

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestStoreOfSome has a service manager give a daemon only some of the files that the last one left, the lock of the pool among
// them: that is given up before the pool is looked for, which would be taken for one that is mounted.
func TestStoreOfSome(t *testing.T) {
	p := mountedPool(t, "64M", "transport=classic")
	p.kill() // what it said of itself stays
	locks, err := filepath.Glob(p.path("run/*.lock"))
	must(t, err)
	if len(locks) != 1 {
		t.Fatalf("locks: %q", locks)
	}
	lock, err := os.OpenFile(locks[0], os.O_RDWR, 0)
	must(t, err)
	must(t, unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.path("manager"), Net: "unixgram"})
	must(t, err)
	defer socket.Close()

	// LISTEN_PID must be the daemon's.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", program, "mount", "--foreground", p.name, p.mnt)
	cmd.Dir, cmd.Stderr, cmd.ExtraFiles = p.dir, os.Stderr, []*os.File{lock}
	cmd.Env = append(p.environ(), "NOTIFY_SOCKET="+p.path("manager"), "LISTEN_FDS=1", "LISTEN_FDNAMES=pool-lock")
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	told := make(chan string)
	go tellStates(socket, told)
	removed, ready := false, false
	for !ready {
		select {
		case state := <-told:
			if state == "FDSTOREREMOVE=1\nFDNAME=pool-lock" {
				must(t, lock.Close())
				removed = true
			}
			ready = strings.HasPrefix(state, "READY=1\n")
			told <- "" // go on
		case err := <-ended:
			t.Fatalf("it does not mount: %v", err)
		}
	}
	if !removed || !p.mounted() {
		t.Errorf("it is ready; the lock is given up: %v", removed)
	}
	p.slatefs("umount", p.mnt)
	for {
		select {
		case <-told:
			told <- ""
		case err := <-ended:
			must(t, err)
			p.check()
			return
		}
	}
}

// tellStates passes on what a service manager is told, and forgets the files that come with it when it was heeded.
func tellStates(socket *net.UnixConn, told chan string) {
	text, control := make([]byte, 4<<10), make([]byte, 4<<10)
	for {
		n, c, _, _, err := socket.ReadMsgUnix(text, control)
		if err != nil {
			return
		}
		told <- string(text[:n])
		<-told
		messages, _ := unix.ParseSocketControlMessage(control[:c])
		for _, m := range messages {
			fds, _ := unix.ParseUnixRights(&m)
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
		}
	}
}
