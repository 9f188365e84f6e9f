package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
	"slatefs/erase"
)

// eraseState is what erase status -j says.
func (l *lab) eraseState() control.EraseInfo {
	l.t.Helper()
	var out struct{ Erase control.EraseInfo }
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
		l.refused(show.ExitFailed, want, "set "+set+" lab")
	}
	if s := l.eraseState(); s.Method != "unmap" {
		t.Errorf("a refusal changed the method to %s", s.Method)
	}
	for set, want := range map[string]string{
		"erase_method=shred": "want auto, zeroout", "erase_verify=on": "want off, sample or full", "erase_window=1-5": "as 01:00-05:00",
		"erase_paused=1": "want on or off", "erase_reserve=much": "want", "erase_idle_throughput=fast": "as 50M",
	} {
		l.refused(show.ExitUsage, want, "set "+set+" lab")
	}
	l.ok("erase resume lab")
	if out := l.ok("get -H erase_paused lab"); out != "/lab\terase_paused\toff\tlocal\n" {
		t.Error(out)
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
	if code != show.ExitFailed || !strings.Contains(text, "slatefs: erasing is paused; slatefs erase resume lab goes on\n") || !strings.Contains(text, "slatefs: error: time is up: 1.50M in 2 jobs are not erased after 300ms\nhint: slatefs erase status lab shows how far it is\n") {
		t.Errorf("erase wait of a paused pool: %d, %s", code, text)
	}
	_, text, code = l.run("erase wait --timeout 1ns lab") // before anything was asked
	if code != show.ExitFailed || strings.Count(text, "slatefs: erasing is paused") != 1 ||
		!strings.Contains(text, "slatefs: error: time is up: 1.50M in 2 jobs are not erased after 1ns\n") || strings.Contains(text, "deadline") {
		t.Errorf("erase wait without time: %d, %s", code, text)
	}
	if _, text, code = l.run("erase wait --timeout=-1s lab"); code != show.ExitUsage {
		t.Errorf("erase wait with a negative time: %d, %s", code, text)
	}
	s := l.eraseState()
	if s.Counters.Queue != 2 || s.Counters.OldestAge <= 0 || len(s.Jobs) != 2 || s.Jobs[0].End != nil {
		t.Errorf("%+v", s)
	}
	l.ok("set erase_throughput=64K lab")
	l.ok("erase resume lab")
	s = l.eraseState()
	if len(s.Jobs) != 2 || s.Jobs[0].End == nil || s.Jobs[1].End == nil || !s.Jobs[1].End.After(*s.Jobs[0].End) || s.End == nil {
		t.Errorf("at 64K/s: %+v", s)
	}
	l.ok("set erase_throughput=0 lab")
	l.ok("erase wait lab")
	s = l.eraseState()
	if m := s.Counters.Methods["zeroout"]; m.Background != s.Background || m.Background+m.Demand < 3<<19 || s.Counters.Queue != 0 ||
		s.Counters.Latency["step"].Count == 0 || s.Counters.Latency["sync"].Count == 0 {
		t.Errorf("counters: %+v", s)
	}
}

// TestDestroyWhileACheckpointIsBuilt: a destroy leaves a merge to the housekeeping then. It returns at once, and what it freed is
// told; with --wait it returns when that is erased.
func TestDestroyWhileACheckpointIsBuilt(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 16M /lab/v")
	for _, name := range []string{"a", "b"} {
		l.write("v", 0, 128, name[0])
		l.ok("snapshot /lab/v@" + name)
	}
	l.write("v", 0, 128, 'c')
	build := func(name string) (goOn func()) {
		for _, n := range []string{"1", "2"} { // so that the next one has freed pages to overwrite, between its cut and its build
			l.ok("create --size 1M /lab/" + name + n)
			if err := l.pool.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		stands, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var first sync.Once
		l.disk.Fail(func(o devtest.Op) error {
			if o.Kind == devtest.OpWrite && o.Off >= 2*chain.BlockSize+64<<20/256 { // behind superblocks and journal
				first.Do(func() {
					close(stands)
					<-release
				})
			}
			return nil
		})
		go func() { ended <- l.pool.Checkpoint() }()
		<-stands
		return func() {
			close(release)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			l.disk.Fail(nil)
		}
	}
	l.ok("erase pause lab")
	goOn := build("x")
	l.ok("destroy /lab/v@a")
	if out := l.ok("erase status lab"); !strings.Contains(out, "512K to erase, paused\n") {
		t.Errorf("a destroy has returned:\n%s", out)
	}
	goOn()
	l.ok("erase resume lab")
	l.ok("erase wait lab")

	goOn = build("y")
	returned, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-returned: // it may not, yet
		case <-time.After(200 * time.Millisecond):
		}
		goOn()
	}()
	l.ok("destroy --wait /lab/v@b")
	if u := l.pool.Usage(); u.Going+u.Freeing+u.Dirty > 0 {
		t.Errorf("a destroy has waited: going %d, freeing %d, dirty %d", u.Going, u.Freeing, u.Dirty)
	}
	close(returned)
	<-over
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
			if code != show.ExitFailed || !strings.Contains(text, "4K could not be erased, and are not used again") {
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
			if out := l.troubled("pool status -x lab"); !strings.Contains(out, "trouble: 4K could not be erased") {
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
	p, err := propNamed(erase.PropWindow)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"none", "01:00-05:00", "22:30-04:15", "18:00-24:00", "00:00-24:00", "01:00-01:00", "1:00-5:00", "24:00-05:00", "25:00-26:00", "01:60-02:00",
		"01:00-05:00 ", "-1:00-05:00", "", "01:00",
	} {
		kept, keptErr := p.Parse(text, control.OnPool)
		w, err := erase.ParseWindow(text, time.UTC)
		if (keptErr == nil) != (err == nil) || err == nil && w.String() != kept {
			t.Errorf("%q: kept as %q, %v; read as %v, %v", text, kept, keptErr, w, err)
		}
	}
}

// TestAudit: online, residue is found at its address, and told apart from what waits in jobs.
func TestAudit(t *testing.T) {
	l := newLab(t)
	l.ok("erase pause lab")
	l.destroyed("v.raw", 300, 'v')
	if out := l.ok("erase audit lab"); !strings.Contains(out, "1.17M in erase jobs (1.17M not zero yet): no residue\n") {
		t.Error(out)
	}
	at := l.pool.Usage().Total - 5*chain.BlockSize // the end of the pool is clean
	if _, err := l.disk.WriteAt(bytes.Repeat([]byte{'r'}, 512), at); err != nil {
		t.Fatal(err)
	}
	out, text, code := l.run("erase audit lab")
	if want := fmt.Sprintf("residue: block at byte %d (%#x) is not zero and in no erase job\n", at, at); code != show.ExitFailed || strings.Contains(text, "error") || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, ": 1 blocks of residue, 0 unreadable\n") {
		t.Errorf("exit code %d\n%s%s", code, out, text)
	}
	var got struct{ Audit control.AuditInfo }
	out, _, code = l.run("erase audit -j lab")
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != show.ExitFailed || !slices.Equal(got.Audit.Found, []int64{at}) || got.Audit.Pool != "lab" || got.Audit.Clean == 0 {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	if err := errors.Join(l.disk.Zero(at, chain.BlockSize, blockdev.Overwrite), l.disk.Sync()); err != nil {
		t.Fatal(err)
	}
	l.ok("set erase_throughput=0 lab")
	l.ok("erase resume lab")
	l.ok("erase wait lab")
	if out := l.ok("erase audit -p lab"); !strings.HasSuffix(out, ", 0 in erase jobs (0 not zero yet): no residue\n") {
		t.Error(out)
	}
}

// TestSlowlyShowsProgress: what takes longer than two seconds tells where it is.
func TestSlowlyShowsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		a := &app{stderr: &text, now: time.Now}
		var at progressMark
		work := func(d time.Duration) func(context.Context) (int, error) {
			return func(context.Context) (int, error) {
				for i := range int64(10) {
					at.set(i<<20, 10<<20)
					time.Sleep(d / 10)
				}
				at.set(10<<20, 10<<20)
				return 7, nil
			}
		}
		if n, err := slowly(t.Context(), a, "x", at.get, work(time.Second)); n != 7 || err != nil || text.Len() > 0 {
			t.Errorf("in a second: %d, %v, %s", n, err, text.String())
		}
		n, err := slowly(t.Context(), a, "x", at.get, work(25*time.Second))
		if lines := strings.Split(text.String(), "\n"); n != 7 || err != nil || len(lines) != 4 || !strings.HasPrefix(lines[2], "10485760 B 10.0 MB 25.00 s") {
			t.Errorf("in 25 s: %d, %v\n%s", n, err, text.String())
		}
	})
}

// deaf is where nothing can be written to.
type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestSlowlyEnds: what cannot be shown is over when slowly returns, and does not go on beside what its caller does then.
func TestSlowlyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, at, ended := &app{stderr: deaf{}, now: time.Now}, progressMark{}, false
		at.set(1, 2)
		_, err := slowly(t.Context(), a, "x", at.get, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Minute)
			ended = true
			return 0, ctx.Err()
		})
		if !errors.Is(err, io.ErrClosedPipe) || !ended {
			t.Errorf("%v, ended: %v", err, ended)
		}
	})
}

// namedDisk is a disk with a path.
type namedDisk struct{ *devtest.Disk }

func (namedDisk) Path() string { return "/dev/disk" }

// TestPoolEnd: at a pool's end all but what is clean is zeroed and read back, the superblocks are left for last, and what
// is not zero is an error.
func TestPoolEnd(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 16M /lab/v")
	l.write("v", 0, 500, 'v')
	l.ok("snapshot /lab/v@s")
	l.write("v", 100, 500, 'w')
	if err := l.pool.Flush(); err != nil {
		t.Fatal(err)
	}
	open := func() (namedDisk, leftovers) {
		disk := namedDisk{l.disk.Clone()}
		p, err := chain.Open(disk, chain.Options{Properties: control.Served, Now: time.Now, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		left, err := leftBy(p)
		if err := errors.Join(err, p.Close()); err != nil {
			t.Fatal(err)
		}
		return disk, left
	}
	isZero := func(disk namedDisk) bool {
		b := make([]byte, l.pool.Usage().Total-super.Bytes)
		if _, err := disk.ReadAt(b, super.Bytes); err != nil {
			t.Fatal(err)
		}
		return len(bytes.Trim(b, "\x00")) == 0
	}
	disk, left := open()
	if _, err := l.app.eraseAll(t.Context(), disk, left); err != nil || !isZero(disk) {
		t.Errorf("%v, or not all is zero", err)
	}
	if _, err := chain.Identify(disk); err != nil {
		t.Errorf("the superblocks did not come last: %v", err)
	}
	disk, left = open()
	at := disk.Find(bytes.Repeat([]byte{'w'}, chain.BlockSize))[0]
	bad := func(op devtest.Op) error {
		if op.Kind == devtest.OpZero && op.Off <= at && at < op.Off+op.Len {
			return errors.New("injected")
		}
		return nil
	}
	disk.Fail(bad)
	if _, err := l.app.eraseAll(t.Context(), disk, left); err == nil || !strings.Contains(err.Error(), "4K on /dev/disk could not be zeroed") {
		t.Errorf("a block that cannot be zeroed: %v", err)
	}
	disk.Fail(nil)
	if found := disk.Find(bytes.Repeat([]byte{'w'}, chain.BlockSize)); !slices.Equal(found, []int64{at}) {
		t.Errorf("left at %v, want %d", found, at)
	}
	if p, err := chain.Open(disk, chain.Options{Properties: control.Served, Now: time.Now, ReadOnly: true}); err != nil { // metadata is still there: once more
		t.Error(err)
	} else if left, err = leftBy(p); errors.Join(err, p.Close()) != nil {
		t.Error(err)
	} else if _, err := l.app.eraseAll(t.Context(), disk, left); err != nil || !isZero(disk) {
		t.Errorf("done again: %v, or not all is zero", err)
	}
	disk, left = open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.app.eraseAll(ctx, disk, left); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestEndsKeepTheWindow: what is said of the end of erasing counts only the time in the window. The lab's clock begins at
// 22:13 UTC.
func TestEndsKeepTheWindow(t *testing.T) {
	l := newLab(t)
	l.ok("set erase_throughput=1M erase_window=01:00-05:00 lab")
	l.ok("create --size 16M /lab/v")
	l.write("v", 0, 1280, 'v')
	if out := l.ok("destroy -nv /lab/v"); !strings.HasSuffix(out, "would free 5M; erase at 1M/s done about Nov 15 01:00\n") {
		t.Error(out)
	}
	l.ok("destroy /lab/v")
	if err := l.pool.EraseDrain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := l.eraseState()
	opens := time.Date(2023, 11, 15, 1, 0, 0, 0, time.UTC) // the eraser goes by the real clock, and may be at work
	if s.End != nil && (s.End.Before(opens) || s.End.After(opens.Add(5*time.Second)) || len(s.Jobs) != 1 || !s.Jobs[0].End.Equal(*s.End)) {
		t.Errorf("%v, want five seconds after %v: %+v", s.End, opens, s)
	}
	l.ok("set erase_throughput=0 erase_window=none lab")
	l.ok("erase wait lab")
}
