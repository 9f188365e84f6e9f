package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/erase"
)

// eraseState is what erase status -j says.
func (l *lab) eraseState() eraseInfo {
	l.t.Helper()
	var out struct{ Erase eraseInfo }
	if err := json.Unmarshal([]byte(l.ok("erase status -j lab")), &out); err != nil {
		l.t.Fatal(err)
	}
	return out.Erase
}

// destroyed writes a byte to blocks of a new volume and destroys it; it returns where the first of them lay.
func (l *lab) destroyed(name string, blocks int64, b byte) (at int64) {
	l.t.Helper()
	l.ok("create --size 16M /lab/" + name)
	l.write(name, 0, blocks, b)
	found := l.disk.Find(bytes.Repeat([]byte{b}, chain.BlockSize))
	if len(found) == 0 {
		l.t.Fatalf("what was written to %s is not on the disk", name)
	}
	l.ok("destroy /lab/" + name)
	return found[0]
}

func TestEraseProperties(t *testing.T) {
	l := newLab(t)
	l.ok("set erase_throughput=0 lab")
	for _, c := range []struct{ set, get string }{
		{"erase_reserve=64M", "64M"},
		{"erase_idle_throughput=-1G", "1G"},
		{"erase_method=unmap", "unmap"},
		{"erase_verify=sample", "sample"},
		{"erase_window=22:00-24:00", "22:00-00:00"},
		{"erase_window=none", "none"},
		{"erase_paused=on", "on"},
	} {
		l.ok("set " + c.set + " lab")
		name, _, _ := strings.Cut(c.set, "=")
		if out := l.ok("get -H " + name + " lab"); out != "/lab\t"+name+"\t"+c.get+"\tlocal\n" {
			t.Errorf("after %s: %s", c.set, out)
		}
	}
	s := l.eraseState()
	if s.Method != "unmap" || s.MethodSet != "unmap" || s.Verify != "sample" || !s.Paused || s.Window != "none" || s.Rate != 0 {
		t.Errorf("%+v", s)
	}
	for set, want := range map[string]string{
		"erase_method=release": "not a method of this device", // it has zeroout, unmap and overwrite
	} {
		l.refused(exitFailed, want, "set "+set+" lab")
	}
	if s := l.eraseState(); s.Method != "unmap" {
		t.Errorf("a refusal changed the method to %s", s.Method)
	}
	for set, want := range map[string]string{
		"erase_method=shred": "want auto, zeroout", "erase_verify=on": "want off, sample or full", "erase_window=1-5": "as 01:00-05:00",
		"erase_paused=1": "want on or off", "erase_reserve=much": "want", "erase_idle_throughput=fast": "as 50M",
	} {
		l.refused(exitUsage, want, "set "+set+" lab")
	}
	l.ok("erase resume lab")
	if out := l.ok("get -H erase_paused lab"); out != "/lab\terase_paused\toff\tlocal\n" {
		t.Error(out)
	}
}

// TestPauseIsKept: a pause and all that is set come again with the pool, and hold for what an eraser is made with.
func TestPauseIsKept(t *testing.T) {
	l := newLab(t)
	l.ok("erase pause lab")
	l.ok("set erase_throughput=7M erase_reserve=1M erase_idle_throughput=9M erase_method=overwrite erase_verify=full erase_window=01:00-05:00 lab")
	disk := l.disk.Clone()
	p, err := chain.Open(disk, chain.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	set, err := eraseSettingsOf(p)
	if err != nil {
		t.Fatal(err)
	}
	e, err := erase.New(disk, logged{Pool: p}, erase.Config{Clock: erase.NewClock(time.Now)})
	if err := errors.Join(err, set.apply(e, func(err error) { t.Error(err) })); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); !s.Paused || s.Rate != 7<<20 || s.Method != blockdev.Overwrite || s.Verify != blockdev.VerifyFull || s.Window.String() != "01:00-05:00" {
		t.Errorf("%+v", s)
	}
	if set.reserve != 1<<20 || set.idle != 9<<20 {
		t.Errorf("%+v", set)
	}
}

func TestEraseStatusTable(t *testing.T) {
	l := newLab(t)
	l.ok("erase pause lab")
	l.destroyed("a.raw", 256, 'a')
	l.ok("create --size 16M /lab/b.raw")
	l.write("b.raw", 0, 128, 'b')
	l.ok("snapshot /lab/b.raw@s")
	l.write("b.raw", 0, 128, 'B')
	l.ok("destroy /lab/b.raw@s")
	if err := l.pool.EraseDrain(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := l.ok("erase status -H lab")
	if want := "1\ta.raw\t-\tvolume destroyed\t1M\t-\t-\tqueued\n4\tb.raw\ts\tsnapshot destroyed\t512K\t-\t-\tqueued\n"; out != want {
		t.Errorf("table:\n%swant\n%s", out, want)
	}
	out = l.ok("erase status lab")
	for _, want := range []string{"1.50M to erase, paused\n", "method auto: not tried yet: the first freed blocks decide; verify off\n", "ID  VOLUME  LAYER  REASON", "DIRTY  RATE  ETA  STATE\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	_, text, code := l.run("erase wait --timeout 300ms lab")
	if code != exitFailed || !strings.Contains(text, "slatefs: erasing is paused; slatefs erase resume lab goes on\n") || !strings.Contains(text, "time is up: 1.50M in 2 jobs") {
		t.Errorf("erase wait of a paused pool: %d, %s", code, text)
	}
	s := l.eraseState()
	if s.Counters.Queue != 2 || s.Counters.OldestAge <= 0 || len(s.Jobs) != 2 || s.Jobs[0].End != nil {
		t.Errorf("%+v", s)
	}
	l.ok("set erase_throughput=1M lab")
	l.ok("erase resume lab")
	s = l.eraseState()
	if len(s.Jobs) != 2 || s.Jobs[0].End == nil || s.Jobs[1].End == nil || !s.Jobs[1].End.After(*s.Jobs[0].End) || s.End == nil {
		t.Errorf("at 1M/s: %+v", s)
	}
	l.ok("set erase_throughput=0 lab")
	l.ok("erase wait lab")
	s = l.eraseState()
	if m := s.Counters.Methods["zeroout"]; m.Background != s.Background || m.Background+m.Demand < 3<<19 || s.Counters.Queue != 0 ||
		s.Counters.Latency["step"].Count == 0 || s.Counters.Latency["sync"].Count == 0 {
		t.Errorf("counters: %+v", s)
	}
}

// TestFailClosed: what could not be zeroed, or does not read as zero, stays out of use and is shown until it is zero.
func TestFailClosed(t *testing.T) {
	mark := bytes.Repeat([]byte("x"), chain.BlockSize)
	touches := func(op devtest.Op, at int64) bool { return op.Off <= at && at < op.Off+op.Len }
	for _, c := range []struct {
		name   string
		verify string
		hook   func(l *lab, at int64) func(devtest.Op) error
		kind   string
	}{
		{"zeroing errors", "off", func(_ *lab, at int64) func(devtest.Op) error {
			return func(op devtest.Op) error {
				if op.Kind == devtest.OpZero && touches(op, at) {
					return errors.New("injected")
				}
				return nil
			}
		}, "zero"},
		{"read-back errors", "full", func(_ *lab, at int64) func(devtest.Op) error {
			return func(op devtest.Op) error {
				if op.Kind == devtest.OpRead && touches(op, at) {
					return errors.New("injected")
				}
				return nil
			}
		}, "read"},
		{"read-back not zero", "full", func(l *lab, at int64) func(devtest.Op) error {
			return func(op devtest.Op) error {
				if op.Kind != devtest.OpRead || !touches(op, at) {
					return nil
				}
				_, err := l.disk.WriteAt(mark, at)
				return err
			}
		}, "verify"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.ok("set erase_throughput=0 erase_verify=" + c.verify + " lab")
			l.ok("erase pause lab")
			at := l.destroyed("v.raw", 300, 'v')
			before := l.pool.Usage()
			l.disk.Fail(c.hook(l, at))
			l.ok("erase resume lab")
			_, text, code := l.run("erase wait --timeout 60s lab")
			if code != exitFailed || !strings.Contains(text, "4K could not be erased, and are not used again") {
				t.Errorf("erase wait: %d, %s", code, text)
			}
			u := l.pool.Usage()
			if u.Failed != chain.BlockSize || u.Dirty != 0 || u.Avail != before.Avail-chain.BlockSize {
				t.Errorf("%+v, before %+v", u, before)
			}
			s := l.eraseState()
			if len(s.Jobs) != 1 || s.Jobs[0].State != "failed" || s.Jobs[0].Failed != chain.BlockSize || s.Counters.Errors[c.kind] == 0 || s.Counters.FailedBytes < chain.BlockSize {
				t.Errorf("%+v", s)
			}
			if out := l.ok("erase status lab"); !strings.HasPrefix(out, "pool lab: 4K failed to erase: they are tried again") || !strings.Contains(out, "4K     -  -    failed\n") {
				t.Errorf("erase status: %s", out)
			}
			if out := l.ok("pool status -x lab"); !strings.Contains(out, "trouble: 4K could not be erased") {
				t.Errorf("pool status -x: %s", out)
			}
			l.disk.Fail(nil) // tried again by itself, after a second or two
			for end := time.Now().Add(time.Minute); l.pool.Usage().Failed > 0; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("not tried again within a minute")
				}
			}
			l.ok("erase wait lab")
			if found := l.disk.Find(bytes.Repeat([]byte{'v'}, chain.BlockSize)); len(found) > 0 {
				t.Errorf("v.raw is still at %v", found)
			}
			if out := l.ok("pool check --online lab"); out != "pool lab: 0 errors, 0 leaks\n" {
				t.Errorf("check: %s", out)
			}
		})
	}
}

// TestWindowsAgree: what the property keeps, the eraser reads, and both refuse the same.
func TestWindowsAgree(t *testing.T) {
	p, err := propNamed(chain.PropEraseWindow)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"none", "01:00-05:00", "22:30-04:15", "18:00-24:00", "00:00-24:00", "01:00-01:00", "1:00-5:00", "24:00-05:00", "25:00-26:00", "01:60-02:00",
		"01:00-05:00 ", "-1:00-05:00", "", "01:00",
	} {
		kept, keptErr := p.Parse(text, chain.OnPool)
		w, err := erase.ParseWindow(text, time.UTC)
		if (keptErr == nil) != (err == nil) || err == nil && w.String() != kept {
			t.Errorf("%q: kept as %q, %v; read as %v, %v", text, kept, keptErr, w, err)
		}
	}
}
