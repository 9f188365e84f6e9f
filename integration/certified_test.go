package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// certified is a pool on which random things are done, by files and by commands, and whose certificates are held against what is
// on the file under it. Each volume that ever was has its number in the stamps of what was written to it.
type certified struct {
	*pool
	rng  *rand.Rand
	n    int
	dirs []string // by number: their names now, in the mount's root
	vols []*certifiedVolume

	complete, exact, loose int
}

// certifiedVolume is a volume that is or was.
type certifiedVolume struct {
	name   string
	dir    int
	uid    int
	snaps  []certifiedSnap
	frozen uint64 // writes up to this one are in layers that something froze
	wrote  bool   // and flushed that
	state  volumeState
	was    string // gone: its last path in the pool
}

// certifiedSnap is a snapshot: its layer has the writes behind after, up to upTo.
type certifiedSnap struct {
	name        string
	after, upTo uint64
}

// freeze: what is written from now on goes to another layer.
func (v *certifiedVolume) freeze(now int) { v.frozen = uint64(now) }

type volumeState int

const (
	volumeThere volumeState = iota
	volumeKept              // for undestroy
	volumeGone
)

// certifiedSectors is the size of a volume.
const certifiedSectors = 1 << 20 / sector

// TestCertificates does random things to a tree on a real mount, through kills of its daemon, and asks for certificates by the command:
// of volumes, snapshots, directories, owners, jobs and the pool. Whenever one is complete, no byte of it is on the file under the pool.
// When all is erased each is complete of which none is, but where it names blocks that are shown; and when all is gone, without exception.
func TestCertificates(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	p := newLab(t).newPool("lab", "64M", "")
	p.mount()
	p.slatefs("set", "erase_throughput=0", p.mnt)
	c := &certified{pool: p, rng: rand.New(rand.NewPCG(seed, 0)), dirs: []string{"d0", "d1"}}
	for _, d := range c.dirs {
		must(t, os.Mkdir(p.at(d), 0o755))
	}
	for range rounds(t) {
		for range 10 {
			c.step()
		}
		c.judge(8, false)
		switch c.rng.IntN(4) {
		case 0:
			p.kill()
			p.mount()
			c.judge(4, false)
		case 1:
			p.killDaemon()
		}
		if c.rng.IntN(2) == 0 {
			p.slatefs("erase", "wait", p.mnt)
			c.judge(8, true)
		}
	}
	p.slatefs("set", "destroy_delay=0", p.mnt)
	for range len(c.keptIDs()) {
		c.undestroy()
	}
	for _, v := range c.vols {
		if v.state == volumeGone {
			continue
		}
		v.end(c.path(v), volumeGone)
		c.slatefs("destroy", "-rd", "--now", c.at(v.was))
	}
	p.slatefs("erase", "wait", p.mnt)
	c.judge(1000, true)
	t.Logf("%d certificates were complete and %d right; %d were incomplete without need", c.complete, c.exact, c.loose)
	if c.complete == 0 || c.loose*3 > c.exact {
		t.Error("that proves little")
	}
}

// path is where a volume is, from the root of the pool, or was last.
func (c *certified) path(v *certifiedVolume) string {
	if v.state != volumeThere {
		return v.was
	}
	return path.Join(c.dirs[v.dir], v.name)
}

func (v *certifiedVolume) end(was string, s volumeState) { v.state, v.was = s, was }

// pick is the number of a volume that is there, or below 0.
func (c *certified) pick() int {
	var there []int
	for i, v := range c.vols {
		if v.state == volumeThere {
			there = append(there, i)
		}
	}
	if len(there) == 0 {
		return -1
	}
	return there[c.rng.IntN(len(there))]
}

func (c *certified) step() {
	c.n++
	i := c.pick()
	if k := c.rng.IntN(100); i < 0 || k < 6 {
		c.add("")
	} else {
		c.do(k, i, c.vols[i])
	}
}

func (c *certified) do(k, i int, v *certifiedVolume) {
	at := c.at(c.path(v))
	snap := ""
	if len(v.snaps) > 0 {
		snap = v.snaps[c.rng.IntN(len(v.snaps))].name
	}
	switch {
	case k < 40 || snap == "" && k > 55 && k < 75:
		c.write(i)
	case k < 50:
		s := fmt.Sprint("s", c.n)
		c.slatefs("snapshot", at+"@"+s)
		v.snaps = append(v.snaps, certifiedSnap{s, v.frozen, uint64(c.n)})
		v.freeze(c.n)
	case k < 56:
		c.add(at)
		v.freeze(c.n)
	case k < 62:
		c.add(at + "@" + snap)
	case k < 66:
		c.slatefs("rollback", "--force", at+"@"+snap)
		v.freeze(c.n)
	case k < 75:
		c.slatefs("destroy", "-d", "--now", at+"@"+snap)
		v.snaps = slices.DeleteFunc(v.snaps, func(s certifiedSnap) bool { return s.name == snap })
	case k < 79:
		to := c.rng.IntN(len(c.dirs))
		must(c.t, os.Rename(at, c.at(path.Join(c.dirs[to], v.name))))
		c.flush()
		v.dir = to
	case k < 81:
		d := c.rng.IntN(len(c.dirs))
		to := fmt.Sprint("r", c.n)
		must(c.t, os.Rename(c.at(c.dirs[d]), c.at(to)))
		c.flush()
		c.dirs[d] = to
	case k < 84 && isRoot():
		v.uid = 1000 + c.rng.IntN(2)
		must(c.t, os.Chown(at, v.uid, 0))
		c.flush()
	case k < 88:
		c.slatefs("set", "destroy_delay="+[]string{"1h", "0"}[c.rng.IntN(2)], c.mnt)
	case k < 91:
		c.undestroy()
	case k < 94:
		must(c.t, os.Truncate(at, c.rng.Int64N(certifiedSectors)*sector))
		must(c.t, os.Truncate(at, certifiedSectors*sector))
	default:
		before := len(c.keptIDs())
		c.slatefs("destroy", "-rd", at)
		was, state := c.path(v), volumeGone
		if len(c.keptIDs()) > before {
			state = volumeKept
		}
		v.end(was, state)
	}
}

// flush makes names and owners durable: the daemon may be killed with its supervisor next.
func (c *certified) flush() {
	fd := open(c.t, c.mnt, unix.O_RDONLY|unix.O_DIRECTORY)
	defer closeFD(c.t, fd)
	must(c.t, unix.Fsync(fd))
}

// add makes a volume, or a clone of something.
func (c *certified) add(of string) {
	v := &certifiedVolume{name: fmt.Sprint("v", c.n), dir: c.rng.IntN(len(c.dirs))}
	v.freeze(c.n)
	if of == "" {
		c.slatefs("create", "--size", fmt.Sprint(certifiedSectors*sector), c.at(c.path(v)))
	} else {
		c.slatefs("clone", of, c.at(c.path(v)))
	}
	var st unix.Stat_t
	must(c.t, unix.Stat(c.at(c.path(v)), &st))
	v.uid = int(st.Uid)
	c.vols = append(c.vols, v)
}

// undestroy brings a volume back, to where it was.
func (c *certified) undestroy() {
	for id, name := range c.keptIDs() {
		if r := c.try("undestroy", id, c.mnt); r.code != 0 {
			c.t.Error(r)
		}
		for _, v := range c.vols {
			if v.state == volumeKept && v.name == path.Base(name) {
				v.state = volumeThere
			}
		}
		return
	}
}

func (c *certified) keptIDs() map[string]string { return (&residue{pool: c.pool}).keptIDs() }

// write writes some sectors, whole blocks or not, and flushes as a rule.
func (c *certified) write(i int) {
	at, n := c.rng.Int64N(certifiedSectors), 1+c.rng.Int64N(64)
	if c.rng.IntN(2) == 0 {
		at, n = at&^7, (n+7)&^7
	}
	n = min(n, certifiedSectors-at)
	fd := open(c.t, c.at(c.path(c.vols[i])), unix.O_RDWR|unix.O_DIRECT)
	defer closeFD(c.t, fd)
	_, err := unix.Pwrite(fd, stamped(int(n*sector), i, at*sector, uint64(c.n)), at*sector)
	must(c.t, err)
	if c.rng.IntN(3) > 0 {
		must(c.t, unix.Fsync(fd))
		c.vols[i].wrote = true
	}
}
