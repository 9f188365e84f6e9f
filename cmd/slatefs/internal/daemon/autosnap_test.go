package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/schedule"
	"slatefs/fs"
)

// fakeClock is a clock that is set. Whoever asks it finds it a little later than who asked before.
type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(time.Nanosecond)
	return c.t
}

// set sets the clock, as 2026-11-29 12:00; what is left out stays.
func (c *fakeClock) set(t *testing.T, text string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	when, err := time.Parse("2006-01-02 15:04", (c.t.Format("2006-01-02 ") + text)[max(0, len(text)-5):])
	if len(text) > 5 {
		when, err = time.Parse("2006-01-02 15:04", text)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.t = when
}

func (c *fakeClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// snapBench is a bench whose snapshots are made by a clock that is set.
type snapBench struct {
	*bench
	clock *fakeClock
	auto  *autosnap
	log   bytes.Buffer
}

func newSnapBench(t *testing.T, now string) *snapBench {
	t.Helper()
	b := &snapBench{clock: &fakeClock{}}
	b.clock.set(t, now)
	b.bench = newBenchAt(t, b.clock.now)
	b.restart()
	return b
}

// restart makes another daemon's memory of it, which has none.
func (b *snapBench) restart() {
	b.auto = newAutosnap(b.pool, slog.New(slog.NewTextHandler(&b.log, nil)), b.clock.now, nil)
	b.s.autosnap = b.auto
}

// turn does what is due, if an hour has begun, and tells whether that was all.
func (b *snapBench) turn() bool {
	b.t.Helper()
	select {
	case <-b.auto.poke:
		b.auto.looked = time.Time{}
	default:
	}
	return !b.auto.due() || b.auto.turn(b.t.Context())
}

func (b *snapBench) at(now string) {
	b.t.Helper()
	b.clock.set(b.t, now)
	if !b.turn() {
		b.t.Errorf("at %s something was refused: %s", now, b.log.String())
	}
}

// setOn sets properties of something, as NAME=VALUE.
func (b *snapBench) setOn(path string, props ...string) {
	b.t.Helper()
	args := control.SetArgs{Object: object(path)}
	for _, p := range props {
		name, val, _ := strings.Cut(p, "=")
		args.Settings = append(args.Settings, control.Setting{Name: name, Value: val})
	}
	_, err := b.s.setProps(b.t.Context(), control.Peer{Op: "set"}, args)
	b.must(err)
}

// want compares the snapshots of a volume: names, of automatic ones the time as 29T12.
func (b *snapBench) want(what, path, want string) {
	b.t.Helper()
	if got := b.got(path); got != want {
		b.t.Errorf("%s: %s has %q, want %q", what, path, got, want)
	}
}

func (b *snapBench) got(path string) string {
	b.t.Helper()
	a, err := b.pool.Resolve(path)
	b.must(err)
	list, err := b.pool.Snapshots(a.Ino)
	b.must(err)
	var names []string
	for _, n := range list {
		name, ok := strings.CutPrefix(n.Name, "auto-2026-11-")
		if name = strings.TrimSuffix(name, "00Z"); !ok || !n.Auto {
			name = n.Name
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// TestAutosnap: a day of a directory and a volume, through restarts: made when due, late once, thinned, all of one place at an instant.
func TestAutosnap(t *testing.T) {
	b := newSnapBench(t, "2026-11-29 09:10")
	b.mkdir("", "d")
	b.mkdir("d", "e")
	for _, name := range []string{"d/v", "d/e/w", "d/off", "single", "other"} {
		b.volume(name, 1<<20, 1)
	}
	b.setOn("d", "autosnap=hourly:3,daily:2")
	b.setOn("d/off", "autosnap=none")
	b.setOn("single", "autosnap=hourly:1")
	b.at("09:20")
	b.want("made after 09:00, which was due then", "d/v", "")
	b.at("10:00")
	b.at("10:59")
	b.restart()
	b.at("10:59")
	b.want("at 10:59", "d/v", "29T10")
	b.snapshot("d/v@mine")
	b.snapshot("d/v@auto-2026-11-29T0900Z") // by hand
	b.at("12:30")
	b.restart()
	b.at("12:40")
	b.want("11:00 was missed, 12:00 is late", "d/v", "29T10 mine auto-2026-11-29T0900Z 29T12")
	for h := 13; h < 24; h++ {
		b.at(fmt.Sprintf("%d:05", h))
	}
	b.want("at 23:05", "d/v", "29T10 mine auto-2026-11-29T0900Z 29T21 29T22 29T23")
	b.want("below", "d/e/w", "29T10 29T21 29T22 29T23")
	b.want("by itself", "single", "29T23")
	b.want("none", "d/off", "")
	b.want("not asked for", "other", "")
	b.at("2026-11-30 01:00")
	b.want("the next day", "d/e/w", "29T10 29T22 29T23 30T01")
	b.clock.set(t, "2026-12-08 00:00")
	b.turn()
	b.want("after a week without", "d/e/w", "29T23 30T01 auto-2026-12-08T0000Z")
	b.oneInstant("d/v", "d/e/w")
}

// TestAutosnapImporting: what an import makes gets no automatic snapshot until it has its name; the name alone proves nothing, nor does
// the mark of another volume.
func TestAutosnapImporting(t *testing.T) {
	b := newSnapBench(t, "2026-11-29 09:10")
	b.mkdir("", "d")
	b.setOn("d", "autosnap=hourly:3")
	ino := map[string]chain.Ino{}
	for _, name := range []string{"d/v", "d/half.importing", "d/named.importing", "d/copied.importing", "d/was"} {
		b.volume(name, 1<<20, 1)
		a, err := b.pool.Resolve(name)
		b.must(err)
		ino[name] = a.Ino
	}
	for name, of := range map[string]string{"d/half.importing": "d/half.importing", "d/copied.importing": "d/v", "d/was": "d/was"} {
		b.must(b.pool.SetXattr(chain.Req{}, ino[name], control.HalfAttr, control.HalfMark(uint64(ino[of])), 0))
	}
	b.at("10:00")
	b.want("half made", "d/half.importing", "")
	_, err := b.s.snapshot(t.Context(), control.Peer{}, control.SnapshotArgs{Objects: []control.Object{object("d@mine")}})
	b.must(err)
	if b.pool.HasSnapshot(ino["d/half.importing"], "mine") || !b.pool.HasSnapshot(ino["d/was"], "mine") {
		t.Error("a snapshot of the directory is one of what an import makes, or not one of the others")
	}
	for _, name := range []string{"d/v", "d/named.importing", "d/copied.importing", "d/was"} {
		b.must(b.pool.DestroySnapshots(chain.Req{}, ino[name], []string{"mine"}, chain.DestroyOptions{}))
	}
	for _, name := range []string{"d/v", "d/named.importing", "d/copied.importing", "d/was"} {
		b.want("no import's", name, "29T10")
		args := control.DestroyArgs{Object: object(name), Snapshots: true, Now: true, Half: true}
		if _, err := b.s.destroy(t.Context(), control.Peer{}, args); !errors.Is(err, control.ErrExist) {
			t.Errorf("%s is destroyed as if an import had left it: %v", name, err)
		}
		b.want("no import's", name, "29T10")
	}
	b.must(b.pool.RemoveXattr(chain.Req{}, ino["d/half.importing"], control.HalfAttr))
	_, err = b.s.rename(t.Context(), control.Peer{}, control.RenameArgs{Object: object("d/half.importing"), New: object("d/half")})
	b.must(err)
	b.at("11:00")
	b.want("whole", "d/half", "29T11")
}

// closing is a mount on which an import comes to its end while somebody waits for its last close.
type closing struct {
	noView
	end func()
}

func (c closing) Holders(chain.Ino) ([]fs.Holder, error) {
	c.end()
	return nil, nil
}

// TestImportEndsMeanwhile: another import that waits for the close of one that just ends takes away nothing that is whole.
func TestImportEndsMeanwhile(t *testing.T) {
	b := newBench(t)
	b.volume("v.importing", 1<<20, 1)
	a, err := b.pool.Resolve("v.importing")
	b.must(err)
	b.must(b.pool.SetXattr(chain.Req{}, a.Ino, control.HalfAttr, control.HalfMark(uint64(a.Ino)), 0))
	b.must(b.pool.OpenFile(a.Ino, true))
	b.s.View = closing{end: func() {
		b.must(b.pool.RemoveXattr(chain.Req{}, a.Ino, control.HalfAttr))
		b.must(b.pool.Rename(chain.Req{}, chain.RootIno, "v.importing", chain.RootIno, "v", chain.RenameNoReplace))
		b.pool.ReleaseFile(a.Ino, true)
	}}
	args := control.DestroyArgs{Object: object("v.importing"), Snapshots: true, Now: true, Half: true}
	_, err = b.s.destroy(t.Context(), control.Peer{}, args)
	if !errors.Is(err, control.ErrExist) {
		t.Errorf("want it refused as no import's: %v", err)
	}
	_, err = b.pool.Resolve("v")
	b.must(err)
}

// oneInstant: automatic snapshots of one name are of one instant.
func (b *snapBench) oneInstant(paths ...string) {
	b.t.Helper()
	created := map[string]time.Time{}
	for _, path := range paths {
		a, err := b.pool.Resolve(path)
		b.must(err)
		list, err := b.pool.Snapshots(a.Ino)
		b.must(err)
		for _, n := range list {
			if was, ok := created[n.Name]; ok && n.Auto && !was.Equal(n.Created) {
				b.t.Errorf("%s is of two instants, %v and %v", n.Name, was, n.Created)
			}
			created[n.Name] = n.Created
		}
	}
}

// TestAutosnapClock: the clock is set back and forward, and hours of local time come twice.
func TestAutosnapClock(t *testing.T) {
	b := newSnapBench(t, "2026-11-28 00:00")
	b.volume("v", 1<<20, 1)
	b.setOn("v", "autosnap=hourly:2")
	b.at("2026-11-29 10:00")
	b.at("2026-11-29 11:00")
	b.clock.set(t, "2026-11-29 10:30")
	for range 3 {
		b.turn()
		b.restart()
	}
	b.want("set back by half an hour: nothing twice", "v", "29T10 29T11")
	b.at("2026-11-29 11:30")
	b.at("2026-11-29 12:00")
	b.want("on again", "v", "29T11 29T12")
	b.at("2026-11-25 07:00") // days back: it goes on from there, and what is of the future stays
	b.at("2026-11-25 08:00")
	b.at("2026-11-25 09:00")
	b.want("set back by days", "v", "29T11 29T12 25T08 25T09")
	b.at("2026-11-30 01:00")
	b.want("set right", "v", "29T12 30T01")
	zone, err := time.LoadLocation("Europe/Berlin")
	b.must(err)
	local := time.Date(2026, 10, 25, 0, 30, 0, 0, zone) // 02:00 to 03:00 comes twice
	for range 5 {
		b.clock.mu.Lock()
		b.clock.t = local
		b.clock.mu.Unlock()
		b.turn()
		local = local.Add(time.Hour)
	}
	if got := b.got("v"); got != "29T12 30T01 auto-2026-10-25T0100Z auto-2026-10-25T0200Z" {
		t.Errorf("in the night when the clocks go back: %s", got)
	}
}

// TestAutosnapKeeps: what was taken by hand, is held, has clones, or was renamed, stays; and what somebody destroyed is not made again.
func TestAutosnapKeeps(t *testing.T) {
	b := newSnapBench(t, "2026-11-28 00:00")
	ctx, who := t.Context(), control.Peer{}
	b.volume("v", 1<<20, 1)
	b.setOn("v", "autosnap=hourly:1")
	for h := 10; h < 14; h++ {
		b.at(fmt.Sprintf("2026-11-29 %d:00", h))
		name := fmt.Sprintf("v@auto-2026-11-29T%d00Z", h)
		var err error
		switch h {
		case 10:
			_, err = b.s.tag(ctx, who, control.TagArgs{Tag: "audit", Objects: []control.Object{object(name)}})
		case 11:
			_, err = b.s.clone(ctx, who, control.CloneArgs{Object: object(name), New: object("c")})
		case 12:
			_, err = b.s.rename(ctx, who, control.RenameArgs{Object: object(name), Name: "auto-2026-11-29T0100Z"})
		}
		b.must(err)
	}
	b.at("2026-11-29 14:00")
	b.want("kept", "v", "29T10 29T11 auto-2026-11-29T0100Z 29T14")
	_, err := b.s.tag(ctx, who, control.TagArgs{Tag: "audit", Off: true, Objects: []control.Object{object("v@%")}})
	b.must(err)
	_, err = b.s.destroy(ctx, who, control.DestroyArgs{Object: object("c")})
	b.must(err)
	_, err = b.s.destroy(ctx, who, control.DestroyArgs{Object: object("v@auto-2026-11-29T1400Z")})
	b.must(err)
	b.setOn("v", "autosnap=hourly:2")
	b.at("2026-11-29 14:30")
	b.want("one that somebody destroyed is not made again", "v", "29T10 29T11 auto-2026-11-29T0100Z")
	b.at("2026-11-29 15:00")
	b.want("what nobody needs any more goes", "v", "29T11 auto-2026-11-29T0100Z 29T15")
	b.setOn("v", "autosnap=none")
	b.at("2026-11-29 16:00")
	b.want("without a plan nothing goes", "v", "29T11 auto-2026-11-29T0100Z 29T15")
}

// TestAutosnapRefused: a volume whose snapshot is refused keeps no other from it, the log says so once, and it has one when it can.
func TestAutosnapRefused(t *testing.T) {
	b := newSnapBench(t, "2026-11-28 00:00")
	b.mkdir("", "d")
	for i := range 6 {
		b.volume(fmt.Sprint("d/v", i), 1<<20, 1)
	}
	big := b.volume("d/big", 8<<20, 2000)
	b.setOn("d/big", "refreservation=auto")
	b.setOn("d", "autosnap=hourly:2")
	b.volume("elsewhere", 1<<20, 1)
	b.setOn("elsewhere", "autosnap=hourly:2")
	b.volume("filler", 64<<20, 0)
	b.at("2026-11-29 09:00")
	_, err := big.WriteAt(bytes.Repeat([]byte{2}, 2000*chain.BlockSize), 0)
	b.must(err)
	avail, _ := b.pool.Headroom()
	b.setOn("filler", fmt.Sprintf("reservation=%dK", (avail-(3<<20))>>10)) // now another snapshot of big has no room
	b.clock.set(t, "2026-11-29 10:00")
	for range 3 {
		if b.turn() {
			t.Error("all was done, want one refused")
		}
		b.clock.pass(autosnapAgain)
	}
	for i := range 6 {
		b.want("beside it", fmt.Sprint("d/v", i), "29T09 29T10")
	}
	b.oneInstant("d/v0", "d/v1", "d/v2", "d/v3", "d/v4", "d/v5")
	b.want("in another place", "elsewhere", "29T09 29T10")
	b.want("itself", "d/big", "29T09")
	if n := strings.Count(b.log.String(), "level=WARN"); n != 1 || !strings.Contains(b.log.String(), "volume=d/big") {
		t.Errorf("%d warnings, want one of d/big: %s", n, b.log.String())
	}
	_, err = b.s.destroy(t.Context(), control.Peer{}, control.DestroyArgs{Object: object("filler")})
	b.must(err)
	if !b.turn() {
		t.Error("it is refused though there is room")
	}
	b.want("when there is room", "d/big", "29T09 29T10")
}

// TestAutosnapInHalves: where there is room for each alone and not for all, as many are frozen as there is room for, and the log and the
// event say at how many instants.
func TestAutosnapInHalves(t *testing.T) {
	b := newSnapBench(t, "2026-11-28 00:00")
	events := newChronicle(b.pool, slog.New(slog.DiscardHandler), b.clock.now)
	b.auto.chronicle = events
	b.mkdir("", "d")
	big := []*chain.Volume{b.volume("d/a", 6<<20, 1500), b.volume("d/b", 6<<20, 1500)}
	for i := range 4 {
		b.volume(fmt.Sprint("d/v", i), 1<<20, 1)
	}
	b.setOn("d/a", "refreservation=auto")
	b.setOn("d/b", "refreservation=auto")
	b.setOn("d", "autosnap=hourly:2")
	b.volume("filler", 64<<20, 0)
	b.at("2026-11-29 09:00")
	for _, v := range big {
		_, err := v.WriteAt(bytes.Repeat([]byte{2}, 1500*chain.BlockSize), 0)
		b.must(err)
	}
	avail, _ := b.pool.Headroom()
	b.setOn("filler", fmt.Sprintf("reservation=%dK", (avail-(9<<20))>>10)) // there is room for one of the two
	b.clock.pass(alikeLast)
	b.clock.set(t, "2026-11-29 10:00")
	if b.turn() {
		t.Error("all was done, want one refused")
	}
	b.want("the first", "d/a", "29T09 29T10")
	b.want("the second", "d/b", "29T09")
	for i := range 4 {
		b.want("beside them", fmt.Sprint("d/v", i), "29T09 29T10")
	}
	lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
	if log := lines[len(lines)-1]; !strings.Contains(log, "volumes=5 instants=3 refused=1") {
		t.Errorf("the log does not say that it was in pieces: %s", log)
	}
	events.release(true)
	if !slices.ContainsFunc(events.queue, func(e chain.Event) bool {
		return strings.HasSuffix(e.Text, "of 5 volumes, at 3 instants: together they were refused") &&
			slices.Contains(e.Numbers, chain.EventNumber{Name: "instants", Value: 3})
	}) {
		t.Errorf("no event says it: %+v", events.queue)
	}
}

// TestAutosnapFull: where the pool has no room for the snapshot of any, what has had its time goes all the same, and none is lost for that.
func TestAutosnapFull(t *testing.T) {
	b := newSnapBench(t, "2026-11-28 00:00")
	v := b.volume("v", 8<<20, 2000)
	b.setOn("v", "refreservation=auto", "autosnap=hourly:2")
	b.at("2026-11-29 09:00")
	b.at("2026-11-29 10:00")
	_, err := v.WriteAt(bytes.Repeat([]byte{2}, 2000*chain.BlockSize), 0)
	b.must(err)
	b.volume("filler", 64<<20, 0)
	avail, _ := b.pool.Headroom()
	b.setOn("filler", fmt.Sprintf("reservation=%dK", (avail-(3<<20))>>10))
	for h := 11; h < 15; h++ {
		b.clock.set(t, fmt.Sprintf("2026-11-29 %d:00", h))
		if b.turn() {
			t.Errorf("at %d:00 nothing was refused", h)
		}
	}
	b.want("in a full pool", "v", "29T09 29T10")
	b.setOn("filler", "reservation=none")
	b.clock.set(t, "2026-11-29 14:30")
	b.turn()
	b.want("when there is room", "v", "29T10 29T14")
}

// TestAutosnapCrash: a daemon that ends at any operation of the device leaves a set whole or untouched, and its successor makes what
// lacks, once, and thins what was left.
func TestAutosnapCrash(t *testing.T) {
	clock := &fakeClock{}
	clock.set(t, "2026-11-28 00:00")
	base := devtest.New(16<<20, 512)
	if err := chain.Create(base, chain.Format{Name: "lab", UUID: [16]byte{9}, Zeroed: true, Now: clock.now}); err != nil {
		t.Fatal(err)
	}
	open := func(d *devtest.Disk) (*chain.Pool, *autosnap) {
		t.Helper()
		p, err := chain.Open(d, chain.Options{Properties: control.Served, Now: clock.now})
		if err != nil {
			t.Fatal(err)
		}
		return p, newAutosnap(p, slog.New(slog.DiscardHandler), clock.now, nil)
	}
	p, a := open(base)
	var inos []chain.Ino
	for i := range 6 {
		at, err := p.Create(chain.Req{}, chain.RootIno, fmt.Sprint("v", i), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		inos = append(inos, at.Ino)
	}
	err := p.SetProps(chain.Req{}, chain.RootIno, chain.Setting{Name: schedule.PropAutosnap, Value: "hourly:1"})
	clock.set(t, "2026-11-29 10:00")
	if !a.turn(t.Context()) || errors.Join(err, p.Close()) != nil {
		t.Fatal("the first snapshots", err)
	}
	clock.set(t, "2026-11-29 11:10")
	states := map[int]bool{}
	for k, crashed := 1, true; crashed; k++ {
		d := base.Clone()
		p, a := open(d)
		d.CrashAt(k)
		a.turn(t.Context())
		crashed = d.Crashed()
		_ = p.Close()
		p, a = open(d.Durable())
		made, left := 0, 0
		for _, ino := range inos {
			for name, n := range map[string]*int{"auto-2026-11-29T1100Z": &made, "auto-2026-11-29T1000Z": &left} {
				if p.HasSnapshot(ino, name) {
					*n++
				}
			}
		}
		states[made*10+left] = true
		if made != 0 && made != len(inos) || made == 0 && left != len(inos) {
			t.Fatalf("crash at operation %d: %d of %d are made, %d are left", k, made, len(inos), left)
		}
		if !a.turn(context.Background()) {
			t.Fatalf("crash at operation %d: something is refused", k)
		}
		for _, ino := range inos {
			list, err := p.Snapshots(ino)
			if err != nil || len(list) != 1 || list[0].Name != "auto-2026-11-29T1100Z" || !list[0].Auto {
				t.Fatalf("crash at operation %d: afterwards there are %+v, %v", k, list, err)
			}
		}
		if r, err := p.Check(t.Context()); err != nil || len(r.Errors) > 0 {
			t.Fatalf("crash at operation %d: %v, %v", k, r, err)
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !states[6] || !states[66] && !states[60] {
		t.Errorf("there was none made, or none left: %v", states)
	}
}

// TestAutosnapRuns: the helper makes snapshots when the property is set, and ends with its context.
func TestAutosnapRuns(t *testing.T) {
	b := newSnapBench(t, "2026-11-28 00:00")
	b.volume("v", 1<<20, 1)
	b.clock.set(t, "2026-11-29 10:00")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.auto.run(ctx) }()
	b.setOn("", "autosnap=daily:1")
	for b.got("v") == "" {
		time.Sleep(time.Millisecond)
	}
	b.want("when it is set", "v", "29T00")
	cancel()
	b.must(<-done)
}
