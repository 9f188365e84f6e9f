package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// residue is a pool whose device can be read from below, and a model of what lives in it: of each sector of each volume
// and snapshot the number of the write that it is of.
type residue struct {
	*pool
	rng   *rand.Rand
	below string              // file under the pool
	live  map[string][]uint64 // by what list calls it: FILE or FILE@NAME
	of    map[string]int      // volume numbers, the where of stamps; clones have their origin's
	fixed map[string]int      // of each object, how many clones hang on it
	next  uint64              // number of the next write
	gone  map[uint64]struct{} // writes that something destroyed held
	delay bool                // what is destroyed is kept
	kept  []keptThing
}

const residueSectors = 16 << 20 / sector // of each volume

// TestResidue destroys things in a pool that random work went over, waits for erase, and reads the device from below:
// of what was destroyed, overwritten, punched or rolled back not a sector is left, and what lives is whole.
func TestResidue(t *testing.T) {
	on := map[string]func(l *lab) (device, below string){
		"file": func(l *lab) (string, string) { return l.path("lab.pool"), l.path("lab.pool") },
	}
	if isRoot() {
		on["ext4"] = func(l *lab) (string, string) { return onFileSystem(l, "ext4"), l.path("image") }
		on["xfs"] = func(l *lab) (string, string) { return onFileSystem(l, "xfs"), l.path("image") }
		on["block"] = func(l *lab) (string, string) {
			l.tool("truncate", "-s", "256M", l.path("image"))
			return loop(l.t, l, l.path("image")), l.path("image")
		}
	}
	for i, kind := range []string{"file", "block", "ext4", "xfs"} {
		if on[kind] == nil {
			t.Logf("on %s: needs root", kind)
			continue
		}
		tr := transports[i%len(transports)] // each of them on one that has a file system below
		t.Run("on="+kind+"/transport="+tr, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			l := newLab(t)
			device, below := on[kind](l)
			var flags []string
			if kind != "block" {
				flags = []string{"--size", "256M"}
			}
			p := l.createPool("lab", device, "transport="+tr, flags...)
			p.mount()
			p.slatefs("set", "erase_throughput=0", p.mnt)
			p.slatefs("erase", "wait", p.mnt)
			r := &residue{
				pool: p, rng: rand.New(rand.NewPCG(seed, 0)), below: below, live: map[string][]uint64{}, of: map[string]int{},
				fixed: map[string]int{}, gone: map[uint64]struct{}{},
			}
			r.run()
		})
	}
}

// onFileSystem mounts a new file system on an image, and names a pool file there.
func onFileSystem(l *lab, kind string) string {
	needs(l.t, "mkfs."+kind, "losetup")
	l.tool("truncate", "-s", "512M", l.path("image"))
	l.tool("mkfs."+kind, "-q", l.path("image"))
	dir := l.path("below")
	must(l.t, os.Mkdir(dir, 0o755))
	dev := loop(l.t, l, l.path("image"))
	l.tool("mount", dev, dir)
	l.t.Cleanup(func() { l.tool("umount", dir) })
	return dir + "/lab.pool"
}

func (r *residue) run() {
	for i := range 3 {
		name := volName(i)
		r.slatefs("create", "--size", fmt.Sprint(residueSectors*sector), r.at(name))
		r.live[name], r.of[name] = make([]uint64, residueSectors), i
	}
	for round := range 3 {
		r.setDelay([]string{"0", "1h", "1h"}[round])
		for range 120 {
			r.step()
		}
		if round == 1 {
			r.crash()
		}
		if round > 0 {
			r.killErasing()
		}
		if round == 2 {
			r.verify("before the pool is full")
			r.fill()
		}
		r.slatefs("erase", "wait", r.mnt)
		r.verify(fmt.Sprintf("round %d", round))
	}
	for len(r.live) > 0 {
		r.slatefs("destroy", "-R", "--now", r.at(r.volumes()[0]))
		r.forgetGone()
	}
	r.kept = nil // snapshots go with their volumes; what is left of volumes ends as well
	for len(r.keptIDs()) > 0 {
		for id, name := range r.keptIDs() {
			r.slatefs("undestroy", id, r.mnt)
			r.slatefs("destroy", "-R", "--now", name)
			break
		}
	}
	r.slatefs("erase", "wait", r.mnt)
	r.verify("after the end of all")
	if u := r.info().Info.Usage; u.Live+u.Dirty+u.Freeing+u.Failed != 0 || u.Volumes+u.Snapshots+u.Layers != 0 {
		r.t.Errorf("the empty pool has %+v", u)
	}
}

// volumes lists the names of volumes, snapshots those of snapshots.
func (r *residue) volumes() []string   { return r.names(false) }
func (r *residue) snapshots() []string { return r.names(true) }

func (r *residue) names(snaps bool) (list []string) {
	for n := range r.live {
		if strings.Contains(n, "@") == snaps {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

func (r *residue) pick(list []string) string { return list[r.rng.IntN(len(list))] }

// forget takes an object, and the snapshots of a volume, out of the model.
func (r *residue) forget(name string) {
	for n := range r.live {
		if n == name || strings.HasPrefix(n, name+"@") {
			delete(r.live, n)
		}
	}
}

// forgetGone forgets volumes that went with others.
func (r *residue) forgetGone() {
	before := len(r.live)
	for _, vol := range r.volumes() {
		if _, err := os.Stat(r.at(vol)); err != nil {
			r.forget(vol)
		}
	}
	if len(r.live) == before {
		r.t.Fatal("nothing went")
	}
}

// step does one thing.
func (r *residue) step() {
	if r.more(r.rng.IntN(100)) {
		return
	}
	vol := r.pick(r.volumes())
	snaps := r.snapshots()
	switch n := r.rng.IntN(100); {
	case n < 70:
		r.write(vol)
	case n < 78:
		r.zero(vol)
	case n < 86 && len(snaps) < 12:
		r.next++
		name := fmt.Sprintf("%s@s%d", vol, r.next)
		r.slatefs("snapshot", r.at(name))
		r.live[name] = slices.Clone(r.live[vol])
	case n < 90 && len(snaps) > 0:
		snap := r.pick(snaps)
		vol, _, _ := strings.Cut(snap, "@")
		r.slatefs("rollback", r.at(snap))
		r.live[vol] = slices.Clone(r.live[snap])
	case n < 93 && len(snaps) > 0 && len(r.volumes()) < 6:
		r.clone(r.pick(snaps))
	case n > 95 && len(snaps) > 0:
		r.end(r.pick(snaps))
	}
}

func (r *residue) clone(snap string) {
	r.next++
	name := fmt.Sprint("c", r.next)
	r.slatefs("clone", r.at(snap), r.at(name))
	vol, _, _ := strings.Cut(snap, "@")
	r.live[name], r.of[name] = slices.Clone(r.live[snap]), r.of[vol]
}

// write writes some sectors, most often whole blocks, with O_DIRECT.
func (r *residue) write(vol string) {
	r.next++
	at, n := r.rng.Int64N(residueSectors), 1+r.rng.Int64N(256)
	if r.rng.IntN(3) > 0 {
		at, n = at&^7, (n+7)&^7
	}
	n = min(n, residueSectors-at)
	fd := open(r.t, r.at(vol), unix.O_RDWR|unix.O_DIRECT)
	defer closeFD(r.t, fd)
	_, err := unix.Pwrite(fd, stamped(int(n*sector), r.of[vol], at*sector, r.next), at*sector)
	must(r.t, err)
	for i := at; i < at+n; i++ {
		r.live[vol][i] = r.next
	}
}

// zero punches, zeroes or cuts off.
func (r *residue) zero(vol string) {
	at, n := r.rng.Int64N(residueSectors), r.rng.Int64N(1024)+1
	n = min(n, residueSectors-at)
	fd := open(r.t, r.at(vol), unix.O_RDWR)
	defer closeFD(r.t, fd)
	switch r.rng.IntN(4) {
	case 0:
		n = residueSectors - at
		must(r.t, unix.Ftruncate(fd, at*sector))
		must(r.t, unix.Ftruncate(fd, residueSectors*sector))
	case 1:
		must(r.t, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, at*sector, n*sector))
	default:
		must(r.t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at*sector, n*sector))
	}
	clear(r.live[vol][at : at+n])
}

// crash kills the daemon after writes that nobody flushed, and takes what is there then for what lives.
func (r *residue) crash() {
	for range 40 {
		r.write(r.pick(r.volumes()))
	}
	r.kill()
	r.check()
	r.mount()
	for _, vol := range r.volumes() {
		got := read(r.t, r.at(vol))
		for i := range r.live[vol] {
			st, err := readStamp(got[i*sector : (i+1)*sector])
			must(r.t, err)
			r.live[vol][i] = st.write
		}
	}
}
