package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
)

// killDaemon kills the daemon and leaves its supervisor, and returns when another one serves.
func (p *pool) killDaemon() {
	p.t.Helper()
	pid := p.pid()
	fd, err := unix.PidfdOpen(pid, 0)
	must(p.t, err)
	defer unix.Close(fd)
	must(p.t, unix.Kill(pid, unix.SIGKILL))
	p.waitEnd(fd)
	p.waitServed(pid)
}

// waitServed waits until another daemon than a process that has ended answers.
func (p *pool) waitServed(ended int) {
	p.t.Helper()
	eventually(p.t, "a daemon goes on with the mount", patience, func() bool {
		i, err := p.ask()
		return err == nil && i.Info.Daemon.PID > 1 && i.Info.Daemon.PID != ended && i.Info.OpenFiles >= 0 && i.Info.Usage.Total > 0
	})
}

// takeoverPool is a pool whose mount outlives its daemon.
func takeoverPool(t *testing.T, transport string) *pool {
	t.Helper()
	p := newLab(t).newPool("lab", "1G", transport)
	p.mount()
	return p
}

// kills is how often the daemon of a test is killed.
const kills = 5

// stallProbe reads a block again and again, and knows the longest time that it took.
func stallProbe(t *testing.T, path string, stop *atomic.Bool) (longest time.Duration) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer unix.Close(fd)
	buf := blockdev.Aligned(block)
	for !stop.Load() {
		began := time.Now()
		if _, err := unix.Pread(fd, buf, 0); err != nil {
			t.Errorf("read while the daemon is replaced: %v", err)
			return longest
		}
		longest = max(longest, time.Since(began))
		time.Sleep(time.Millisecond)
	}
	return longest
}

// TestTakeoverUnderFio kills the daemon again and again under fio, which writes, most of it without a flush, and reads back what
// it wrote: no request fails, and nothing that was acknowledged is lost.
func TestTakeoverUnderFio(t *testing.T) {
	needs(t, "fio")
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		p.slatefs("create", "--size", "128M", p.at("a"))
		p.slatefs("create", "--size", "1M", p.at("probe"))
		out := p.path("fio.out")
		cmd := exec.Command("fio", "--output="+out, "--name=take", "--filename="+p.at("a"), "--rw=randrw", "--bs=4k", "--iodepth=32",
			"--ioengine=libaio", "--direct=1", "--size=128M", "--io_size=1G", "--verify=crc32c", "--verify_fatal=1", "--verify_backlog=64",
			"--fsync=512", "--rate_iops=6000", "--time_based", "--runtime=600")
		cmd.Dir = p.dir
		must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var stop atomic.Bool
		stall := make(chan time.Duration, 1)
		go func() { stall <- stallProbe(t, p.at("probe"), &stop) }()
		for range kills {
			time.Sleep(time.Duration(200+rand.IntN(500)) * time.Millisecond)
			p.killDaemon()
		}
		must(t, cmd.Process.Signal(unix.SIGINT)) // it ends well, and verifies what it has read
		err := <-ended
		stop.Store(true)
		if code := cmd.ProcessState.ExitCode(); err != nil && code != 128 {
			t.Errorf("fio: %v\n%s", err, read(t, out))
		}
		t.Logf("longest stall of a reader: %v", (<-stall).Round(time.Millisecond))
		if times := p.info().Info.Takeovers; times != kills {
			t.Errorf("%d takeovers, want %d", times, kills)
		}
	})
}

// storm makes, moves, exchanges and removes names in a directory of its own, and knows what is there.
type storm struct {
	dir   string
	rng   *rand.Rand
	there map[string]byte // kind: f, d, l
	n     int
	done  int
}

func (s *storm) pick() string {
	names := make([]string, 0, len(s.there))
	for name := range s.there {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return ""
	}
	return names[s.rng.IntN(len(names))]
}

func (s *storm) at(name string) string { return filepath.Join(s.dir, name) }

// step does one thing, which must not fail.
func (s *storm) step() error {
	s.done++
	name := s.pick()
	if k := s.rng.IntN(10); name == "" || k < 4 && len(s.there) < 20 {
		return s.make(k % 3)
	} else if k < 6 {
		return s.remove(name)
	}
	other := s.pick()
	switch {
	case name == other:
		s.n++
		other = fmt.Sprint("n", s.n)
		if err := unix.Renameat2(unix.AT_FDCWD, s.at(name), unix.AT_FDCWD, s.at(other), unix.RENAME_NOREPLACE); err != nil {
			return fmt.Errorf("rename %s %s: %w", name, other, err)
		}
		s.there[other] = s.there[name]
		delete(s.there, name)
	case s.there[name] == s.there[other]:
		if err := unix.Rename(s.at(name), s.at(other)); err != nil {
			return fmt.Errorf("rename %s over %s: %w", name, other, err)
		}
		delete(s.there, name)
	default:
		if err := unix.Renameat2(unix.AT_FDCWD, s.at(name), unix.AT_FDCWD, s.at(other), unix.RENAME_EXCHANGE); err != nil {
			return fmt.Errorf("exchange %s %s: %w", name, other, err)
		}
		s.there[name], s.there[other] = s.there[other], s.there[name]
	}
	return nil
}

func (s *storm) make(kind int) (err error) {
	s.n++
	name := fmt.Sprint("n", s.n)
	switch kind {
	case 0:
		var fd int
		if fd, err = unix.Open(s.at(name), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600); err == nil {
			err = errors.Join(unix.Fsetxattr(fd, "user.n", []byte(name), unix.XATTR_CREATE), unix.Close(fd))
		}
		s.there[name] = 'f'
	case 1:
		err = unix.Mkdir(s.at(name), 0o700)
		s.there[name] = 'd'
	default:
		err = unix.Symlink("to", s.at(name))
		s.there[name] = 'l'
	}
	if err != nil {
		return fmt.Errorf("make %s, %c: %w", name, s.there[name], err)
	}
	return nil
}

func (s *storm) remove(name string) (err error) {
	if s.there[name] == 'd' {
		err = unix.Rmdir(s.at(name))
	} else {
		err = unix.Unlink(s.at(name))
	}
	if err != nil {
		return fmt.Errorf("remove %s, %c: %w", name, s.there[name], err)
	}
	delete(s.there, name)
	return nil
}

// verify compares what is there with what must be.
func (s *storm) verify(t *testing.T) {
	entries, err := os.ReadDir(s.dir)
	must(t, err)
	kinds := map[os.FileMode]byte{0: 'f', os.ModeDir: 'd', os.ModeSymlink: 'l'}
	for _, e := range entries {
		if s.there[e.Name()] != kinds[e.Type()] {
			t.Errorf("%s is a %c, want %c", s.at(e.Name()), kinds[e.Type()], s.there[e.Name()])
		}
	}
	if len(entries) != len(s.there) {
		t.Errorf("%s: %d names, want %d", s.dir, len(entries), len(s.there))
	}
}

// TestTakeoverOfNames kills the daemon under changes of names, each of which must be done once: one that was done, and not
// answered, is not done again.
func TestTakeoverOfNames(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := takeoverPool(t, tr)
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		var storms []*storm
		var stop atomic.Bool
		var running sync.WaitGroup
		for i := range 8 {
			s := &storm{dir: p.at(fmt.Sprint("d", i)), rng: rand.New(rand.NewPCG(seed, uint64(i))), there: map[string]byte{}}
			must(t, os.Mkdir(s.dir, 0o755))
			storms = append(storms, s)
			running.Go(func() {
				for !stop.Load() {
					if err := s.step(); err != nil {
						t.Errorf("%s: %v", s.dir, err)
						return
					}
				}
			})
		}
		for range kills {
			time.Sleep(time.Duration(200+rand.IntN(300)) * time.Millisecond)
			p.killDaemon()
		}
		stop.Store(true)
		running.Wait()
		done := 0
		for _, s := range storms {
			s.verify(t)
			done += s.done
		}
		t.Logf("%d changes", done)
	})
}

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
