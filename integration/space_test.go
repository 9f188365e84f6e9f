package integration

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The published truth about space accounting: what zfs printed at each of 19 steps (testdata/zfs-oracle.json). The same
// steps, done here through the mount and the command line, must show the same numbers at once when a command returns.
// Of AVAIL, what metadata takes is stated: the pages that the pool has grown by, and those that are promised along
// with promises and that the pool has no free pages for.

type oracle struct {
	Tolerance float64      `json:"tolerance_mib"`
	Steps     []oracleStep `json:"steps"`
}

type oracleStep struct {
	Scenario string      `json:"scenario"`
	Step     int         `json:"step"`
	Cmd      string      `json:"cmd"`
	OK       bool        `json:"ok"`
	Rows     []oracleRow `json:"rows"`
}

type oracleRow struct {
	Name  string            `json:"NAME"`
	Bytes map[string]*int64 `json:"bytes"`
}

// oracleColumns are the columns by their name there and here.
var oracleColumns = []string{"AVAIL", "USED", "USEDSNAP", "USEDDS", "USEDREFRESERV", "USEDCHILD", "REFER", "WRITTEN"}

// oracleActs are the steps as they are done here, by scenario. The volume rows that are published hold zfs's own
// metadata, 404M of a volume of 400M: they are compared with a volume of 404M and a refreservation of 414.5M.
func oracleActs(p *spacePool) map[string][]func() {
	const m = 1 << 20
	v, snap := p.at("v"), p.at("v")+"@test"
	do := func(args ...string) func() { return func() { p.slatefs(args...) } }
	write := func(off, n int64) func() { return func() { p.write("v", off*m, n*m) } }
	none := func() {}
	return map[string][]func(){
		"filesystem_refreservation": {
			none, do("create", "-o", "refreservation=400M", "--size", "1G", v), write(0, 100), write(0, 450), do("snapshot", snap),
			write(450, 50), do("destroy", snap), do("snapshot", snap),
		},
		"filesystem_reservation": {
			none, do("create", "-o", "reservation=400M", "--size", "1G", v), write(0, 100), write(0, 500), do("snapshot", snap),
		},
		"volume": {
			none, do("create", "-o", "refreservation=434634752", "--size", "404M", v), write(0, 101), do("snapshot", snap),
			write(101, 303), write(0, 101),
		},
	}
}

func TestSpaceOracle(t *testing.T) {
	var o oracle
	b, err := os.ReadFile("testdata/zfs-oracle.json")
	must(t, err)
	must(t, json.Unmarshal(b, &o))
	if len(o.Steps) != 19 {
		t.Fatalf("%d steps, want 19", len(o.Steps))
	}
	for _, scenario := range []string{"filesystem_refreservation", "filesystem_reservation", "volume"} {
		t.Run(scenario, func(t *testing.T) {
			p := newSpacePool(t, 880<<20)
			acts := oracleActs(p)[scenario]
			for _, s := range o.Steps {
				if s.Scenario != scenario {
					continue
				}
				if !s.OK {
					p.refuses(1, []string{
						// no pages for metadata: the store has as many free ones
						"cannot snapshot v@test: needs 400.0M (min of 500.0M written, 400.0M refreservation), ", "available: no space left in the pool",
					}, "snapshot", p.at("v")+"@test")
					t.Logf("step %d: %s: refused, as there", s.Step, s.Cmd)
					continue
				}
				acts[s.Step]()
				p.compare(s, o.Tolerance)
			}
		})
	}
}

// The cases that tell a right implementation from a plausible one; written-in-reserve and overwrite-after-snap are steps
// of the scenarios above.
func TestSpaceDiscriminators(t *testing.T) {
	const m = 1 << 20
	about := func(t *testing.T, what string, got, want int64) {
		t.Helper()
		if d := mib(got - want*m); math.Abs(d) > 1.6 {
			t.Errorf("%s: %.2fM, want %dM", what, mib(got), want)
		}
	}
	t.Run("min-not-written", func(t *testing.T) {
		p := newSpacePool(t, 950*m)
		p.slatefs("create", "-o", "refreservation=400M", "--size", "1G", p.at("v"))
		p.write("v", 0, 500*m)
		about(t, "available", p.space()[p.mnt]["AVAIL"]+p.metadata(), 450)
		p.slatefs("snapshot", p.at("v")+"@s") // needs min(500, 400), not 500
		about(t, "available after it", p.space()[p.mnt]["AVAIL"]+p.metadata(), 50)
	})
	t.Run("refer-not-used", func(t *testing.T) {
		p := newSpacePool(t, 1000*m)
		p.slatefs("create", "-o", "refreservation=300M", "--size", "1G", p.at("v"))
		p.write("v", 0, 300*m)
		p.slatefs("snapshot", p.at("v")+"@1")
		about(t, "available", p.space()[p.mnt]["AVAIL"]+p.metadata(), 400)
		p.write("v", 300*m, 50*m)
		p.slatefs("snapshot", p.at("v")+"@2") // needs min(50, 300), though 350 are referenced
		about(t, "used", p.space()[p.at("v")]["USED"], 650)
	})
	t.Run("refreserv_003_pos", func(t *testing.T) {
		p := newSpacePool(t, 100*m)
		p.slatefs("create", "-o", "quota=25M", "-o", "refreservation=10M", "--size", "1G", p.at("v"))
		for i := range int64(3) {
			p.write("v", i*7*m, 7*m)
			if i < 2 {
				p.slatefs("snapshot", fmt.Sprint(p.at("v"), "@", i))
			}
		}
		about(t, "used", p.space()[p.at("v")]["USED"], 24)
		p.refuses(1, []string{"needs 7.0M (min of 7.0M written, 10.0M refreservation), the quota of v leaves 1.0M of 25.0M"}, "snapshot", p.at("v")+"@2")
	})
}

// df in a tenant's directory shows its quota; what a promise covers can be written when all else is full; a refusal
// through the mount has the errno.
func TestTenants(t *testing.T) {
	const m = 1 << 20
	p := newSpacePool(t, 100*m)
	avail := p.space()[p.mnt]["AVAIL"]
	must(t, os.Mkdir(p.at("tenant"), 0o755))
	must(t, os.Mkdir(p.at("tenant/inner"), 0o755))
	p.slatefs("set", "quota=40M", "reservation=20M", p.at("tenant"))
	df := func(dir string) (total, avail int64) {
		var st unix.Statfs_t
		must(t, unix.Statfs(p.at(dir), &st))
		return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize
	}
	for _, dir := range []string{"tenant", "tenant/inner"} {
		if total, avail := df(dir); total != 40*m || avail != 40*m {
			t.Errorf("df %s: %.1fM, %.1fM available, want 40M", dir, mib(total), mib(avail))
		}
	}
	if total, _ := df(""); total < 95*m {
		t.Errorf("df of the pool: %.1fM", mib(total))
	}
	p.slatefs("create", "--size", "128M", p.at("tenant/inner/a"), p.at("b"))
	b := open(t, p.at("b"), unix.O_RDWR)
	end := fill(t, b, 0, 0, 1<<20, 1)
	end = fill(t, b, 0, end, 4096, 1)
	if free := avail - 20*m; end < free-4*m || end > free { // less by the metadata that the promise may need
		t.Errorf("%d bytes were written beside a reservation of 20M of %d", end, avail)
	}
	p.write("tenant/inner/a", 0, 20*m)
	if total, avail := df("tenant"); total > 24*m || avail > 4*m {
		t.Errorf("df of the tenant in a full pool: %.1fM, %.1fM available", mib(total), mib(avail))
	}
	closeFD(t, b)
	must(t, os.Remove(p.at("b")))
	a := open(t, p.at("tenant/inner/a"), unix.O_RDWR)
	_, err := unix.Pwrite(a, make4k(1), 100*m)
	must(t, err)
	for off := int64(20 * m); err == nil; off += 4096 {
		_, err = unix.Pwrite(a, make4k(1), off)
	}
	fails(t, "a write above the quota", err, unix.EDQUOT)
	fails(t, "fallocate above it", unix.Fallocate(a, 0, 200*m, m), unix.EDQUOT)
	closeFD(t, a)
	p.slatefs("set", "refreservation=auto", p.mnt)
	f, err := os.Create(p.at("c"))
	must(t, err)
	fails(t, "truncate to more than can be promised", f.Truncate(1<<30), unix.ENOSPC)
	must(t, f.Close())
}

func make4k(c byte) []byte { return bytes.Repeat([]byte{c}, 4096) }

// compare prints the rows beside the published ones and checks every column.
func (p *spacePool) compare(s oracleStep, tolerance float64) {
	p.t.Helper()
	rows, meta := p.space(), p.metadata()
	p.t.Logf("step %d: %s (metadata %.1fM)", s.Step, s.Cmd, mib(meta))
	for _, r := range s.Rows {
		name := p.mnt
		if _, below, ok := strings.Cut(r.Name, "/"); ok {
			name = p.at("v")
			if _, snap, ok := strings.Cut(below, "@"); ok {
				name += "@" + snap
			}
		}
		got := rows[name]
		line := fmt.Sprintf("%-16s", r.Name)
		for _, c := range oracleColumns {
			want, have := r.Bytes[c], got[c]
			if want == nil {
				line += fmt.Sprintf("  %s -/-", c)
				continue
			}
			line += fmt.Sprintf("  %s %.1f/%.1f", c, mib(have), mib(*want))
			if c == "AVAIL" {
				have += meta
			}
			if d := mib(have - *want); math.Abs(d) > tolerance {
				p.t.Errorf("step %d, %s: %s is %.2fM, published %.2fM, metadata %.2fM", s.Step, r.Name, c, mib(got[c]), mib(*want), mib(meta))
			}
		}
		p.t.Log(line)
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// spacePool is a mounted pool with a certain space available.
type spacePool struct {
	*pool
	meta int64 // metadata at first
}

// newSpacePool makes a pool of which avail bytes are available, to a mebibyte.
func newSpacePool(t *testing.T, avail int64) *spacePool {
	t.Helper()
	needs(t, "dd")
	l := newLab(t)
	size := avail + avail/32 + 8<<20
	for try := 0; ; try++ {
		p := &spacePool{pool: l.newPool(fmt.Sprint("p", try), strconv.FormatInt(size, 10), "")}
		p.mount()
		p.slatefs("set", "erase_throughput=0", p.mnt)
		got := p.space()[p.mnt]["AVAIL"]
		if d := avail - got; try < 4 && (d > 256<<10 || d < -256<<10) {
			p.umount()
			size += d / block * block
			continue
		}
		p.meta = p.info().Info.Usage.Metadata
		return p
	}
}

// write writes random bytes to a volume, durably.
func (p *spacePool) write(volume string, off, n int64) {
	p.t.Helper()
	fd := open(p.t, p.at(volume), unix.O_RDWR)
	defer closeFD(p.t, fd)
	b := make([]byte, 1<<20)
	for end := off + n; off < end; off += int64(len(b)) {
		b = b[:min(int64(len(b)), end-off)]
		_, err := rand.Read(b[:min(len(b), 4096)])
		must(p.t, err)
		for i := 4096; i < len(b); i += 4096 {
			b[i] = byte(i>>12) | 1
		}
		_, err = unix.Pwrite(fd, b, off)
		must(p.t, err)
	}
	must(p.t, unix.Fsync(fd))
}

// space lists all rows by name, the columns by their short names, in bytes.
func (p *spacePool) space() map[string]map[string]int64 {
	p.t.Helper()
	rows := map[string]map[string]int64{}
	out := p.slatefs("list", "-Hp", "-t", "all", "-r", "-o", "name,"+strings.ToLower(strings.Join(oracleColumns, ",")), p.mnt)
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		cells := strings.Split(line, "\t")
		row := map[string]int64{}
		for i, c := range oracleColumns {
			if n, err := strconv.ParseInt(cells[i+1], 10, 64); err == nil {
				row[c] = n
			}
		}
		rows[cells[0]] = row
	}
	return rows
}

// metadata is what AVAIL lacks because of metadata, beyond what the empty pool had: pages, and what is promised for
// pages and the next checkpoint that the pool has no free ones for.
func (p *spacePool) metadata() int64 {
	p.t.Helper()
	u := p.info().Info.Usage
	lacks := u.Clean + u.Claimed + u.Dirty + u.Freeing - u.Reserve - u.Promised - u.Available
	if u.Available == 0 {
		p.t.Errorf("nothing is available: %+v", u)
	}
	return lacks + u.Metadata - p.meta
}
