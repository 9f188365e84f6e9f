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
)

// errDisk is what a device of tests answers.
var errDisk = errors.New("injected")

// kinds are the kinds of the pool's troubles, as programs see them.
func (l *lab) kinds() (kinds []string) {
	l.t.Helper()
	var out struct {
		Pools []struct {
			Troubles []poolTrouble `json:"troubles"`
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
	for _, k := range infoTroubles {
		known[k.kind] = true
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
