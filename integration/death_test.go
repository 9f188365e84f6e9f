package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain/blockdev"
	"slatefs/fs/death"
)

// mortal is the program that tests end where they like (package death), built once.
var mortal = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(workDir, "slatefs-mortal")
	return path, buildAs(path, "-tags", "deaths")
})

// dying is a pool that is served by that.
type dying struct {
	*pool
	orders string // the file that says where it ends
}

func newDying(t *testing.T, transport string) dying {
	t.Helper()
	from, err := mortal()
	must(t, err)
	l := newLab(t)
	here := l.path("slatefs")
	install(t, here, read(t, from))
	d := dying{orders: l.path("death")}
	l.env = []string{"SLATEFS_DEATHS=" + d.orders}
	d.pool = l.newPool("lab", "1G", transport)
	d.ok(d.exec(here, "mount", "-o", transport, d.name, d.mnt))
	d.keepUntilEnd()
	return d
}

// order says where processes end from now on; empty: nowhere.
func (d dying) order(text string) {
	d.t.Helper()
	if text == "" {
		must(d.t, os.Remove(d.orders))
		return
	}
	must(d.t, os.WriteFile(d.orders+".new", []byte(text), 0o600))
	must(d.t, os.Rename(d.orders+".new", d.orders))
}

// writeUser writes blocks past all caches, most of them without a flush, and knows what each holds.
func writeUser(t *testing.T, p *pool) (end func()) {
	const size = 1024 * block
	p.slatefs("create", "--size", fmt.Sprint(size), p.at("written"))
	fd := open(t, p.at("written"), unix.O_RDWR|unix.O_DIRECT)
	var stop atomic.Bool
	var running sync.WaitGroup
	there, n := map[int64]uint64{}, uint64(0)
	running.Go(func() {
		for !stop.Load() {
			n++
			off := rand.Int64N(size/block) * block
			if _, err := unix.Pwrite(fd, stamped(block, 0, off, n), off); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			there[off] = n
			if n%100 == 0 {
				if err := unix.Fdatasync(fd); err != nil {
					t.Errorf("sync: %v", err)
					return
				}
			}
			time.Sleep(200 * time.Microsecond)
		}
	})
	return func() {
		stop.Store(true)
		running.Wait()
		buf := blockdev.Aligned(block)
		for off, w := range there {
			_, err := unix.Pread(fd, buf, off)
			if st, stampErr := readStamp(buf[:sector]); errors.Join(err, stampErr) != nil || st.write != w {
				t.Errorf("at %d: write %d (%v), want %d", off, st.write, errors.Join(err, stampErr), w)
			}
		}
		closeFD(t, fd)
		t.Logf("%d blocks written", n)
	}
}

// wellAfter is how long a daemon must have served for the next one to be started at once.
const wellAfter = time.Second

// TestEndsAtEachStep ends a successor at each of its steps, and one that makes way for another program at each of its own: the next
// one goes on, and who uses the mount notices nothing.
func TestEndsAtEachStep(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		d := newDying(t, tr)
		o := newProber(t, d.pool)
		ends := []func(){writeUser(t, d.pool), stormUser(t, d.pool)}
		o.stall("")
		ended := 0
		step := func(s death.Step, do func()) {
			t.Helper()
			d.order("at " + string(s))
			do()
			if _, err := os.Lstat(d.orders); err == nil {
				t.Fatalf("no process has come to %s", s)
			}
			t.Logf("one ends when it has come to %q: a read took %v at most", s, o.stall("end"))
			if ended += 2; ended%4 == 0 {
				time.Sleep(wellAfter)
			}
		}
		successor, predecessor := death.Successor, death.Predecessor
		if tr != "transport=loop" { // what the other one does differently
			successor, predecessor = []death.Step{death.Agreed, death.Opens, death.Sent}, []death.Step{death.Paused}
		}
		for _, s := range successor {
			step(s, d.killDaemon)
		}
		for _, s := range predecessor {
			step(s, func() {
				pid := d.pid()
				if r := d.try("reload", d.name); r.code != 0 && !strings.Contains(r.stderr, "ended the connection without an answer") {
					t.Error(r) // it dies before it has answered, or after
				}
				d.waitServed(pid)
			})
		}
		for _, end := range ends {
			end()
		}
		o.end()
	})
}

// TestDeadlyRequest: a request that ends each process which is to serve it ends three, and is refused by the fourth; the log tells of
// it, and nobody else sees an error.
func TestDeadlyRequest(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		d := newDying(t, tr)
		o := newProber(t, d.pool)
		ends := []func(){writeUser(t, d.pool), stormUser(t, d.pool)}
		d.slatefs("create", "--size", "1M", d.at("v"))
		fd := open(t, d.at("v"), unix.O_RDWR|unix.O_DIRECT)
		b := blockdev.Aligned(block)
		copy(b, "deadly")
		for what, do := range map[string]func() error{
			"WRITE":    func() error { _, err := unix.Pwrite(fd, b, 0); return err },
			"SETXATTR": func() error { return unix.Fsetxattr(fd, "user.a", []byte("deadly"), 0) },
		} {
			before := d.info().Info.Takeovers
			d.order("by deadly")
			fails(t, what, do(), unix.EIO)
			d.order("")
			must(t, do())
			log := string(read(t, d.info().Info.Daemon.Log))
			if n := strings.Count(log, "a request is refused"); n != before/3+1 || !strings.Contains(log, "daemons=3") {
				t.Errorf("%s: the log tells of %d requests that were refused", what, n)
			}
			if times := d.info().Info.Takeovers - before; times != 3 {
				t.Errorf("%s: %d daemons ended", what, times)
			}
			t.Logf("%s: a read took %v at most", what, o.stall("request"))
		}
		closeFD(t, fd)
		for _, end := range ends {
			end()
		}
		o.end()
	})
}
