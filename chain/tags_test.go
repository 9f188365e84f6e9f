package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func tagOn(t testing.TB, p *Pool, vol Ino, snap string, tags ...string) {
	t.Helper()
	for _, tag := range tags {
		n, err := p.TagSnapshots(Req{}, []SnapsOf{{vol, []string{snap}}}, tag, true)
		if ok(t, err); n != 1 {
			t.Fatalf("%d snapshots got the tag %s, want 1", n, tag)
		}
	}
}

func tagsOf(t testing.TB, p *Pool, vol Ino) string {
	t.Helper()
	list, err := p.Snapshots(vol)
	ok(t, err)
	var out []string
	for _, s := range list {
		var tags []string
		for _, tag := range s.Tags {
			tags = append(tags, tag.Name)
		}
		out = append(out, s.Name+"["+strings.Join(tags, " ")+"]")
	}
	return strings.Join(out, " ")
}

// TestTaggedStays: nothing destroys a snapshot that tags hold, nor what it would go with; the error names the tags, and a refusal
// changes nothing. Without them all of it goes.
func TestTaggedStays(t *testing.T) {
	ways := []struct {
		name string
		do   func(p *Pool, v, clone, other Ino) error
	}{
		{"destroy of it", func(p *Pool, v, _, _ Ino) error {
			return p.DestroySnapshots(Req{}, v, []string{"b", "s"}, DestroyOptions{Defer: true})
		}},
		{"now", func(p *Pool, v, _, _ Ino) error {
			return p.DestroySnapshots(Req{}, v, []string{"s"}, DestroyOptions{Now: true, Clones: true})
		}},
		{"of a group", func(p *Pool, v, _, other Ino) error {
			return p.DestroyGroup(Req{}, []SnapsOf{{other, []string{"s"}}, {v, []string{"s"}}}, DestroyOptions{Defer: true})
		}},
		{"of its volume", func(p *Pool, v, _, _ Ino) error {
			return p.DestroyVolume(Req{}, v, DestroyOptions{Snapshots: true, Defer: true})
		}},
		{"of its volume with clones", func(p *Pool, v, _, _ Ino) error { return p.DestroyVolume(Req{}, v, DestroyOptions{Clones: true}) }},
		{"of what its volume is a clone of", func(p *Pool, _, _, other Ino) error {
			return p.DestroyVolume(Req{}, other, DestroyOptions{Clones: true})
		}},
		{"of the snapshot that it is a clone of", func(p *Pool, _, _, other Ino) error {
			return p.DestroySnapshots(Req{}, other, []string{"s"}, DestroyOptions{Clones: true})
		}},
		{"unlink", func(p *Pool, _, _, _ Ino) error { return p.Unlink(Req{}, RootIno, "v") }},
		{"unlink, open", func(p *Pool, v, _, _ Ino) error {
			ok(t, p.OpenFile(v, true))
			defer p.ReleaseFile(v, true)
			return p.Unlink(Req{}, RootIno, "v")
		}},
		{"undo", func(p *Pool, _, _, _ Ino) error { return p.Undo(Req{}, RootIno, "v") }},
		{"rename over it", func(p *Pool, _, _, _ Ino) error { return p.Rename(Req{}, RootIno, "third", RootIno, "v", 0) }},
		{"forecast", func(p *Pool, v, _, _ Ino) error {
			_, err := p.ForecastDestroy(v, []string{"s"}, DestroyOptions{Defer: true})
			return err
		}},
		{"forecast of its volume", func(p *Pool, v, _, _ Ino) error {
			_, err := p.ForecastDestroy(v, nil, DestroyOptions{Clones: true})
			return err
		}},
	}
	for _, delay := range []string{"0", "1d"} {
		for _, w := range ways {
			t.Run(w.name+", kept for "+delay, func(t *testing.T) {
				p := openPool(t, newDisk(t, 8<<20))
				ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: delay}))
				other := mustVolume(t, p, "other", 16<<10)
				mustSnapshot(t, other, "s")
				mustVolume(t, p, "third", 16<<10)
				a, err := p.Clone(Req{}, other.ino, "s", RootIno, "v")
				ok(t, err)
				v, err := p.Volume(a.Ino)
				ok(t, err)
				write(t, v, fill('x', 4096), 0)
				mustSnapshot(t, v, "s")
				mustSnapshot(t, v, "b")
				clone, err := p.Clone(Req{}, v.ino, "s", RootIno, "clone")
				ok(t, err)
				tagOn(t, p, v.ino, "s", "backup", "audit")
				p = again(t, p, false)
				ok(t, p.Rollback(Req{}, v.ino, "b", false)) // takes no snapshot away
				ok(t, p.Rollback(Req{}, v.ino, "s", false))
				was := fmt.Sprint(tagsOf(t, p, v.ino), tagsOf(t, p, other.ino), p.Usage().Volumes)
				err = w.do(p, v.ino, clone.Ino, other.ino)
				if wantErr(t, "held", err, ErrTagged); err != nil && !strings.Contains(err.Error(), "v@s: is held: backup, audit") {
					t.Errorf("the error does not name the tags: %v", err)
				}
				p = again(t, p, true)
				if now := fmt.Sprint(tagsOf(t, p, v.ino), tagsOf(t, p, other.ino), p.Usage().Volumes); now != was {
					t.Errorf("a refusal left %s, there was %s", now, was)
				}
				for _, tag := range []string{"backup", "audit"} {
					_, err := p.TagSnapshots(Req{}, []SnapsOf{{v.ino, []string{"s"}}}, tag, false)
					ok(t, err)
				}
				ok(t, w.do(p, v.ino, clone.Ino, other.ino))
			})
		}
	}
}

// TestTagRefused: what refuses a tag on one snapshot refuses it on all, and a tag is there once.
func TestTagRefused(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	v, w := mustVolume(t, p, "v", 8192), mustVolume(t, p, "w", 8192)
	takeSnapshot(t, p, "s", v, w)
	for i := range MaxTags {
		tagOn(t, p, w.ino, "s", fmt.Sprint(strings.Repeat("t", MaxTag-1), i))
	}
	both := groupOf([]Ino{v.ino, w.ino}, "s")
	for _, tag := range []string{"", "a b", "a/b", "a,b", "ä", strings.Repeat("t", MaxTag+1), "a\n"} {
		_, err := p.TagSnapshots(Req{}, groupOf([]Ino{v.ino}, "s"), tag, true)
		wantErr(t, fmt.Sprintf("%q", tag), err, ErrInvalid)
	}
	_, err := p.TagSnapshots(Req{}, both, "one-more", true)
	wantErr(t, "a tag too many", err, ErrTooBig)
	_, err = p.TagSnapshots(Req{}, groupOf([]Ino{v.ino, w.ino}, "no"), "x", true)
	wantErr(t, "no such snapshot", err, ErrNotFound)
	if got := tagsOf(t, p, v.ino); got != "s[]" {
		t.Errorf("refused tags left %s", got)
	}
	n, err := p.TagSnapshots(Req{}, both, strings.Repeat("t", MaxTag-1)+"3", true) // which w has
	if ok(t, err); n != 1 {
		t.Errorf("%d snapshots got it, want 1", n)
	}
	n, err = p.TagSnapshots(Req{}, both, "no", false)
	if ok(t, err); n != 0 {
		t.Errorf("%d snapshots lost what none has", n)
	}
	ok(t, p.RenameSnapshot(Req{}, v.ino, "s", "r"))
	wantErr(t, "under another name", p.DestroySnapshots(Req{}, v.ino, []string{"r"}, DestroyOptions{}), ErrTagged)
	mustCheck(t, p)
	p = again(t, p, false)
	if got := strings.Count(tagsOf(t, p, w.ino), "ttt"); got == 0 || len(strings.Fields(tagsOf(t, p, w.ino))) != MaxTags {
		t.Errorf("after a restart: %s", tagsOf(t, p, w.ino))
	}
}

// TestTaggedMeanwhile: a tag that comes when a group is half destroyed keeps its snapshot, and no other.
func TestTaggedMeanwhile(t *testing.T) {
	p, inos, _ := groupPool(t, 3*snapshotsAtOnce, 1)
	group := groupOf(inos, "s00000")
	var doomed []*layer
	ok(t, p.tree.look(func() (err error) {
		doomed, _, err = p.removal.admitGroup(group, DestroyOptions{})
		return err
	}))
	tagOn(t, p, inos[5], "s00000", "late")
	done, held := p.removal.unnameAll(Req{}, doomed[4:8])
	if wantErr(t, "held", held, ErrTagged); done != 3 {
		t.Errorf("%d are told to be gone, want 3", done)
	}
	for i, ino := range inos {
		if want := i < 4 || i > 7 || i == 5; p.HasSnapshot(ino, "s00000") != want {
			t.Errorf("volume %d has its snapshot %v, want %v", i, !want, want)
		}
	}
	ok(t, p.Close())
}

// TestTagOfDestroyed: who gives a tag to a snapshot that goes after it was found is told so, and which; those before it have it, durably.
// Who takes a tag away is told nothing.
func TestTagOfDestroyed(t *testing.T) {
	for _, on := range []bool{true, false} {
		p, inos, _ := groupPool(t, 2*tagsAtOnce+1, 1)
		group := groupOf(inos, "s00000")
		tg := tagging{rm: p.removal, tag: "x", on: on}
		var layers []*layer
		ok(t, p.tree.look(func() (err error) {
			layers, err = tg.admit(group)
			return err
		}))
		ok(t, p.DestroyGroup(Req{}, group[tagsAtOnce+3:tagsAtOnce+4], DestroyOptions{}))
		err := tg.all(layers)
		if !on {
			ok(t, err)
			continue
		}
		wantErr(t, "it is gone", err, ErrNotFound)
		if err != nil && !strings.Contains(err.Error(), "v00011@s00000: destroyed meanwhile") {
			t.Errorf("the error does not name it: %v", err)
		}
		if tg.changed != tagsAtOnce {
			t.Errorf("%d are told to be held, want %d", tg.changed, tagsAtOnce)
		}
		for i, ino := range inos {
			if held := strings.Contains(tagsOf(t, p, ino), "[x]"); held != (i < tagsAtOnce) {
				t.Errorf("volume %d: held %v", i, held)
			}
		}
		ok(t, p.Close())
	}
}

// TestTagsThroughCrashes: a crash at each operation of the device leaves tags on the first of a group, or on none of the others,
// and a tag that was acknowledged is there.
func TestTagsThroughCrashes(t *testing.T) {
	for _, on := range []bool{true, false} {
		n := 2*tagsAtOnce + 1
		base := newDisk(t, 8<<20)
		p, vs := openPool(t, base), []*Volume(nil)
		var inos []Ino
		for i := range n {
			v := mustVolume(t, p, fmt.Sprint("v", i), 8192)
			vs, inos = append(vs, v), append(inos, v.ino)
		}
		takeSnapshot(t, p, "s", vs...)
		group := groupOf(inos, "s")
		if !on {
			_, err := p.TagSnapshots(Req{}, group, "x", true)
			ok(t, err)
		}
		ok(t, p.Close())
		for k, crashed := 1, true; crashed; k++ {
			d := base.Clone()
			p := openPool(t, d)
			d.CrashAt(k)
			_, err := p.TagSnapshots(Req{}, group, "x", on)
			if err == nil {
				err = p.Checkpoint()
			} else if !d.Crashed() {
				t.Fatal(err)
			}
			acked := err == nil
			crashed = d.Crashed()
			p = openPool(t, d.Crash(rand.New(rand.NewPCG(uint64(k), 4))))
			done := 0
			for done < n && (tagsOf(t, p, inos[done]) == "s[x]") == on {
				done++
			}
			for _, ino := range inos[done:] {
				if (tagsOf(t, p, ino) == "s[x]") == on {
					t.Fatalf("on %v, crash at operation %d: %d are done, and one after them", on, k, done)
				}
			}
			if acked && done != n || done%tagsAtOnce != 0 && done != n {
				t.Fatalf("on %v, crash at operation %d: %d of %d are done, acknowledged %v", on, k, done, n, acked)
			}
			mustCheck(t, p)
			changed, err := p.TagSnapshots(Req{}, group, "x", on)
			if ok(t, err); changed != n-done {
				t.Fatalf("on %v, crash at operation %d: once more did %d of %d", on, k, changed, n-done)
			}
			ok(t, p.Close())
		}
	}
}

// TestNoTagWithoutName: a volume that has lost its name gets none, and what is destroyed and kept neither.
func TestNoTagWithoutName(t *testing.T) {
	p := openPool(t, newDisk(t, 8<<20))
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1d"}))
	v, w := mustVolume(t, p, "v", 8192), mustVolume(t, p, "w", 8192)
	takeSnapshot(t, p, "s", v, w)
	ok(t, p.OpenFile(v.ino, true))
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	ok(t, p.Unlink(Req{}, RootIno, "w"))
	for _, ino := range []Ino{v.ino, w.ino} {
		_, err := p.TagSnapshots(Req{}, groupOf([]Ino{ino}, "s"), "x", true)
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("volume %d: %v, want %v", ino, err, ErrNotFound)
		}
	}
	p.ReleaseFile(v.ino, true)
	p.Forget(v.ino)
	mustCheck(t, p)
}
