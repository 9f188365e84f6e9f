package fs

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slatefs/chain"
	"slatefs/fs/park"
)

// manySnapshots makes a directory of volumes with snapshots, each of all of them at once.
func manySnapshots(t *testing.T, p *chain.Pool, dir string, vols, snaps int) []chain.Ino {
	t.Helper()
	d, err := p.Mkdir(chain.Req{}, chain.RootIno, dir, 0o755)
	must(t, err)
	var inos []chain.Ino
	for i := range vols {
		a, err := p.Create(chain.Req{}, d.Ino, fmt.Sprintf("v%d", i), 0o644)
		must(t, err)
		inos = append(inos, a.Ino)
	}
	for i := range snaps {
		must(t, p.Snapshot(chain.Req{}, inos, fmt.Sprintf("s%d", i)))
	}
	return inos
}

// Among 20,000 snapshots one is found as quickly as among 200, all are listed, and with their attributes in one go.
func TestManySnapshots(t *testing.T) { onTransports(t, testManySnapshots) }

func testManySnapshots(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	const many, few, each = 1000, 10, 20
	manySnapshots(t, p, "many", many, each)
	manySnapshots(t, p, "few", few, each)
	stats := func(dir string, vols int) time.Duration { // of names that nobody has asked for before
		var all []time.Duration
		for i := range few * each {
			name := filepath.Join(s.Dir(), dir, ".snap", fmt.Sprintf("v%d@s%d", i*vols/(few*each), i%each))
			var st unix.Stat_t
			begin := time.Now()
			must(t, unix.Stat(name, &st))
			all = append(all, time.Since(begin))
		}
		slices.Sort(all)
		return all[len(all)/4]
	}
	small, large := stats("few", few), stats("many", many)
	t.Logf("stat among %d: %v, among %d: %v", few*each, small, many*each, large)
	if large > 10*small { // it was 60 times and more
		t.Errorf("stat among %d snapshots takes %v, among %d %v", many*each, large, few*each, small)
	}
	entries, err := os.ReadDir(filepath.Join(s.Dir(), "many", ".snap"))
	must(t, err)
	seen := map[string]bool{}
	for _, e := range entries {
		i, err := e.Info()
		must(t, err)
		if seen[e.Name()] || i.Mode() != 0o444 {
			t.Fatalf("%s: %v, seen before: %v", e.Name(), i.Mode(), seen[e.Name()])
		}
		seen[e.Name()] = true
	}
	if len(seen) != many*each {
		t.Errorf("%d names of %d", len(seen), many*each)
	}
}

// What the kernel was told of a snapshot it does not ask again.
func TestSnapshotNamesAreKept(t *testing.T) {
	var log logBuffer
	p, _ := newPool(t, classicInMemory)
	o := classicInMemory.options()
	o.Debug, o.Logger = true, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := mountOn(t, p, t.TempDir(), o)
	manySnapshots(t, p, "d", 3, 2)
	list := func() {
		t.Helper()
		entries, err := os.ReadDir(filepath.Join(s.Dir(), "d", ".snap"))
		must(t, err)
		if len(entries) != 6 {
			t.Errorf("%d names", len(entries))
		}
		for _, e := range entries {
			_, err := e.Info()
			must(t, err)
		}
	}
	list()
	asked := func() int { return strings.Count(log.String(), "LOOKUP") + strings.Count(log.String(), "GETATTR") }
	list()
	least := math.MaxInt
	for range 20 {
		before := asked()
		list()
		least = min(least, asked()-before)
	}
	if least > 3 { // of the directories, whose attributes are of a second, unless the host is slow
		t.Errorf("a list of 6 snapshots that the kernel knows asks %d times", least)
	}
}

// Whatever becomes of snapshots and their volumes, by command or through the mount, the kernel is told at once, though it may
// keep names and attributes for longer.
func TestSnapshotNamesFollow(t *testing.T) { onTransports(t, testSnapshotNamesFollow) }

func testSnapshotNamesFollow(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	inos := manySnapshots(t, p, "d", 3, 4)
	d, err := p.Resolve("d")
	must(t, err)
	in := func(name string) string { return filepath.Join(s.Dir(), "d", name) }
	names := func() string {
		entries, err := os.ReadDir(in(".snap"))
		if os.IsNotExist(err) {
			return "none"
		}
		must(t, err)
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return strings.Join(out, " ")
	}
	stat := func(name string) string {
		i, err := os.Stat(in(".snap/" + name))
		if err != nil {
			return "none"
		}
		return i.Mode().String()
	}
	const there, none = "-r--r--r--", "none"
	for i, step := range []struct {
		do   func() error
		want map[string]string // afterwards
	}{
		{func() error { names(); return nil }, map[string]string{"v0@s0": there, "v0@s1": there, "v1@s0": there}},
		{func() error { return p.RenameSnapshot(chain.Req{}, inos[0], "s0", "x") }, map[string]string{"v0@s0": none, "v0@x": there}},
		{
			func() error {
				return p.DestroySnapshots(chain.Req{}, inos[0], []string{"s1", "s2"}, chain.DestroyOptions{})
			},
			map[string]string{"v0@s1": none, "v0@s2": none, "v0@s3": there},
		},
		{func() error { return os.Chmod(in("v1"), 0o600) }, map[string]string{"v1@s0": "-r--------", "v2@s0": there}},
		{func() error { return os.Rename(in("v1"), in("w")) }, map[string]string{"v1@s0": none, "v1@s3": none, "w@s3": "-r--------"}},
		{func() error { return p.Rename(chain.Req{}, d.Ino, "w", chain.RootIno, "w", 0) }, map[string]string{"w@s3": none}},
		{func() error { return os.Remove(in("v0")) }, map[string]string{"v0@s3": none, "v2@s0": there}},
		{
			func() error {
				return p.DestroySnapshots(chain.Req{}, inos[2], []string{"s0", "s1", "s2"}, chain.DestroyOptions{})
			},
			map[string]string{"v2@s0": none, "v2@s3": there},
		},
		{
			func() error { return p.DestroySnapshots(chain.Req{}, inos[2], []string{"s3"}, chain.DestroyOptions{}) },
			map[string]string{"": none, "v2@s3": none},
		},
	} {
		must(t, step.do())
		for name, want := range step.want {
			got := stat(name)
			for end := time.Now().Add(snapTTL / 3); got != want && time.Now().Before(end); got = stat(name) {
				time.Sleep(time.Millisecond)
			}
			if got != want {
				t.Errorf("step %d: %q is %s, want %s", i, name, got, want)
			}
		}
	}
}

// A successor passes on what changes in any directory, as long as the kernel may believe what it was told before.
func TestSnapNewsOfAnHeir(t *testing.T) {
	p, _ := newPool(t, classicInMemory)
	file, err := park.MemFile(park.OpensName)
	must(t, err)
	defer file.Close()
	memory, err := park.NewMemory(file)
	must(t, err)
	f := New(p, nil)
	must(t, f.inherit(&Parked{Memory: memory}))
	n := &f.snaps
	n.tell(chain.SnapChange{Dir: 7, File: "v", Snap: "s"})
	if list, _ := n.take(); len(list) != 1 {
		t.Errorf("after a takeover: %v", list)
	}
	n.until = n.until.Add(-snapTTL)
	n.tell(chain.SnapChange{Dir: 7, File: "v", Snap: "s"})
	if list, whole := n.take(); len(list)+len(whole) != 0 {
		t.Errorf("after a minute: %v, %v", list, whole)
	}
}

// More names than are remembered one by one go with their directory.
func TestManySnapNews(t *testing.T) {
	var n snapNews
	n.init()
	n.tell(chain.SnapChange{Dir: 7, File: "v", Snap: "s"})
	if list, whole := n.take(); len(list)+len(whole) != 0 {
		t.Errorf("of a directory that nobody looked at: %v, %v", list, whole)
	}
	n.given(7)
	for i := range maxSnapNews + 10 {
		n.tell(chain.SnapChange{Dir: 7, File: "v", Snap: fmt.Sprint(i)})
	}
	list, whole := n.take()
	if _, all := whole[7]; !all || len(whole) != 1 || len(list) != 9 {
		t.Errorf("%d names and %v whole", len(list), whole)
	}
}
