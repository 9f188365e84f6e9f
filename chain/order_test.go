package chain

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"slatefs/alloc"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/codec"
	"slatefs/chain/super"
)

// The orders that the invariants ask for, each forced by a test of its own: the crash tests meet the moments between
// two steps by chance only. In these, what is there at such a moment is looked at, or becomes all that a crash left.

// order looks at every write to a device, which one goroutine uses: a batch of the journal only when all that is outside
// of the ring is durable (invariant 4: data before map), or when all of its records fill holes with blocks that are zeros,
// durably; a superblock only when everything is durable, and nothing more before it is durable too.
type order struct {
	batches, supers int
	early           int               // batches with data that was not durable
	batch           []devtest.Op      // the writes of one that is not durable
	open            []blockdev.Extent // what was not, outside of the ring, when it was written
}

func (o *order) watch(d *devtest.Disk, ring int64) {
	d.Fail(func(op devtest.Op) error {
		switch op.Kind {
		case devtest.OpSync:
			defer func() { o.batch, o.open = nil, nil }()
			return o.judge(d)
		case devtest.OpWrite, devtest.OpWriteDsync, devtest.OpZero:
		case devtest.OpRead, devtest.OpGrow:
			return nil
		}
		head := op.Off < super.Bytes
		batch := !head && op.Off < super.Bytes+ring
		for _, x := range d.Unsynced() {
			switch {
			case head:
				return fmt.Errorf("%v: a superblock before what is at %d+%d is durable", op, x.Off, x.Len)
			case batch && x.End() > super.Bytes+ring:
				o.open = append(o.open, x)
			case x.Off < super.Bytes:
				return fmt.Errorf("%v: before the superblock at %d is durable", op, x.Off)
			}
		}
		if batch {
			o.batches++
			o.batch = append(o.batch, op)
		}
		if head {
			o.supers++
		}
		return nil
	})
}

// judge looks at a batch that becomes durable together with data.
func (o *order) judge(d *devtest.Disk) error {
	if len(o.batch) == 0 || len(o.open) == 0 {
		return nil
	}
	o.early++
	const header, lengthAt = 48, 12 // bytes of a batch before its records, and where their number is
	var b []byte
	for _, op := range o.batch { // at the end of the ring it is in two parts
		b = append(b, d.Peek(op.Off, op.Len)...)
	}
	durable, records := d.Durable(), 0
	err := decodeRecords(b[header:][:binary.LittleEndian.Uint32(b[lengthAt:])], func(r record) error {
		records++
		m, ok := r.(*recMap)
		if !ok || m.dev == 0 || m.clean || len(m.old) > 0 {
			return fmt.Errorf("a batch with %T %+v before what is at %v is durable", r, r, o.open)
		}
		if x := durable.Peek(int64(m.dev)*BlockSize, m.n*BlockSize); len(bytes.TrimLeft(x, "\x00")) > 0 {
			return fmt.Errorf("a batch that fills a hole with %d blocks at %v, which are not zeros, durably", m.n, m.dev)
		}
		return nil
	})
	if err == nil && records == 0 {
		return errors.New("a batch without records")
	}
	return err
}

func TestOrderOfWrites(t *testing.T) {
	d := newDisk(t, 4<<20)
	var o order
	o.watch(d, tiny.RingBytes)
	w, err := openWorld(d, newModel(), 5)
	ok(t, err)
	for range 300 {
		if err := w.step(); err != nil {
			t.Fatalf("%v\n%s", err, lastSteps(w.trace))
		}
	}
	checkWorld(t, w, "end", true)
	if o.batches < 20 || o.supers < 5 {
		t.Errorf("%d batches and %d superblocks were looked at", o.batches, o.supers)
	}
}

// TestHolesNeedOneSync: a batch that fills holes has one sync with its data, any other one has its own after that.
func TestHolesNeedOneSync(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('a', 4096), 0)
	ok(t, p.Flush())
	syncs := 0
	d.Fail(func(op devtest.Op) error {
		if op.Kind == devtest.OpSync {
			syncs++
		}
		return nil
	})
	for _, c := range []struct {
		what string
		do   func()
		want int
	}{
		{"a hole", func() { write(t, v, fill('b', 4096), 64<<10) }, 1},
		{"holes, in part", func() { write(t, v, fill('c', 600), 128<<10); write(t, v, fill('d', 8192), 192<<10) }, 1},
		{"in place", func() { write(t, v, fill('e', 4096), 0) }, 1},
		{"a hole, and in place", func() { write(t, v, fill('f', 4096), 256<<10); write(t, v, fill('f', 4096), 0) }, 1},
		{"nothing", func() {}, 1},
		{"a name, too", func() { write(t, v, fill('g', 4096), 320<<10); mustVolume(t, p, "w", 1<<20) }, 2},
		{"a hole again", func() { write(t, v, fill('h', 4096), 384<<10) }, 1},
		{"a punch", func() { write(t, v, fill('i', 4096), 448<<10); ok(t, v.Punch(64<<10, 4096)) }, 2},
		{"fallocate", func() { ok(t, v.Allocate(512<<10, 4096, true)); syncs = 0; write(t, v, fill('j', 4096), 576<<10) }, 1},
		{"shared", func() { ok(t, p.Snapshot(Req{}, []Ino{v.Ino()}, "s")); syncs = 0; write(t, v, fill('k', 4096), 0) }, 2},
	} {
		syncs = 0
		c.do()
		ok(t, p.Flush())
		if syncs != c.want {
			t.Errorf("%s: %d syncs, want %d", c.what, syncs, c.want)
		}
	}
}

// volumeOf is the volume v.
func volumeOf(t *testing.T, p *Pool) *Volume {
	a, err := p.Lookup(RootIno, "v")
	ok(t, err)
	v, err := p.Volume(a.Ino)
	ok(t, err)
	return v
}

// TestHolesThroughTwoCrashes: what fills holes is in the cache of the device only, data and record, when the process is killed; the
// next one goes on from there, and the power fails while it fills another. Whatever of all that is kept, the pool opens, and shows what
// was flushed, and of the rest zeros or what was written.
func TestHolesThroughTwoCrashes(t *testing.T) {
	first := func(d *devtest.Disk) {
		p, err := Open(d, Options{Now: newClock().now})
		ok(t, err)
		v := mustVolume(t, p, "v", 1<<20)
		write(t, v, fill('a', 4096), 0)
		ok(t, p.Flush())
		write(t, v, fill('b', 4096), 64<<10)
		_ = p.Flush() // crashes
	}
	base := newDisk(t, 4<<20)
	d := base.Clone()
	first(d)
	ended := d.Ops()
	d = base.Clone()
	d.CrashAt(ended) // the sync of that
	first(d)
	rng := rand.New(rand.NewPCG(1, 1))
	second := func(d *devtest.Disk) (flushed bool) {
		p, err := Open(d, Options{Now: newClock().now})
		if err != nil {
			return false
		}
		v := volumeOf(t, p)
		_, err = v.WriteAt(fill('c', 4096), 128<<10)
		return err == nil && p.Flush() == nil
	}
	whole := d.Clone()
	if !second(whole) {
		t.Fatal("no crash, and no flush")
	}
	for k := 1; k <= whole.Ops(); k++ {
		killed := d.Clone()
		killed.CrashAt(k)
		flushed := second(killed)
		for range 20 {
			p, err := Open(killed.Clone().Crash(rng), Options{Now: newClock().now})
			if err != nil {
				t.Fatalf("crash at %d: %v", k, err)
			}
			v := volumeOf(t, p)
			for i, c := range "abc" {
				b := make([]byte, 4096)
				_, err := v.ReadAt(b, int64(i)<<16)
				ok(t, err)
				n := bytes.Count(b, []byte{byte(c)})
				if n+bytes.Count(b, []byte{0}) != len(b) || n < len(b) && (c == 'a' || c == 'c' && flushed) {
					t.Fatalf("crash at %d: block %c holds %d of its bytes", k, c, n)
				}
			}
			r, err := p.Check(context.Background())
			ok(t, err)
			if len(r.Errors)+len(r.Leaks) > 0 {
				t.Fatalf("crash at %d: %v %v", k, r.Errors, r.Leaks)
			}
		}
	}
}

// A host's name is durable in one superblock before it is written into the other, and before anything else; a pool that
// was closed is all on the device, and who takes it next reads there that nobody has it.
func TestOrderOfHosts(t *testing.T) {
	d, c := newDisk(t, 4<<20), newClock()
	var o order
	o.watch(d, tiny.RingBytes)
	p, err := openAs(d, testHost(1, c), c, false)
	ok(t, err)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 8192), 0)
	ok(t, p.Close())
	if x := d.Unsynced(); len(x) > 0 {
		t.Errorf("after the end of the pool %v are not durable", x)
	}
	if o.supers < 2*super.Slots {
		t.Errorf("%d superblocks were looked at", o.supers)
	}
}

// What is claimed may be named when the record of the claim is durable, and not before.
func TestClaimIsDurableBeforeItIsReady(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	synced := make(chan struct{}, 100)
	release := d.Hold(func(op devtest.Op) bool {
		if op.Kind == devtest.OpSync {
			synced <- struct{}{}
		}
		return op.Kind == devtest.OpSync
	})
	defer release()
	done := make(chan error, 1)
	go func() {
		_, err := p.blocks.claim()
		done <- err
	}()
	select {
	case <-synced:
	case err := <-done:
		t.Fatalf("a claim ended without a sync: %v", err)
	}
	p.mu.Lock()
	waiting, ready := p.blocks.alloc.WindowWaiting(), p.blocks.alloc.WindowReady()
	p.mu.Unlock()
	if waiting == 0 || ready != 0 {
		t.Errorf("before the sync %d blocks of the claim are ready, %d wait for it", ready, waiting)
	}
	release()
	ok(t, <-done)
	q := openPool(t, d.Clone()) // a crash: what the window held may have been written
	if n := q.blocks.alloc.Counts().Claimed; n != 0 {
		t.Errorf("%d blocks are still claimed after a crash", n)
	}
	if js := q.EraseJobs(); len(js) != 1 || js[0].Reason != reasonRecovery || js[0].Dirty != waiting*BlockSize {
		t.Errorf("after a crash: %+v; want a job with the %d blocks that were claimed", js, waiting)
	}
}

// What was freed while a plan is open is not handed out to be erased before the plan is closed.
func TestNextWaitsForPlans(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('x', 64<<10), 0)
	read := planRead(t, v, 0, 64<<10)
	ok(t, v.Punch(0, 64<<10))
	for range 3 { // what frees is sealed by the first
		if tok, runs := lend(t, p, 1<<20); tok != 0 {
			t.Fatalf("%v were handed out under a plan that reads them", runs)
		}
	}
	read.Abort()
	if n, err := eraseSome(p, 1<<20); err != nil || n != 64<<10 {
		t.Errorf("when the plan was closed %d bytes were erased, %v", n, err)
	}
}

// What the destroy of a snapshot gave to the head is not written in place before the record of it is durable: a crash
// would bring the snapshot back, with bytes that are younger than it.
func TestDestroyIsDurableBeforeItIsPrivate(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 64<<10), 0)
	mustSnapshot(t, v, "s")
	write(t, v, fill('n', 4096), 512<<10) // the window is filled
	ok(t, p.Checkpoint())
	release := d.Hold(func(op devtest.Op) bool { return op.Kind == devtest.OpSync })
	defer release()
	done := make(chan error, 1)
	go func() { done <- p.DestroySnapshots(Req{}, v.ino, []string{"s"}, DestroyOptions{}) }()
	for gone := false; !gone; { // until it is so in memory
		p.mu.Lock()
		gone = v.head().parent == nil
		p.mu.Unlock()
		select {
		case err := <-done:
			t.Fatalf("the destroy ended without a sync: %v", err)
		default:
		}
	}
	v.lays.Store(false) // beside others, where that can be
	w := planWrite(t, v, 0, 4096)
	shown := planRead(t, v, 0, 4096)
	if w.Spans[0].Dev == shown.Spans[0].Dev {
		t.Error("a block of the snapshot is written in place, and a crash could bring it back")
	}
	shown.Abort()
	w.Abort()
	release()
	ok(t, <-done)
	w, shown = planWrite(t, v, 0, 4096), planRead(t, v, 0, 4096)
	if w.Spans[0].Dev != shown.Spans[0].Dev {
		t.Error("a block that is the head's alone is not written in place")
	}
	shown.Abort()
	w.Abort()
}

// Bytes behind the size that is on the device: a crash that keeps them and not the record of the size must not leave
// them for a later growth to show.
func TestNothingBehindTheDurableSize(t *testing.T) {
	for name, c := range map[string]struct {
		durable int64 // size
		before  func(t *testing.T, v *Volume)
		off     int64
	}{
		"in a block of the volume":   {durable: 512, off: 512},
		"further on in it":           {durable: 512, off: 2048},
		"in a block that is young":   {durable: 0, off: 512, before: func(t *testing.T, v *Volume) { write(t, v, fill('o', 512), 0) }},
		"after a shrink":             {durable: 4096, off: 1024, before: func(t *testing.T, v *Volume) { ok(t, v.Truncate(512)) }},
		"after a growth by truncate": {durable: 512, off: 1024, before: func(t *testing.T, v *Volume) { ok(t, v.Truncate(4096)) }},
		"in a block behind it that fallocate mapped": {durable: 512, off: 4096, before: func(t *testing.T, v *Volume) {
			ok(t, v.Allocate(0, 16<<10, true))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 4<<20)
			p := openPool(t, d)
			v := mustVolume(t, p, "v", 0)
			if c.durable > 0 {
				write(t, v, fill('o', int(c.durable)), 0)
			}
			ok(t, p.Flush())
			if c.before != nil {
				c.before(t, v)
			}
			v.lays.Store(false) // beside others, where that can be
			write(t, v, fill('x', 512), c.off)
			q := openPool(t, d.Clone()) // all that was written is there, and no record of it
			u, err := q.Volume(v.ino)
			ok(t, err)
			size := u.Size()
			ok(t, u.Truncate(64<<10))
			expect(t, u, size, make([]byte, 64<<10-size))
		})
	}
}

// A fence excludes: it waits for the writes that were planned before it, and later ones wait for it.
func TestFenceExcludes(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 64<<10), 0)
	older := planWrite(t, v, 0, 4096)
	got := make(chan *Plan)
	go func() {
		fence, err := v.fence(0, mapEnd)
		if err != nil {
			t.Error(err)
		}
		got <- fence
	}()
	for waits := false; !waits; { // until somebody waits for the write's end
		select {
		case <-got:
			t.Fatal("a fence was raised while an older write was under way")
		default:
		}
		p.mu.Lock()
		waits = older.done != nil
		p.mu.Unlock()
	}
	carryOut(t, older, fill('i', 4096), 0)
	fence := <-got
	var later Plan
	need, err := v.PlanWrite(&later, 0, 4096)
	if err != nil || need.None() {
		t.Fatalf("a write was planned inside of a fence: %+v, %v", need, err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Fulfil(context.Background(), need) }()
	select {
	case <-done:
		t.Error("a write that waits for a fence was let go before its end")
	default:
	}
	fence.Abort()
	ok(t, <-done)
	later.Quit()
	write(t, v, fill('n', 4096), 0)
	expect(t, v, 0, fill('n', 4096))
}

// What a fence is for: a shrink and a punch do not end before the writes that were planned before them, whose blocks
// they would miss.
func TestNothingIsTakenUnderAWrite(t *testing.T) {
	for name, take := range map[string]func(v *Volume) error{
		"shrink":      func(v *Volume) error { return v.Truncate(0) },
		"punch":       func(v *Volume) error { return v.Punch(0, 1<<20) },
		"zero range":  func(v *Volume) error { return v.ZeroRange(0, 1<<20, false) },
		"write zeros": func(v *Volume) error { _, err := v.WriteAt(make([]byte, 1<<20), 0); return err },
	} {
		t.Run(name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 4<<20))
			v := mustVolume(t, p, "v", 1<<20)
			write(t, v, fill('o', 4096), 0)
			w := planWrite(t, v, 512<<10, 8192)
			done := make(chan error, 1)
			go func() { done <- take(v) }()
			for waits := false; !waits; {
				select {
				case err := <-done:
					t.Fatalf("it ended under a write: %v", err)
				default:
				}
				p.mu.Lock()
				waits = w.done != nil
				p.mu.Unlock()
			}
			carryOut(t, w, fill('w', 8192), 512<<10)
			ok(t, <-done)
			ok(t, v.Truncate(1<<20))
			expect(t, v, 0, make([]byte, 1<<20))
			// Zeros that are written stay where they are.
			if i, err := p.VolumeInfo(v.ino); err != nil || i.Refer != 0 && name != "write zeros" {
				t.Errorf("%+v, %v: something is left", i, err)
			}
		})
	}
}

// A commit may come between any two records of a shrink, and a crash after it: whichever they are, a later growth
// shows zeros where something was cut off.
func TestCrashBetweenTheRecordsOfAShrink(t *testing.T) {
	const was, is, end = 256 << 10, 10000, 512 << 10
	steps := 0
	for k := 0; k <= steps; k++ {
		d := newDisk(t, 4<<20)
		p := openPool(t, d)
		v := mustVolume(t, p, "v", 0)
		want := fill('x', was)
		write(t, v, want, 0)
		ok(t, v.Allocate(was, 64<<10, true))
		ok(t, p.Flush())
		ok(t, v.Truncate(is))
		p.mu.Lock()
		rs := records(t, p.commits.pending)
		steps = len(rs)
		e := codec.Encoder{}
		for _, r := range rs[:k] {
			e.Byte(kindOf(r))
			r.encode(&e)
		}
		all := p.commits.pending
		p.commits.pending = e.B
		p.mu.Unlock()
		ok(t, p.Flush())
		q := openPool(t, d.Clone())
		p.mu.Lock()
		p.commits.pending = slices.Concat(all[len(e.B):], p.commits.pending) // the rest follows
		p.mu.Unlock()

		u, err := q.Volume(v.ino)
		ok(t, err)
		size := u.Size()
		if size != was && size != is {
			t.Fatalf("after %d of %d records the size is %d", k, steps, size)
		}
		ok(t, u.Truncate(end))
		got := make([]byte, end)
		if _, err := u.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:is], want[:is]) {
			t.Errorf("after %d of %d records what was kept is not there", k, steps)
		}
		for i, b := range got[size:] {
			if b != 0 {
				t.Fatalf("after %d of %d records byte %d is %q, behind the size %d", k, steps, size+int64(i), b, size)
			}
		}
	}
	if steps < 3 {
		t.Errorf("a shrink has %d records", steps)
	}
}

// records decodes what waits for a commit.
func records(t *testing.T, b []byte) (rs []record) {
	t.Helper()
	ok(t, decodeRecords(b, func(r record) error {
		rs = append(rs, r)
		return nil
	}))
	return rs
}

// A snapshot is durable when the call returns, with what was written before it.
func TestSnapshotIsDurable(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 8192), 0)
	mustSnapshot(t, v, "s")
	if x := d.Unsynced(); len(x) > 0 {
		t.Errorf("after a snapshot %v are not durable", x)
	}
	q := openPool(t, d.Clone())
	u, err := q.Volume(v.ino)
	ok(t, err)
	expect(t, snapOf(t, u, "s"), 0, fill('o', 8192))
}

// What a job's list says and the groups deny is not handed out to be erased: it may be somebody's.
func TestDeniedIsNotErased(t *testing.T) {
	for _, st := range []alloc.State{alloc.Clean, alloc.Meta} {
		p := openPool(t, newDisk(t, 4<<20))
		v := mustVolume(t, p, "v", 1<<20)
		write(t, v, fill('x', 64<<10), 0)
		shown := planRead(t, v, 0, 64<<10)
		one := alloc.Run{Start: alloc.BlockID(shown.Spans[0].Dev / BlockSize), Len: 1}
		shown.Abort()
		ok(t, v.Punch(0, 64<<10))
		set := func(from, to alloc.State) {
			p.mu.Lock()
			defer p.mu.Unlock()
			ok(t, p.blocks.alloc.Set(one, from, to))
		}
		set(alloc.InUse, st)
		h, err := p.Next(1 << 20)
		ok(t, err)
		if h.Token != 0 {
			t.Errorf("%v were handed out, of which one is %v", h.Runs, st)
		}
		set(st, alloc.InUse)
	}
}
