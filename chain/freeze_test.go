package chain

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"slatefs/chain/blockdev/devtest"
)

// manyVolumes makes n volumes with a block each.
func manyVolumes(t testing.TB, p *Pool, n int) (vs []*Volume, inos []Ino) {
	t.Helper()
	for i := range n {
		v := mustVolume(t, p, fmt.Sprint("v", i), 4*BlockSize)
		ok(t, planOne(v, 0))
		vs, inos = append(vs, v), append(inos, v.ino)
	}
	return vs, inos
}

// halfFrozen makes the instant of a freeze and calls fn before a head is switched, with the structure lock held.
func halfFrozen(t testing.TB, p *Pool, vols []Ino, name string, fn func()) {
	t.Helper()
	got, err := p.commits.getRoom(t.Context(), credit{bytes: freezeBytes(len(vols))})
	ok(t, err)
	p.structure.Lock()
	defer p.structure.Unlock()
	f, err := p.prepareFreeze(vols, name)
	ok(t, err)
	ok(t, f.instant(&recFreeze{vols: vols, name: name, list: volumeList(vols), later: f.later}, got))
	fn()
	p.tree.switchRest(vols)
}

// stamped is a write of its number to the first block of a volume: numbers are given when a write begins and when it is acknowledged.
type stamped struct{ began, acked uint64 }

// A snapshot of many volumes is of one instant, whoever writes meanwhile: of what is in it, nothing began after something was
// acknowledged that is not.
func TestSnapshotIsOneInstant(t *testing.T) {
	const n, writers = 60, 3
	p := openPool(t, newDisk(t, 64<<20))
	vs, inos := manyVolumes(t, p, n)
	var clock atomic.Uint64
	var wrote [n][]stamped // by the writer of the volume alone
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := rng.IntN(n/writers)*writers + w
				s := stamped{began: clock.Add(1)}
				b := binary.BigEndian.AppendUint64(nil, s.began)
				if _, err := vs[i].WriteAt(append(b, make([]byte, BlockSize-8)...), 0); err != nil {
					t.Error(err)
					return
				}
				s.acked = clock.Add(1)
				wrote[i] = append(wrote[i], s)
			}
		})
	}
	const snaps = 12
	for s := range snaps {
		ok(t, p.Snapshot(Req{}, inos, fmt.Sprint("s", s)))
	}
	close(stop)
	wg.Wait()
	for s := range snaps {
		var last uint64 // that began, of those in it
		var in [n]uint64
		for i, v := range vs {
			var b [8]byte
			_, err := snapOf(t, v, fmt.Sprint("s", s)).ReadAt(b[:], 0)
			ok(t, err)
			in[i] = binary.BigEndian.Uint64(b[:])
			last = max(last, in[i])
		}
		for i := range vs {
			next := slices.IndexFunc(wrote[i], func(w stamped) bool { return w.began > in[i] })
			if next >= 0 && wrote[i][next].acked < last {
				t.Errorf("snapshot %d: volume %d lacks write %v, which was acknowledged before write %d began, which is in it", s, i, wrote[i][next], last)
			}
		}
	}
}

// Between the instant and the switch of a head, whoever reaches it finds the new one; replay finds what he found; and what is
// found of those that nobody has reached is the same.
func TestHeadsAreSwitchedWhenReached(t *testing.T) {
	for name, do := range map[string]func(late) error{
		"nothing":            func(late) error { return nil },
		"a write":            func(x late) error { return planOne(x.v, 0) },
		"a write past it":    func(x late) error { return planOne(x.w, 70) },
		"a discard":          func(x late) error { return x.v.Punch(0, 2*BlockSize) },
		"a snapshot's name":  func(x late) error { x.p.HasSnapshot(x.w.ino, "late"); return nil },
		"an abort":           lateChanges["a write that is given up"].beside,
		"a commit":           func(x late) error { _, err := x.p.commits.commit(never, always); return err },
		"a write and a sync": func(x late) error { _ = planOne(x.w, 3); _, err := x.p.commits.commit(never, always); return err },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 16<<20)
			c := newClock()
			p, err := openAs(d, testHost(1, c), c, false)
			ok(t, err)
			x := late{p, mustVolume(t, p, "v", 64*BlockSize), mustVolume(t, p, "w", 64*BlockSize)}
			for lb := range int64(4) {
				ok(t, planOne(x.v, lb))
				ok(t, planOne(x.w, lb))
			}
			var heads [2]LayerID
			halfFrozen(t, p, []Ino{x.v.ino, x.w.ino}, "late", func() {
				heads = [2]LayerID{p.tree.heads[x.v.ino].id, p.tree.heads[x.w.ino].id}
				ok(t, do(x))
				_, err := p.commits.commit(never, always)
				ok(t, err)
				d = d.Clone()
			})
			mustCheck(t, p)
			if v, w := x.v.head(), x.w.head(); v.parent.id != heads[0] || w.parent.id != heads[1] || w.id != v.id+1 {
				t.Errorf("heads %v and %v, on %v and %v; they were %v", v.id, w.id, v.parent.id, w.parent.id, heads)
			}
			want := portrait(t, p, x.v.ino, x.w.ino)
			ok(t, p.Close())
			c = newClock()
			q, err := openAs(d.Crash(rand.New(rand.NewPCG(1, 1))), testHost(1, c), c, true)
			ok(t, err)
			if got := portrait(t, q, x.v.ino, x.w.ino); timeless(got) != timeless(want) {
				t.Errorf("after a crash:\n%s\nwant\n%s", got, want)
			}
			mustCheck(t, q)
			ok(t, q.Close())
		})
	}
}

// timeless is a portrait without the times of writes, which only a checkpoint makes durable.
func timeless(s string) string { return regexp.MustCompile("[MC]time:.*? UTC").ReplaceAllString(s, "") }

// A crash at any operation of the device leaves the snapshot of all volumes, or of none.
func TestCrashInAFreeze(t *testing.T) {
	const n = 30
	d := newDisk(t, 64<<20)
	p := openPool(t, d)
	vs, inos := manyVolumes(t, p, n)
	for _, v := range vs {
		write(t, v, fill('a', BlockSize), 0)
	}
	ok(t, p.Flush())
	var crashed []*devtest.Disk
	var mu sync.Mutex
	note := func() {
		mu.Lock()
		defer mu.Unlock()
		crashed = append(crashed, d.Clone().Crash(rand.New(rand.NewPCG(uint64(len(crashed)), 1))))
	}
	d.Fail(func(op devtest.Op) error { note(); return nil })
	done := make(chan error)
	go func() { done <- p.Snapshot(Req{}, inos, "s") }()
	for i := 0; ; i++ {
		select {
		case err := <-done:
			ok(t, err)
		default:
			if i < 3*n {
				write(t, vs[i%n], fill('b', BlockSize), 0)
			}
			continue
		}
		break
	}
	note()
	d.Fail(nil)
	all := 0
	for k, d := range crashed {
		q := openPool(t, d)
		var with, wrong int
		for _, ino := range inos {
			if !q.HasSnapshot(ino, "s") {
				continue
			}
			with++
			v, err := q.Volume(ino)
			ok(t, err)
			b := make([]byte, BlockSize)
			_, err = snapOf(t, v, "s").ReadAt(b, 0)
			ok(t, err)
			if b[0] != 'a' && b[0] != 'b' || b[0] != b[BlockSize-1] {
				wrong++
			}
		}
		if with != 0 && with != n || wrong != 0 {
			t.Errorf("crash %d: %d of %d volumes have the snapshot, %d of them wrong", k, with, n, wrong)
		}
		all += with / n
		mustCheck(t, q)
		ok(t, q.Close())
	}
	if all == 0 || all == len(crashed) {
		t.Errorf("%d of %d crashes have the snapshot", all, len(crashed))
	}
}

// A snapshot that one of its volumes has no space for, or a quota, leaves all as it was.
func TestRefusedFreezeLeavesNoTrace(t *testing.T) {
	for name, want := range map[string]error{"space": ErrNoSpace, "quota": ErrQuota, "a name": ErrExist} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 8<<20))
			vs, inos := manyVolumes(t, p, 20)
			big := mustVolume(t, p, "big", 4<<20)
			inos = append(inos, big.ino)
			setProp(t, p, vs[3].ino, propRefreservation, "16K")
			write(t, big, fill('b', 3<<20), 0)
			switch name {
			case "space":
				setProp(t, p, big.ino, propRefreservation, "4M")
			case "quota":
				setProp(t, p, big.ino, propRefreservation, "1M")
				setProp(t, p, big.ino, propQuota, "3500K")
			default:
				mustSnapshot(t, vs[19], "s")
			}
			before := accountsOf(p)
			wantErr(t, "a snapshot", p.Snapshot(Req{}, inos, "s"), want)
			wantErr(t, "its forecast", p.ForecastSnapshot(inos, "s").Err, want)
			if after := accountsOf(p); after != before {
				t.Errorf("accounts:\n%s\nthey were\n%s", after, before)
			}
			if p.HasSnapshot(vs[0].ino, "s") || p.space.ahead != nil || p.tree.switching != nil {
				t.Error("something of it is left")
			}
			ok(t, planOne(vs[0], 1))
			mustCheck(t, p)
		})
	}
}

func accountsOf(p *Pool) (s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ino := range Ino(40) {
		if a := p.space.account(ino); a != nil {
			s += fmt.Sprintf("%d %+v\n", ino, a.Numbers())
		}
	}
	return s + fmt.Sprint(p.space.free())
}

// A write that its promise covers is not refused for what a freeze promises ahead: it waits, and goes on when that does not come.
func TestWritesWaitForAFreezeThatIsRefused(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v := mustVolume(t, p, "v", 4<<20)
	write(t, v, fill('b', 3<<20), 0)
	setProp(t, p, v.ino, propRefreservation, "4M")
	w := mustVolume(t, p, "w", 4<<20)
	for lb := int64(0); freeNow(p) > 100; lb++ {
		ok(t, planOne(w, lb))
	}
	p.structure.Lock()
	f, err := p.prepareFreeze([]Ino{v.ino}, "s")
	ok(t, err)
	var pl Plan
	need, err := v.PlanWrite(&pl, 3<<20, BlockSize)
	ok(t, err)
	if !need.is(needPlan) || need.wait != f.ahead.over {
		t.Errorf("need %+v", need)
	}
	f.ahead.takeBack()
	p.structure.Unlock()
	<-f.ahead.over
	write(t, v, fill('c', 1<<20), 3<<20)
	mustCheck(t, p)
}
