package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBothKilled kills a daemon, and its supervisor a little later, when it has begun no successor yet, or one that is on its way:
// that serves, or the mount ends, and nobody waits for ever. What was flushed is there.
func TestBothKilled(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "256M", tr)
		p.mount()
		p.slatefs("create", "--size", "4M", p.at("a"))
		served := 0
		for i, later := range []time.Duration{0, 10, 40, 100} {
			if i > 0 {
				p.mount()
			}
			data := stamped(64<<10, 1, 0, uint64(i+1))
			fd := open(t, p.at("a"), unix.O_RDWR)
			_, err := unix.Pwrite(fd, data, 0)
			must(t, errors.Join(err, unix.Fsync(fd)))
			d := p.info().Info.Daemon
			must(t, unix.Kill(d.PID, unix.SIGKILL))
			time.Sleep(later * time.Millisecond)
			must(t, unix.Kill(d.Supervisor, unix.SIGKILL))
			got := make([]byte, len(data))
			switch _, err := unix.Pread(fd, got, 0); {
			case err == nil && string(got) == string(data):
				served++
				closeFD(t, fd)
			case errors.Is(err, unix.ENOTCONN), errors.Is(err, unix.ECONNABORTED):
				_ = unix.Close(fd) // it is ENOTCONN
			default:
				t.Errorf("%v later: %v", later*time.Millisecond, err)
			}
			p.umount()
			p.check()
			p.mount()
			if string(read(t, p.at("a"))[:len(data)]) != string(data) {
				t.Errorf("%v later: what was flushed is not there", later*time.Millisecond)
			}
			p.umount()
		}
		t.Logf("of 4 successors %d came to serve", served)
	})
}

// TestSupervisorKilled: a daemon serves on without its supervisor, says so, refuses to be replaced, and takes the mount along.
func TestSupervisorKilled(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		daemon := p.info().Info.Daemon
		supervisor, err := unix.PidfdOpen(daemon.Supervisor, 0)
		must(t, err)
		defer unix.Close(supervisor)
		must(t, unix.Kill(daemon.Supervisor, unix.SIGKILL))
		p.waitEnd(supervisor)
		p.refuses(1, []string{"nobody keeps files"}, "reload", p.name)
		if now := p.pid(); now != daemon.PID {
			t.Errorf("process %d serves, before it was %d", now, daemon.PID)
		}
		if out := p.slatefs("pool", "status", p.name); !strings.Contains(out, "nobody keeps files") {
			t.Error(out)
		}
		p.slatefs("create", "--size", "1M", p.at("a"))
		fd := open(t, p.at("a"), unix.O_RDWR|unix.O_DIRECT)
		_, err = unix.Pwrite(fd, stamped(block, 1, 0, 7), 0)
		must(t, errors.Join(err, unix.Fsync(fd)))
		must(t, unix.Kill(daemon.PID, unix.SIGKILL))
		_, err = unix.Pwrite(fd, stamped(block, 1, 0, 8), 0)
		for err == nil { // it was served still
			_, err = unix.Pwrite(fd, stamped(block, 1, 0, 8), 0)
		}
		if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("a write when all are dead: %v", err)
		}
		_ = unix.Close(fd) // it is ENOTCONN
		p.umount()
		p.check()
		p.mount()
		if st, err := readStamp(read(t, p.at("a"))[:sector]); err != nil || st.write < 7 {
			t.Errorf("what was flushed is not there: %v, %v", st, err)
		}
	})
}
