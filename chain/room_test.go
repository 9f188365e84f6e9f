package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/catalog"
)

// newPool64 is a pool of the smallest size that people get, with the geometry that they get.
func newPool64(t testing.TB, size int64) *devtest.Disk {
	t.Helper()
	d := devtest.New(size, 512)
	ok(t, Create(d, Format{Name: "small", UUID: [16]byte{6, 4}, Zeroed: true, Now: newClock().now}))
	return d
}

// keepRunning runs the pool's housekeeping until the end of the test, or until stop.
func keepRunning(t testing.TB, p *Pool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var house sync.WaitGroup
	house.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Errorf("housekeeping: %v", err)
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); house.Wait() }) }
	t.Cleanup(stop)
	return stop
}

// Two threads set large attributes while a third flushes: what a commit has cut and not yet written still takes room.
func TestAttributesFillNoJournal(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		d := devtest.New(64<<20, sector)
		ok(t, Create(d, Format{Name: "small", Zeroed: true, Now: newClock().now}))
		p := openPool(t, d)
		stop := keepRunning(t, p)
		plant(t, p, "a", "b", "c")
		var wg sync.WaitGroup
		for ino := Ino(2); ino <= 4; ino++ {
			wg.Go(func() {
				for i := range 400 {
					val := bytes.Repeat([]byte{byte(i)}, 4000)
					if err := p.SetXattr(Req{}, ino, fmt.Sprintf("user.%d", i%8), val, 0); err != nil {
						t.Errorf("attribute %d: %v", i, err)
						return
					}
					if i%16 == 0 {
						ok(t, p.Flush())
					}
				}
			})
		}
		wg.Wait()
		ok(t, p.Failed())
		stop()
	}
}

// broken runs fn and tells what invariant it broke.
func broken(fn func()) (said string) {
	defer func() {
		if r := recover(); r != nil {
			said = fmt.Sprint(r)
		}
	}()
	fn()
	return ""
}

// What takes more than it reserved, or nothing, ends the process before anything is damaged.
func TestRoomMisuse(t *testing.T) {
	for what, fn := range map[string]func(p *Pool){
		"without a reservation": func(p *Pool) { ok(t, p.commits.do(&recAnswer{unique: 1})) },
		"more than was reserved": func(p *Pool) {
			defer p.commits.within(p.commits.tryRoom(credit{bytes: 100}))()
			ok(t, p.commits.do(&recPut{key: catalog.Key(catalog.Link, 9), val: make([]byte, 100)}))
		},
		"after it was given back": func(p *Pool) {
			r := p.commits.tryRoom(credit{bytes: 100})
			p.commits.giveBack(r, 0)
			defer p.commits.within(r)()
			ok(t, p.commits.do(&recAnswer{unique: 1}))
		},
		"a batch within a batch": func(p *Pool) {
			defer p.commits.within(p.commits.tryRoom(credit{bytes: 100}))()
			defer p.commits.within(p.commits.tryRoom(credit{bytes: 100}))()
		},
		"a batch that nobody had room for": func(p *Pool) {
			p.commits.pending = make([]byte, p.format.Ring)
			p.mu.Unlock()
			defer p.mu.Lock()
			_, _ = p.commits.commit(never, always) // it does not return
		},
	} {
		t.Run(what, func(t *testing.T) {
			p, err := Open(newDisk(t, 4<<20), Options{Now: newClock().now})
			ok(t, err)
			p.mu.Lock()
			defer p.mu.Unlock()
			if said := broken(func() { fn(p) }); !strings.Contains(said, "journal room") {
				t.Errorf("%q", said)
			}
		})
	}
}

// Rooms are given in the order of coming, those that free before those that wait for a plan without an end.
func TestRoomIsFair(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	plant(t, p, "f")
	p.mu.Lock()
	var held []*room
	for r := p.commits.tryRoom(credit{bytes: 1 << 10}); r != nil; r = p.commits.tryRoom(credit{bytes: 1 << 10}) {
		held = append(held, r)
	}
	p.mu.Unlock()
	const waiters = 5
	one := int64(len(held)) << 10 * 2 / 3 // two do not fit at once, so that who is served first says so first
	var order []int
	var wg sync.WaitGroup
	for i := range waiters {
		wg.Go(func() {
			r, err := p.commits.getRoom(context.Background(), credit{bytes: one})
			if err != nil {
				t.Error(err)
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			order = append(order, i)
			p.commits.giveBack(r, 0)
		})
		for waiting := 0; waiting <= i; { // the next comes when this one stands in the queue
			p.mu.Lock()
			waiting = len(p.commits.room.waiting)
			p.mu.Unlock()
			runtime.Gosched()
		}
	}
	p.mu.Lock()
	if p.commits.tryRoom(credit{bytes: 1}) != nil {
		t.Error("one byte passed those that wait")
	}
	p.mu.Unlock()
	ok(t, p.Unlink(Req{}, RootIno, "f")) // what frees needs not wait
	ok(t, p.Flush())
	if len(order) > 0 {
		t.Errorf("%v had room that was not there", order)
	}
	p.mu.Lock()
	for _, r := range held {
		p.commits.giveBack(r, 0)
	}
	p.mu.Unlock()
	wg.Wait()
	if !slices.Equal(order, []int{0, 1, 2, 3, 4}) {
		t.Errorf("served in the order %v", order)
	}
	if p.commits.room.open != 0 || p.commits.room.pages != 0 || len(p.commits.room.waiting) != 0 {
		t.Errorf("left: %+v", p.commits.room)
	}
}

// A destroyed thing that is kept has its path in one row, however deep it lay.
func TestKeptBelowALongPath(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "7d"}))
	dir := RootIno
	for range 8 {
		a, err := p.Mkdir(Req{}, dir, strings.Repeat("d", MaxName), 0o755)
		ok(t, err)
		dir = a.Ino
	}
	_, err := p.Create(Req{}, dir, strings.Repeat("f", MaxName), 0o644)
	ok(t, err)
	ok(t, p.Unlink(Req{Actor: strings.Repeat("w", 1000)}, dir, strings.Repeat("f", MaxName)))
	ok(t, p.Flush())
	if d := p.Destroyed(); len(d) != 1 || !strings.HasSuffix(d[0].Volume, "/"+strings.Repeat("f", MaxName)) {
		t.Errorf("%+v", d)
	}
}

// What can be no more than one record, and does not fit the journal, is refused before anything changed.
func TestSnapshotOfTooManyAtOnce(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 64<<10)
	many := slices.Repeat([]Ino{v.ino}, 10_000)
	if err := p.Snapshot(Req{}, many, "s"); !errors.Is(err, ErrTooBig) || !strings.Contains(err.Error(), "snapshot of 10000 volumes") {
		t.Errorf("%v", err)
	}
	mustSnapshot(t, v, "s")
}
