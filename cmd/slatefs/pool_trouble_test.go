package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/fs"
)

// errDisk is what a device of tests answers.
var errDisk = errors.New("injected")

// kinds are the kinds of the pool's troubles, as programs see them.
func (l *lab) kinds() (kinds []string) {
	l.t.Helper()
	var out struct {
		Pools []struct {
			Troubles []control.PoolTrouble `json:"troubles"`
		} `json:"pools"`
	}
	if err := json.Unmarshal([]byte(l.ok("pool status -j lab")), &out); err != nil || len(out.Pools) != 1 {
		l.t.Fatal(err, out)
	}
	for _, t := range out.Pools[0].Troubles {
		kinds = append(kinds, t.Kind)
	}
	return kinds
}

// has waits until a pool's troubles are these.
func (l *lab) has(want ...string) {
	l.t.Helper()
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = l.kinds(); slices.Equal(got, want) {
			return
		}
	}
	l.t.Fatalf("troubles %v, want %v", got, want)
}

// heal ends the faults of the device. The eraser, which may be about to note one more of them, looks again when it goes on.
func (l *lab) heal() {
	l.disk.Fail(nil)
	for end := time.Now().Add(patience); len(l.kinds()) > 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		l.clock.skip(time.Hour)
		l.ok("erase pause lab")
		l.ok("erase resume lab")
	}
}

// Each trouble whose cause a device can bring about, and its end. What is said by status, its exit code and the list agrees.
func TestTroubles(t *testing.T) {
	for _, c := range []struct {
		kind      string
		make, end func(l *lab)
	}{
		{"deadline-at-risk", func(l *lab) {
			l.ok("set erase_deadline=1h erase_paused=on lab")
			l.destroyed("v.raw", 300, 'v')
		}, func(l *lab) { l.ok("erase resume lab"); l.ok("erase wait lab") }},
		{"deadline-broken", func(l *lab) {
			l.ok("set erase_deadline=1h erase_paused=on lab")
			l.destroyed("v.raw", 300, 'v')
			l.clock.skip(2 * time.Hour)
		}, func(l *lab) { l.ok("erase resume lab"); l.ok("erase wait lab") }},
		{"erase-failed", func(l *lab) {
			l.ok("erase pause lab")
			at := l.destroyed("v.raw", 300, 'v')
			l.disk.Fail(func(o devtest.Op) error {
				if o.Kind == devtest.OpZero && o.Off <= at && at < o.Off+o.Len {
					return errDisk
				}
				return nil
			})
			l.ok("erase resume lab")
		}, (*lab).heal},
		{"read-only", func(l *lab) {
			l.ok("create --size 1M /lab/v.raw")
			l.fails = true
			l.disk.Fail(func(o devtest.Op) error {
				if o.Kind == devtest.OpSync {
					return errDisk
				}
				return nil
			})
			_, _, _ = l.run("snapshot /lab/v.raw@a")
		}, nil},
		{"writers-refused", func(l *lab) {
			l.ok("create --size 100M /lab/v.raw")
			a, err := l.pool.Resolve("v.raw")
			if err != nil {
				l.t.Fatal(err)
			}
			v, err := l.pool.Volume(a.Ino)
			if err != nil {
				l.t.Fatal(err)
			}
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 'x'
			}
			for at := int64(0); err == nil; at += int64(len(b)) {
				_, err = v.WriteAt(b, at)
			}
			if !strings.Contains(err.Error(), chain.ErrNoSpace.Error()) {
				l.t.Fatal(err)
			}
		}, func(l *lab) { l.ok("destroy /lab/v.raw"); l.clock.skip(time.Minute); l.ok("erase wait lab") }},
		{"log-cut", func(l *lab) { // it keeps 512 records
			for i := range 600 {
				name := fmt.Sprint("v", i)
				a, err := l.pool.Create(chain.Req{}, chain.RootIno, name, 0o600)
				if err == nil {
					l.write(name, 0, 1, 'v')
					err = l.pool.Unlink(chain.Req{}, a.Parent, name)
				}
				if err != nil {
					l.t.Fatal(err)
				}
			}
			l.ok("erase wait lab")
		}, nil},
		{"promises-short", func(l *lab) { // what is dirty counts as available, until it fails
			l.ok("erase pause lab")
			l.destroyed("v.raw", 9<<20/chain.BlockSize, 'v')
			l.ok("create --size 55M -o refreservation=auto /lab/sure.raw")
			l.disk.Fail(func(o devtest.Op) error {
				if o.Kind == devtest.OpZero {
					return errDisk
				}
				return nil
			})
			l.ok("erase resume lab")
		}, (*lab).heal},
	} {
		t.Run(c.kind, func(t *testing.T) {
			l := newLab(t)
			l.has()
			if out := l.ok("pool status -x"); out != "all pools are healthy\n" {
				t.Fatal(out)
			}
			c.make(l)
			want := []string{c.kind}
			if c.kind == "writers-refused" && slices.Contains(l.kinds(), "full") {
				want = append(want, "full") // to the last block, or not quite
			}
			if c.kind == "promises-short" {
				want = append(want, "erase-failed")
			}
			l.has(want...)
			if out := l.troubled("pool status -x"); !strings.Contains(out, "trouble: ") {
				t.Error(out)
			}
			if out := l.ok("pool list -H"); !strings.Contains(out, "\t"+c.kind) {
				t.Error(out)
			}
			if c.end == nil {
				return
			}
			c.end(l)
			l.has()
			if out := l.ok("pool list -H"); !strings.HasSuffix(out, "\tok\n") {
				t.Error(out)
			}
		})
	}
}

// Pages that the kernel does not give up are a trouble after a while; erase status says so at once, and what is not erased meanwhile.
// A name from the pool is never printed as it is.
func TestPagesHeld(t *testing.T) {
	l := newLab(t)
	held := func(h fs.HeldPages) {
		l.view.mu.Lock()
		defer l.view.mu.Unlock()
		l.view.pages = h
	}
	was := chain.SnapChange{Dir: chain.RootIno, File: "vm\x1b.raw", Snap: "later", Layer: 7}
	held(fs.HeldPages{Was: was, Since: l.clock.now(), All: true, More: 2})
	l.has()
	l.clock.skip(5 * time.Second)
	for _, want := range []string{
		"pages of a destroyed snapshot, /lab/vm", "@later since ", "a read of it does not end; nothing that was freed since", "2 more",
	} {
		if out := l.ok("erase status lab"); !strings.Contains(out, want) || strings.Contains(out, "\x1b") {
			t.Errorf("want %q in %q", want, out)
		}
	}
	if h := l.eraseState().PagesHeld; h == nil || h.Snapshot != "/lab/vm\x1b.raw@later" || !h.All || h.More != 2 {
		t.Errorf("%+v", h)
	}
	l.clock.skip(10 * time.Second)
	l.has("pages-held")
	if out := l.troubled("pool status -x"); !strings.Contains(out, "trouble: the kernel has pages of a destroyed snapshot, /lab/vm") {
		t.Error(out)
	}
	held(fs.HeldPages{Was: chain.SnapChange{Layer: 7}, Since: l.clock.now(), Err: errDisk, Kept: true})
	l.has("pages-held") // at once: it does not end by itself
	if out := l.troubled("pool status -x"); !strings.Contains(out, "cannot be told to give them up: injected; what only that shows is kept") {
		t.Error(out)
	}
	held(fs.HeldPages{})
	l.has()
	if out := l.ok("erase status lab"); strings.Contains(out, "pages") {
		t.Error(out)
	}
}

// spoiled is a lab of the pool with one page of metadata damaged, so that looked sees it in the pool. It tries page after page.
func (l *lab) spoiled(looked func(*chain.Pool) bool) *lab {
	l.t.Helper()
	open := func(at int64) (*chain.Pool, *devtest.Disk, error) {
		d := l.disk.Clone()
		if at != 0 {
			d.Flip(at+100, 3)
		}
		p, err := chain.Open(d.Clone(), chain.Options{Properties: control.Served, Now: l.app.now, ReadOnly: true})
		return p, d, err
	}
	whole, _, err := open(0)
	if err != nil {
		l.t.Fatal(err)
	}
	_, meta, err := whole.Used()
	if err := errors.Join(err, whole.Close()); err != nil {
		l.t.Fatal(err)
	}
	for _, x := range meta {
		for at := max(x.Off, super.Bytes+whole.Usage().JournalSize); at < x.End(); at += chain.BlockSize {
			p, d, err := open(at)
			if err != nil {
				continue
			}
			found := looked(p)
			if err := p.Close(); err != nil {
				l.t.Fatal(err)
			}
			if found {
				damaged := labOn(l.t, d)
				looked(damaged.pool)
				return damaged
			}
		}
	}
	l.t.Fatal("no page is such a one")
	return nil
}

// reads reads all of v.raw, as far as it can be read.
func reads(p *chain.Pool) error {
	a, err := p.Resolve("v.raw")
	if err != nil {
		return err
	}
	v, err := p.Volume(a.Ino)
	if err == nil {
		_, err = v.ReadAt(make([]byte, 1<<20), 0)
	}
	return err
}

// repaired: v.raw is read, by the twin of a page.
func repaired(p *chain.Pool) bool {
	before := p.Usage().Repairs
	return reads(p) == nil && before == 0 && p.Usage().Repairs == 1
}

// scattered makes a volume whose map has leaves.
func (l *lab) scattered() {
	l.ok("create --size 20M /lab/v.raw")
	for i := range 300 {
		l.write("v.raw", int64(i)*4, 1, 'v')
	}
	if err := l.pool.Checkpoint(); err != nil {
		l.t.Fatal(err)
	}
}

// Each trouble for which the device is not as it was left.
func TestTroublesOfWhatIsThere(t *testing.T) {
	for _, c := range []struct {
		kind, says string
		make       func(l *lab) *lab
		end        func(l *lab)
		others     []string
	}{
		{kind: "pages-repaired", says: "1 metadata pages were damaged and repaired from their twins since the mount", make: func(l *lab) *lab {
			l.scattered()
			return l.spoiled(repaired)
		}},
		{kind: "metadata-damaged", says: "metadata is damaged: ", make: func(l *lab) *lab {
			l.scattered()
			for i := range 300 { // which are in no page yet
				l.write("v.raw", int64(i)*4+1, 1, 'w')
			}
			err := l.pool.Flush()
			damaged := l.spoiled(func(p *chain.Pool) bool { return reads(p) != nil })
			if err := errors.Join(err, damaged.pool.Checkpoint()); err != nil {
				l.t.Fatal(err)
			}
			return damaged
		}},
		{kind: "work-failed", says: " failed ", make: func(l *lab) *lab {
			l.scattered()
			cold := l.again(func(*devtest.Disk) {})
			cold.disk.Fail(failing(devtest.OpRead, 0))
			cold.ok("destroy /lab/v.raw")
			return cold
		}, end: (*lab).heal},
		{kind: "erase-stuck", says: "erasing does not go on: erase: report: ", others: []string{"work-failed"}, make: func(l *lab) *lab {
			// No checkpoint can be taken, and the journal is full.
			l.ok("erase pause lab")
			for i := range 400 {
				name := fmt.Sprint("g", i)
				a, err := l.pool.Create(chain.Req{}, chain.RootIno, name, 0o600)
				if err == nil {
					l.write(name, 0, 1, 'g')
					err = l.pool.Unlink(chain.Req{}, a.Parent, name)
				}
				if err != nil {
					l.t.Fatal(err)
				}
			}
			l.ok("create --size 1M /lab/v.raw")
			if err := l.pool.Checkpoint(); err != nil {
				l.t.Fatal(err)
			}
			l.disk.Fail(failing(devtest.OpWrite, super.Bytes+l.pool.Usage().JournalSize))
			for i, code := 0, show.ExitDone; code == show.ExitDone; i++ {
				if i > 3000 {
					l.t.Fatal("the journal has no end")
				}
				_, _, code = l.run(fmt.Sprint("snapshot /lab/v.raw@s", i))
			}
			l.ok("erase resume lab")
			return l
		}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			l := c.make(newLab(t))
			defer l.disk.Fail(nil)
			l.has(append([]string{c.kind}, c.others...)...)
			if out := l.troubled("pool status -x"); !strings.Contains(out, "trouble: "+c.says) && (c.kind != "work-failed" || !strings.Contains(out, " times and is tried again: ")) {
				t.Errorf("want %q:\n%s", c.says, out)
			}
			if out := l.ok("pool list -H"); !strings.Contains(out, "\t"+c.kind) {
				t.Error(out)
			}
			if c.end != nil {
				c.end(l)
				l.has()
			}
		})
	}
}

// failing is a fault of a device: operations of a kind fail, from a place on.
func failing(kind devtest.OpKind, from int64) func(devtest.Op) error {
	return func(o devtest.Op) error {
		if o.Kind == kind && o.Off >= from {
			return errDisk
		}
		return nil
	}
}

// docs/troubles.md has every kind, and no other.
func TestTroublesAreTold(t *testing.T) {
	doc, err := os.ReadFile("../../docs/troubles.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			kind, _, _ := strings.Cut(rest, "`")
			told[kind] = true
		}
	}
	known := map[string]bool{}
	for _, k := range troubleKinds {
		known[k.kind] = true
	}
	for _, kind := range control.TroubleKinds() {
		known[kind] = true
	}
	for kind := range known {
		if !told[kind] {
			t.Errorf("docs/troubles.md has no %s", kind)
		}
	}
	for kind := range told {
		if !known[kind] {
			t.Errorf("docs/troubles.md has %s, which there is none of", kind)
		}
	}
}
