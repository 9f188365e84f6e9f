package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTakeoverKeepsOpen: what was unlinked while it is open lives as long as it is open, whoever serves it, and not longer; and
// what is open is counted exactly.
func TestTakeoverKeepsOpen(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		for _, name := range []string{"gone", "stays"} {
			p.slatefs("create", "--size", "4M", p.at(name))
		}
		gone := open(t, p.at("gone"), unix.O_RDWR)
		data := stamped(64<<10, 1, 0, 7)
		if _, err := unix.Pwrite(gone, data, 0); err != nil {
			t.Fatal(err)
		}
		must(t, unix.Unlink(p.at("gone")))
		for range 2 {
			p.killDaemon()
			got := make([]byte, len(data))
			if _, err := unix.Pread(gone, got, 0); err != nil || string(got) != string(data) {
				t.Errorf("an unlinked file that is open: %v", err)
			}
			if _, err := unix.Pwrite(gone, data, 0); err != nil {
				t.Error(err)
			}
			for range 50 {
				closeFD(t, open(t, p.at("stays"), unix.O_RDWR))
			}
			if n := p.info().Info.OpenFiles; n > 2 { // a close may be on its way
				t.Errorf("%d files are open, want 1", n)
			}
		}
		held := p.info().Info.Usage.Live
		closeFD(t, gone)
		eventually(t, "the unlinked file ends with its last close", patience, func() bool {
			i := p.info().Info
			return i.OpenFiles == 0 && i.Usage.Live < held
		})
	})
}

// TestTakeoverGivenUp: a mount whose daemon died, and none comes, waits, and goes on when one can; umount --force ends it before that.
func TestTakeoverGivenUp(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		p.slatefs("create", "--size", "4M", p.at("a"))
		fd := open(t, p.at("a"), unix.O_RDWR)
		data := stamped(64<<10, 1, 0, 7)
		if _, err := unix.Pwrite(fd, data, 0); err != nil {
			t.Fatal(err)
		}
		daemon, hidden := p.info().Info.Daemon, p.device+".hidden"
		die := func() chan error {
			must(t, os.Rename(p.device, hidden))
			pid := p.pid()
			must(t, unix.Kill(pid, unix.SIGKILL))
			eventually(t, "the daemon's end", patience, func() bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) })
			got := make(chan error, 1)
			go func() {
				b := make([]byte, len(data))
				_, err := unix.Pread(fd, b, 0)
				if err == nil && string(b) != string(data) {
					err = errors.New("other bytes")
				}
				got <- err
			}()
			p.refuses(1, []string{"no daemon serves it", daemon.Log, "slatefs umount --force " + p.mnt}, "umount", p.mnt)
			return got
		}
		got := die()
		must(t, os.Rename(hidden, p.device))
		must(t, <-got)
		p.waitServed(daemon.PID)
		p.refuses(1, []string{"busy"}, "umount", "--force", p.mnt)

		supervisor, err := unix.PidfdOpen(daemon.Supervisor, 0)
		must(t, err)
		defer unix.Close(supervisor)
		got = die()
		p.slatefs("umount", "--force", p.mnt)
		p.waitEnd(supervisor)
		if err := <-got; !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("a read of a mount that was given up: %v", err)
		}
		if p.mounted() {
			t.Error("it is still mounted")
		}
		_ = unix.Close(fd) // it is ENOTCONN
		must(t, os.Rename(hidden, p.device))
		p.watch.Stop()
		p.mount()
	})
}

// TestSuccessorThatFails: one whose start fails when it serves already leaves the mount to the next one. Nobody sees an error, and what
// was acknowledged by any of them is there.
func TestSuccessorThatFails(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		o := newProber(t, p)
		p.slatefs("create", "--size", "1M", p.at("a"))
		var stop atomic.Bool
		var writes atomic.Uint64
		ended := make(chan error)
		go func() {
			fd, err := unix.Open(p.at("a"), unix.O_RDWR|unix.O_DIRECT, 0)
			for w := uint64(1); err == nil && !stop.Load(); w++ {
				off := int64(w % 256 * block)
				_, err = unix.Pwrite(fd, stamped(block, 0, off, w), off)
				writes.Store(w)
			}
			ended <- errors.Join(err, unix.Close(fd))
		}()
		sockets, err := filepath.Glob(p.path("run/*/control.sock"))
		must(t, err)
		dir, pid, log := filepath.Dir(sockets[0]), p.pid(), p.info().Info.Daemon.Log
		must(t, os.RemoveAll(dir))
		must(t, os.WriteFile(dir, []byte("no directory"), 0o600))
		must(t, unix.Kill(pid, unix.SIGKILL))
		before := writes.Load()
		eventually(t, "two successors can't listen", patience, func() bool { return strings.Count(string(read(t, log)), "control: ") >= 2 })
		eventually(t, "one of them has served", patience, func() bool { return writes.Load() > before })
		must(t, os.Remove(dir))
		p.waitServed(pid)
		stop.Store(true)
		must(t, <-ended)
		o.end()
		last, got := writes.Load(), read(t, p.at("a"))
		for i := range uint64(256) {
			want := last - (last+256-i)%256
			if s, err := readStamp(got[i*block : i*block+sector]); err != nil || s.write != want && last > 256 {
				t.Fatalf("block %d has write %d, want %d, %v", i, s.write, want, err)
			}
		}
		t.Logf("%d writes, %d while no successor came to listen", last, last-before)
	})
}
