package integration

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// fsyncGuest is a guest that writes files and syncs each, and what is known of its disk.
type fsyncGuest struct {
	*pool
	g      *guest
	vol    string
	synced map[string]string // sums of files that must be there now, by their names
	freed  int64             // bytes of files that it removed last
	mounts int               // of the pool so far
	shots  []shot
}

// shot is a snapshot that was taken of the running guest, and what was told to be durable before it was.
type shot struct {
	name   string
	synced map[string]string
}

// boot starts the guest on the volume: a disk with blocks of 4 KiB.
func (f *fsyncGuest) boot() {
	f.t.Helper()
	f.g = f.newGuest(insideLimit, "/inside.test -test.v -test.timeout 50m -test.run '"+insideFsync+"'",
		disk{path: f.vol, aio: "io_uring", device: "virtio-blk-pci,logical_block_size=4096,physical_block_size=4096"})
	f.g.until("ready")
}

// ask has the guest do something, and learns what it tells meanwhile. What it holds is returned.
func (f *fsyncGuest) ask(line string) (holds map[string]string) {
	f.t.Helper()
	f.g.send(line)
	what, _, _ := strings.Cut(line, " ")
	holds = map[string]string{}
	f.learn(func(said, name, sum string) bool {
		if said == "holds" {
			holds[name] = sum
		}
		return said == "done" && name == what
	})
	return holds
}

// learn reads what the guest says until that is enough.
func (f *fsyncGuest) learn(enough func(said, name, sum string) bool) {
	f.t.Helper()
	for {
		line, ok := f.g.line()
		if !ok || strings.HasPrefix(line, exitLine) {
			f.t.Fatalf("guest: ended\n%s", f.g.log())
		}
		words := append(strings.Fields(line), "", "", "")
		switch words[0] {
		case "synced":
			f.synced[words[1]] = words[2]
		case "gone":
			delete(f.synced, words[1])
		case "freed":
			_, err := fmt.Sscan(words[1], &f.freed)
			must(f.t, err)
		}
		if enough(words[0], words[1], words[2]) {
			return
		}
	}
}

// more waits until the guest has synced n files more.
func (f *fsyncGuest) more(n int) {
	f.t.Helper()
	f.learn(func(said, _, _ string) bool {
		if said == "synced" {
			n--
		}
		return n <= 0
	})
}

// shoot takes a snapshot of the disk of the running guest.
func (f *fsyncGuest) shoot(name string) {
	f.t.Helper()
	s := shot{name, map[string]string{}}
	for file, sum := range f.synced {
		s.synced[file] = sum
	}
	f.slatefs("snapshot", f.vol+"@"+name)
	f.shots = append(f.shots, s)
}

// missing says what a disk must hold and does not.
func (s shot) missing(holds map[string]string) (list []string) {
	for file, sum := range s.synced {
		if holds[file] != sum {
			list = append(list, file+" "+holds[file])
		}
	}
	return list
}

// verify: a snapshot is what a power cut leaves. When its journal has been replayed, on a clone, there is nothing to repair, and
// every file that had been synced is whole.
func (f *fsyncGuest) verify(s shot) {
	f.t.Helper()
	clone, dir := f.at("clone"), f.path("files."+s.name)
	f.slatefs("clone", f.vol+"@"+s.name, clone)
	defer f.slatefs("destroy", clone)
	if r := f.exec("e2fsck", "-E", "journal_only", "-y", clone); r.code > 1 {
		f.t.Errorf("snapshot %s: the journal is not replayed: %v", s.name, r)
	}
	if r := f.exec("e2fsck", "-fn", clone); r.code != 0 {
		f.t.Errorf("snapshot %s: %v", s.name, r)
	}
	must(f.t, os.Mkdir(dir, 0o755))
	defer os.RemoveAll(dir)
	f.tool("debugfs", "-R", "rdump / "+dir, clone)
	holds := map[string]string{}
	for file := range s.synced {
		if b, err := os.ReadFile(dir + "/" + file); err == nil {
			holds[file] = sum(b)
		}
	}
	if list := s.missing(holds); len(list) > 0 || len(s.synced) == 0 {
		f.t.Errorf("snapshot %s: of %d files that had been synced are not there as they were: %v", s.name, len(s.synced), list)
	}
}

// marks counts what the device below the pool holds of the guest's files.
func (f *fsyncGuest) marks() int {
	f.t.Helper()
	f.tool("sync", "-f", f.device)
	return bytes.Count(read(f.t, f.device), []byte("SLTguest"))
}

// remount has the pool served by the next transport: what a mount gets here is the first.
func (f *fsyncGuest) remount() {
	f.t.Helper()
	if f.mounts > 0 {
		f.umount()
	}
	f.opts = "transport=" + transports[(len(transports)-1+f.mounts)%len(transports)]
	f.mounts++
	f.mount()
}

// TestGuestSnapshots has a guest write and sync files on a volume, whose snapshots are taken all the time, and whose daemon and then
// itself are killed. Each snapshot is a file system as a power cut leaves it. A guest that was rolled back mounts it and goes on, by
// another transport; what it trims is free, and erased to the last mark.
func TestGuestSnapshots(t *testing.T) {
	needs(t, "e2fsck", "debugfs")
	p := newLab(t).newPool("lab", "768M", "")
	f := &fsyncGuest{pool: p, vol: p.at("vm-100-disk-0.raw"), synced: map[string]string{}}
	f.remount()
	p.slatefs("create", "--size", "512M", f.vol)
	f.boot()
	f.ask("make")
	for round := range max(1, rounds(t)/10) { // one takes as long as ten of the other tests that have rounds
		f.snapshots(round)
		f.rollback(round)
		f.trim()
	}
	f.trimAll()
	if code := f.g.wait(); code != 0 {
		t.Errorf("exit %d\n%s", code, f.g.log())
	}
	p.tool("e2fsck", "-fn", f.vol)
}

// snapshots takes some while the guest writes, kills the daemon meanwhile and the guest at the end, and looks at all of them.
func (f *fsyncGuest) snapshots(round int) {
	f.t.Helper()
	f.ask("write")
	for i := range 6 {
		f.more(6)
		f.shoot(fmt.Sprintf("r%dn%d", round, i))
		if i == 3 {
			f.killDaemon()
		}
	}
	f.more(3)
	f.g.kill()
	f.shoot(fmt.Sprintf("r%dkilled", round)) // after the guest's end: all that it told is in it
	for _, s := range f.shots {
		f.verify(s)
	}
}

// rollback goes back to a snapshot that is not the newest, and on from there.
func (f *fsyncGuest) rollback(round int) {
	f.t.Helper()
	s := f.shots[len(f.shots)-4]
	f.remount()
	f.slatefs("rollback", f.vol+"@"+s.name)
	f.synced = map[string]string{}
	f.boot()
	holds := f.ask("mount")
	if list := s.missing(holds); len(list) > 0 {
		f.t.Errorf("rolled back to %s: not there as they were: %v", s.name, list)
	}
	f.synced = holds
	f.ask("write")
	f.more(6)
	f.shoot(fmt.Sprintf("r%dafter", round))
	f.verify(f.shots[len(f.shots)-1])
}

// trim removes most files. The volume shows less at once; when its snapshots are gone, the space is to be erased, and then is free.
func (f *fsyncGuest) trim() {
	f.t.Helper()
	f.slatefs("erase", "pause", f.mnt)
	f.synced = f.ask("hold")
	before, used := f.number(f.vol, "referenced"), f.number(f.vol, "used")
	f.ask("drop 4")
	after := f.number(f.vol, "referenced")
	const journal = 1 << 20 // and other metadata, which may be written for the first time meanwhile
	if f.freed < 1<<20 || after > before-f.freed+journal {
		f.t.Errorf("trimmed: %d bytes are referenced, %d were before, of which %d are removed", after, before, f.freed)
	}
	for _, s := range f.shots {
		f.slatefs("destroy", f.vol+"@"+s.name)
	}
	f.shots = nil
	eventually(f.t, "what was freed is to be erased", patience, func() bool { return f.erase().Dirty > f.freed-journal })
	dirty := f.erase().Dirty
	if now := f.number(f.vol, "used"); now > used-f.freed+journal {
		f.t.Errorf("%d bytes are used, %d were before the trim", now, used)
	}
	f.slatefs("set", "erase_throughput=0", f.mnt)
	f.slatefs("erase", "resume", f.mnt)
	start := time.Now()
	f.slatefs("erase", "wait", f.mnt)
	if e := f.erase(); e.Dirty != 0 || e.Failed != 0 || e.Counters.Queue != 0 {
		f.t.Errorf("after the erase: %+v", e)
	}
	f.t.Logf("trimmed: %d of %d KiB referenced are left, %d were removed, %d to erase, erased after %v",
		after>>10, before>>10, f.freed>>10, dirty>>10, time.Since(start).Round(time.Millisecond))
}

// trimAll removes all files: nothing of them is on the device in the end.
func (f *fsyncGuest) trimAll() {
	f.t.Helper()
	if n := f.marks(); n == 0 {
		f.t.Error("no marks on the device: the look for them finds nothing")
	}
	f.ask("drop 0")
	f.slatefs("erase", "wait", f.mnt)
	if n := f.marks(); n != 0 {
		f.t.Errorf("%d marks of files that were removed and trimmed are on the device", n)
	}
	f.ask("end")
}
