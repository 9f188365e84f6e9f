package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostLimit is a way in which the host of a sparse pool file comes to have no space for it.
type hostLimit struct {
	name        string
	dir         func(t *testing.T, l *lab) string // where the pool file lies
	short, give func(t *testing.T, p *pool)
}

var hostLimits = []hostLimit{
	{
		name: "file system full", dir: smallFS,
		short: func(t *testing.T, p *pool) { takeAll(t, filepath.Join(filepath.Dir(p.device), "ballast"), 24<<20) },
		give: func(t *testing.T, p *pool) {
			must(t, os.Remove(filepath.Join(filepath.Dir(p.device), "ballast")))
		},
	},
	{
		name: "file size limit", dir: func(_ *testing.T, l *lab) string { return l.dir },
		short: func(t *testing.T, p *pool) { limitFiles(t, p.pid(), 48<<20) },
		give:  func(t *testing.T, p *pool) { limitFiles(t, p.pid(), unix.RLIM_INFINITY) },
	},
}

// smallFS is a directory on an ext4 file system of 160 MiB of its own.
func smallFS(t *testing.T, l *lab) string {
	needsRoot(t)
	needs(t, "mkfs.ext4", "losetup")
	img, dir := l.path("host.img"), l.path("host")
	must(t, os.WriteFile(img, nil, 0o600))
	must(t, os.Truncate(img, 160<<20))
	l.tool("mkfs.ext4", "-q", "-m", "0", img)
	must(t, os.Mkdir(dir, 0o755))
	l.tool("mount", "-o", "loop", img, dir)
	t.Cleanup(func() { l.tool("umount", dir) })
	return dir
}

// takeAll makes a file that leaves so many bytes of a file system.
func takeAll(t *testing.T, path string, leave int64) {
	t.Helper()
	var st unix.Statfs_t
	must(t, unix.Statfs(filepath.Dir(path), &st))
	f, err := os.Create(path)
	must(t, err)
	must(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-leave))
	must(t, f.Close())
}

func limitFiles(t *testing.T, pid int, bytes uint64) {
	t.Helper()
	must(t, unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil))
}

// TestHostWithoutSpace fills the host of a sparse pool file: who needs a new block is told ENOSPC, as often as he tries, and
// nobody else notices: overwriting, reading, snapshots, flushes, what was freed and erased. With space all is as before.
func TestHostWithoutSpace(t *testing.T) {
	needsRoot(t)
	for _, h := range hostLimits {
		t.Run(h.name, func(t *testing.T) {
			eachTransport(t, func(t *testing.T, tr string) { hostWithoutSpace(t, h, tr) })
		})
	}
}

func hostWithoutSpace(t *testing.T, h hostLimit, tr string) {
	l := newLab(t)
	p := l.createPool("lab", filepath.Join(h.dir(t, l), "lab.pool"), tr, "--size", "1G", "--sparse")
	p.mount()
	pid := p.pid()
	p.slatefs("set", "erase_throughput=0", p.mnt)
	p.slatefs("create", "--size", "512M", p.at("a"))
	p.slatefs("create", "-o", "refreservation=auto", "--size", "128M", p.at("promised"))
	a, promised := open(t, p.at("a"), unix.O_RDWR|unix.O_DIRECT), open(t, p.at("promised"), unix.O_RDWR|unix.O_DIRECT)
	_, err := unix.Pwrite(a, stamped(4<<20, 0, 0, 1), 0)
	must(t, err)
	must(t, unix.Fsync(a))
	h.short(t, p)
	end := fill(t, a, 0, 4<<20, 1<<20, 2)
	for last := int64(0); last < end; { // the host may have a few blocks left after it refused many
		last, end = end, fill(t, a, 0, end, block, 2)
	}
	before := p.info().Info.Usage
	for range 50 {
		_, err = unix.Pwrite(a, stamped(block, 0, end, 3), end)
		fails(t, "a new block", err, unix.ENOSPC)
		_, err = unix.Pwrite(promised, stamped(1<<20, 1, 0, 3), 0)
		fails(t, "a promised block", err, unix.ENOSPC)
		fails(t, "fallocate", unix.Fallocate(a, 0, 256<<20, 1<<20), unix.ENOSPC)
	}
	if u := p.info().Info.Usage; u.Clean != before.Clean || u.Claimed != before.Claimed || u.Dirty != before.Dirty {
		t.Errorf("150 tries changed the pool: %+v, before %+v", u, before)
	}
	if st := p.try("pool", "status", "-x", p.name); st.code != 1 || !strings.Contains(st.stdout, "no space left on the host") {
		t.Errorf("the reason is not told: %v", st)
	}
	if out := p.try("pool", "status", "-xj", p.name).stdout; !strings.Contains(out, `"kind": "host-short"`) {
		t.Error(out)
	}
	_, err = unix.Pwrite(a, stamped(4<<20, 0, 0, 4), 0)
	must(t, err)
	must(t, unix.Fsync(a))
	p.slatefs("snapshot", p.at("a")+"@s")
	holds(t, p.snap("a", "s"), 0, 4<<20, 4, nil)
	p.slatefs("destroy", p.at("a")+"@s")
	must(t, unix.Fallocate(a, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4<<20, 4<<20))
	p.slatefs("erase", "wait", p.mnt)
	_, err = unix.Pwrite(a, stamped(2<<20, 0, 4<<20, 5), 4<<20) // the host has what was erased
	must(t, err)

	h.give(t, p)
	_, err = unix.Pwrite(promised, stamped(32<<20, 1, 0, 6), 0)
	must(t, err)
	must(t, unix.Fsync(promised))
	_, err = unix.Pwrite(a, stamped(1<<20, 0, end, 7), end)
	must(t, err)
	eventually(t, "the reason is gone", patience, func() bool {
		return strings.Contains(p.try("pool", "status", "-x", p.name).stdout, "all pools are healthy")
	})
	if now := p.pid(); now != pid {
		t.Errorf("process %d serves the pool, not %d", now, pid)
	}
	closeFD(t, a)
	closeFD(t, promised)
	holds(t, p.at("promised"), 1, 32<<20, 6, nil)
	p.end()
	p.check()
}

// TestSparsePoolHasItsOwn makes a sparse pool: what the pool itself needs is on the host from the beginning, and where the
// host has no space for that, there is no pool and no file.
func TestSparsePoolHasItsOwn(t *testing.T) {
	needsRoot(t)
	l := newLab(t)
	dir := smallFS(t, l)
	path := filepath.Join(dir, "lab.pool")
	p := l.createPool("lab", path, "", "--size", "4G", "--sparse")
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	if got, least := st.Blocks*512, int64(4<<30/256+4<<30/64); got < least || got > least+16<<20 {
		t.Errorf("the host has given %d bytes, the journal and the reserve of metadata are %d", got, least)
	}
	p.slatefs("pool", "destroy", "lab")
	must(t, os.Remove(path))
	takeAll(t, filepath.Join(dir, "ballast"), 20<<20)
	l.refuses(1, []string{"no space left on the host"}, "pool", "create", "--size", "4G", "--sparse", "lab", path)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error(fmt.Sprint("a file is left: ", err))
	}
}
