package chain

import (
	"testing"
	"time"
)

// mustFollow compares all accounts with those that a mount would build.
func mustFollow(t *testing.T, p *Pool, what string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	drift, err := p.space.drift()
	ok(t, err)
	for _, d := range drift {
		t.Errorf("%s: %s", what, d)
	}
}

// After each record accounts are what a mount would build, also halfway through what goes in steps: what is kept and what
// is going is promised nothing, and has its promises again when it is revived.
func TestAccountsFollowRecords(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	plant(t, p, "a/", "b/", "a/l>target", "a/sub/", "a/v", "b/w")
	a, _ := p.Resolve("a")
	b, _ := p.Resolve("b")
	f, _ := p.Resolve("a/v")
	v, err := p.Volume(f.Ino)
	ok(t, err)
	set := func(ino Ino, settings ...Setting) func() error {
		return func() error { return p.SetProps(Req{}, ino, settings...) }
	}
	promised := func() int64 { u := p.Usage(); return u.Promised }
	unlink := func(dir Ino, name string) func() error { return func() error { return p.Unlink(Req{}, dir, name) } }
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"size", func() error { return v.Truncate(1 << 20) }},
		{"promise", set(f.Ino, Setting{Name: "refreservation", Value: "auto"}, Setting{Name: "quota", Value: "4M"})},
		{"reservation", set(a.Ino, Setting{Name: "reservation", Value: "3M"}, Setting{Name: "quota", Value: "6M"})},
		{"write", func() error { _, err := v.WriteAt(fill('a', 256<<10), 0); return err }},
		{"snapshot", func() error { return p.Snapshot(Req{}, []Ino{f.Ino}, "s") }},
		{"attribute", func() error { return p.SetXattr(Req{}, f.Ino, "user.a", make([]byte, 3000), 0) }},
		{"clone", func() error { _, err := p.Clone(Req{}, f.Ino, "s", b.Ino, "c"); return err }},
		{"move", func() error { return p.Rename(Req{}, a.Ino, "v", b.Ino, "v", 0) }},
		{"exchange", func() error { return p.Rename(Req{}, a.Ino, "l", b.Ino, "v", RenameExchange) }},
		{"keep", set(f.Ino, Setting{Name: "preallocated", Value: "on"})},
		{"inherit", set(f.Ino, Setting{Name: "quota", Inherit: true}, Setting{Name: "refreservation", Inherit: true})},
		{"allocate", func() error { return v.Allocate(1<<20, 1<<20, false) }},
		{"replace", func() error { return p.Rename(Req{}, b.Ino, "w", b.Ino, "c", 0) }},
		{"open", func() error { return p.OpenFile(f.Ino, true) }},
		{"orphan", unlink(a.Ino, "l")},
		{"its directory goes", func() error { return p.Rename(Req{}, a.Ino, "sub", b.Ino, "sub", 0) }},
		{"delay", set(RootIno, Setting{Name: PropDestroyDelay, Value: "7d"})},
		{"released and kept", func() error { p.ReleaseFile(f.Ino, true); p.Forget(f.Ino); return nil }},
	} {
		ok(t, s.do())
		mustFollow(t, p, s.what)
	}
	kept := p.Destroyed()
	if len(kept) != 1 || promised() != 3<<20 {
		t.Fatalf("kept: %+v, promised %d", kept, promised())
	}
	_, err = p.Undestroy(Req{}, kept[0].ID, a.Ino, "again")
	ok(t, err)
	mustFollow(t, p, "revived")
	if i, err := p.VolumeInfo(f.Ino); err != nil || i.Refreservation != 2<<20 {
		t.Errorf("promised again %d, %v", i.Refreservation, err)
	}

	// What is kept has so much that its end takes steps.
	plantXattrs(t, p, f.Ino, 200)
	ok(t, p.Unlink(Req{}, a.Ino, "again"))
	kept = p.Destroyed()
	ok(t, p.works.change(func(now time.Time) error { return p.removal.endDestroyed(kept[0].ID, now) }))
	steps := 0
	for first := p.removal.firstGoing(); first != 0; first, steps = p.removal.firstGoing(), steps+1 {
		mustFollow(t, p, "going")
		ok(t, p.works.change(func(now time.Time) error { return p.removal.goStep(first, now) }))
	}
	if mustFollow(t, p, "gone"); steps < 2 {
		t.Errorf("it went in %d steps", steps)
	}
	ok(t, p.removal.reapAll())

	// What is promised something goes in steps itself.
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Inherit: true}))
	heavy := mustVolume(t, p, "heavy", 1<<20)
	ok(t, p.SetProps(Req{}, heavy.ino, Setting{Name: "refreservation", Value: "auto"}))
	plantXattrs(t, p, heavy.ino, 200)
	ok(t, removeSlowly(p, "heavy", func() { mustFollow(t, p, "going with a promise") }))
	mustCheck(t, p)
}
