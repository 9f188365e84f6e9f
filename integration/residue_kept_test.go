package integration

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// keptThing is what was destroyed and is kept: a volume with its snapshots, or a snapshot.
type keptThing struct {
	id   string
	name string
	live map[string][]uint64
}

// setDelay says how long what is destroyed is kept.
func (r *residue) setDelay(v string) {
	r.slatefs("set", "destroy_delay="+v, r.mnt)
	r.delay = v != "0"
}

// end destroys a volume or a snapshot. It is kept if that is on, and not now.
func (r *residue) end(name string) {
	args := []string{"destroy", "-r"}
	if strings.Contains(name, "@") {
		args = args[:1]
	}
	keep := r.delay && r.rng.IntN(3) > 0
	if !keep {
		args = append(args, "--now")
	}
	if res := r.try(append(args, r.at(name))...); res.code != 0 {
		if !strings.Contains(res.stderr, "clone") {
			r.t.Error(res)
		}
		return
	}
	k := keptThing{name: name, live: map[string][]uint64{}}
	for n, writes := range r.live {
		if n == name || strings.HasPrefix(n, name+"@") {
			k.live[n] = writes
		}
	}
	r.forget(name)
	if keep {
		ids := r.keptIDs()
		for _, old := range r.kept {
			delete(ids, old.id)
		}
		if len(ids) != 1 {
			r.t.Fatalf("%s was destroyed, and is kept as %v", name, ids)
		}
		k.id = slices.Collect(maps.Keys(ids))[0]
		r.kept = append(r.kept, k)
	} else if !strings.Contains(name, "@") { // its snapshots that were kept went with it
		r.kept = slices.DeleteFunc(r.kept, func(k keptThing) bool { return strings.HasPrefix(k.name, name+"@") })
	}
}

// keptIDs are what list shows as destroyed.
func (r *residue) keptIDs() map[string]string {
	ids := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(r.slatefs("list", "-Hp", "-o", "id,name", "-t", "destroyed", r.mnt)), "\n") {
		if id, name, ok := strings.Cut(line, "\t"); ok {
			ids[id] = name
		}
	}
	return ids
}

// undestroy brings something back.
func (r *residue) undestroy() {
	i := r.rng.IntN(len(r.kept))
	k := r.kept[i]
	vol, _, isSnap := strings.Cut(k.name, "@")
	if isSnap && r.live[vol] == nil { // its volume is not there
		return
	}
	r.slatefs("undestroy", k.id, r.mnt)
	maps.Copy(r.live, k.live)
	r.kept = slices.Delete(r.kept, i, i+1)
}

// fill writes until the pool is full: what was kept goes for it, the oldest first. Then it frees that again.
func (r *residue) fill() {
	r.slatefs("create", "--size", "1G", r.at("fill"))
	fd := open(r.t, r.at("fill"), unix.O_RDWR|unix.O_DIRECT)
	r.next++
	for off := int64(0); ; off += 1 << 20 {
		_, err := unix.Pwrite(fd, stamped(1<<20, 99, off, r.next), off)
		if errors.Is(err, unix.ENOSPC) {
			break
		}
		must(r.t, err)
	}
	closeFD(r.t, fd)
	before := len(r.kept)
	ids := r.keptIDs()
	r.kept = slices.DeleteFunc(r.kept, func(k keptThing) bool { _, ok := ids[k.id]; return !ok })
	r.t.Logf("the pool was full: of %d kept things %d are left", before, len(r.kept))
	var frees int64
	for _, n := range strings.Fields(r.slatefs("list", "-Hp", "-o", "used", "-t", "destroyed", r.mnt)) {
		k, err := strconv.ParseInt(n, 10, 64)
		must(r.t, err)
		frees += k
	}
	if frees >= 1<<20 { // what one write asks for
		r.t.Errorf("no space left, though the end of what is kept would free %d bytes: %v", frees, ids)
	}
	r.slatefs("destroy", "--now", r.at("fill"))
}

// killErasing kills the daemon while it erases slowly.
func (r *residue) killErasing() {
	r.slatefs("set", "erase_throughput=1M", r.mnt)
	for range 3 {
		if snaps := r.snapshots(); len(snaps) > 0 {
			r.end(r.pick(snaps))
		}
	}
	r.kill()
	r.mount()
	r.slatefs("set", "erase_throughput=0", r.mnt)
}

// keptStamps adds the stamps of what is kept to those that live.
func (r *residue) keptStamps(alive map[stamp]bool) {
	for _, k := range r.kept {
		for name, writes := range k.live {
			vol, _, _ := strings.Cut(name, "@")
			for i, w := range writes {
				if w > 0 {
					alive[stamp{write: w, where: place(r.of[vol], int64(i))}] = true
				}
			}
		}
	}
}

// more does one of the rarer things, if n says so.
func (r *residue) more(n int) bool {
	vols := r.volumes()
	switch {
	case n < 3 && len(r.kept) > 0:
		r.undestroy()
	case n < 6 && len(vols) > 2:
		r.end(r.pick(vols))
	default:
		return false
	}
	return true
}
