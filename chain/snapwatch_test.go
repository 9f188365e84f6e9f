package chain

import "testing"

// What a destroyed snapshot frees is not erased before who has copies of it has given them up, however much else is destroyed
// meanwhile, and however he ends; of what he has no copies nothing waits.
func TestEraseWaitsForWatch(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	later := true
	w := p.OnSnapChange(func(c SnapChange) bool { return later && c.Layer != 0 })
	destroy := func(name string) {
		t.Helper()
		write(t, v, fill(name[0], 64<<10), 0)
		mustSnapshot(t, v, name)
		write(t, v, fill('n', 64<<10), 0)
		ok(t, p.DestroySnapshots(Req{}, v.ino, []string{name}, DestroyOptions{}))
	}
	waits := func(when string) {
		t.Helper()
		for range 3 { // what frees is sealed by the first
			if tok, runs := lend(t, p, 1<<20); tok != 0 {
				t.Fatalf("%s: %v were handed out", when, runs)
			}
		}
	}
	erased := func(when string, least int64) {
		t.Helper()
		if n, err := eraseSome(p, 1<<20); err != nil || n < least {
			t.Errorf("%s: %d bytes were erased, %v", when, n, err)
		}
	}
	destroy("a")
	waits("told")
	first := w.Taken()
	destroy("b") // is told after that
	waits("taken")
	second := w.Taken()
	for _, name := range []string{"c", "d", "e"} {
		destroy(name)
		waits(name)
	}
	if n := len(p.plans.epochs.past); n > 3 {
		t.Errorf("%d epochs are pinned", n)
	}
	second()
	waits("the first is not given up")
	first()
	w.Taken()()
	erased("given up", 5*64<<10)
	later = false
	destroy("f")
	erased("without copies", 64<<10)
	later = true
	destroy("g")
	waits("told again")
	p.OnSnapChange(nil)
	erased("nobody listens any more", 64<<10)
}

// Of what went before a process began nobody tells it: nothing is erased before its first Taken, if another one has served before.
func TestEraseWaitsForFirstWatch(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 64<<10), 0)
	ok(t, v.Punch(0, 64<<10))
	ok(t, p.Close())
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20, Watched: true})
	ok(t, err)
	defer func() { ok(t, p.Close()) }()
	for range 3 {
		if tok, runs := lend(t, p, 1<<20); tok != 0 {
			t.Fatalf("%v were handed out", runs)
		}
	}
	w := p.OnSnapChange(func(SnapChange) bool { return true })
	if tok, runs := lend(t, p, 1<<20); tok != 0 {
		t.Fatalf("before the first Taken %v were handed out", runs)
	}
	w.Taken()()
	if n, err := eraseSome(p, 1<<20); err != nil || n != 64<<10 {
		t.Errorf("%d bytes were erased, %v", n, err)
	}
}

// So it is where a job had been sealed, and could have been erased, when the process before ended.
func TestEraseWaitsThoughSealed(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 1<<20)
	write(t, v, fill('o', 64<<10), 0)
	ok(t, v.Punch(0, 64<<10))
	tok, runs := lend(t, p, 1<<20)
	if tok == 0 {
		t.Fatal("nothing was sealed")
	}
	p.GiveBack(tok)
	ok(t, p.Close())
	p, err := Open(d, Options{Now: newClock().now, CacheBytes: 1 << 20, Watched: true})
	ok(t, err)
	defer func() { ok(t, p.Close()) }()
	w := p.OnSnapChange(func(SnapChange) bool { return true })
	if tok, runs := lend(t, p, 1<<20); tok != 0 {
		t.Fatalf("before the first Taken %v were handed out", runs)
	}
	v, err = p.Volume(v.ino)
	ok(t, err)
	reader := planRead(t, v, 0, BlockSize) // begun later: nobody waits for him
	defer reader.Abort()
	w.Taken()()
	if tok, again := lend(t, p, 1<<20); tok == 0 || len(again) != len(runs) {
		t.Errorf("%v were handed out, want %v", again, runs)
	}
}
