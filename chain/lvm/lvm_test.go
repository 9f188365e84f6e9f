package lvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a Runner of a shell script: for what a real lvm2 does not do when asked. The rest is shown with the real one,
// in the guest (integration/inside).
func fake(t *testing.T, script string) *Runner {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lvm")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return New(path)
}

func TestErrorSaysWhatFailed(t *testing.T) {
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	t.Setenv("LVM_SYSTEM_DIR", "/nowhere")
	r := fake(t, `echo "  WARNING: this and that" >&2
echo "  locale $LC_ALL, system dir <$LVM_SYSTEM_DIR>, $*" >&2
exit 5`)
	err := r.Extend(context.Background(), Name{"vg0", "a"}, 4096)
	var e *Error
	if !errors.As(err, &e) || e.Code != 5 {
		t.Fatalf("%v", err)
	}
	want := "lvm lvextend --quiet --size 4096b vg0/a: exit 5: locale C, system dir <>, lvextend --quiet --size 4096b vg0/a"
	if err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	if !strings.Contains(e.Stderr, "this and that") {
		t.Errorf("stderr: %q", e.Stderr)
	}
	if err := fake(t, "exit 3").Activate(context.Background(), Name{"vg0", "a"}); !strings.Contains(err.Error(), "exit 3: it said nothing") {
		t.Errorf("%v", err)
	}
}

func TestMissing(t *testing.T) {
	_, err := New("/nonexistent/lvm").Groups(context.Background())
	if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "/nonexistent/lvm") {
		t.Errorf("%v", err)
	}
	old := places
	defer func() { places = old }()
	places = []string{"/nonexistent/lvm", t.TempDir()}
	if _, err := Find(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "/nonexistent/lvm") {
		t.Errorf("%v", err)
	}
	places = append(places, fake(t, "").path)
	if _, err := Find(); err != nil {
		t.Error(err)
	}
}

// TestBothStreamsAreRead: a command that fills both pipes ends all the same.
func TestBothStreamsAreRead(t *testing.T) {
	r := fake(t, `i=0; while [ $i -lt 3000 ]; do
echo "a line on stdout that is long enough to fill a pipe some time, number $i"
echo "a line on stderr that is long enough to fill a pipe some time, number $i" >&2
i=$((i+1)); done; exit 5`)
	var e *Error
	if err := r.Remove(context.Background(), Name{"vg0", "a"}); !errors.As(err, &e) || !strings.HasSuffix(e.Stderr, "number 2999") {
		t.Fatalf("%.200v", err)
	}
}

// TestGivenUp: a command that hangs is asked to end when its context does, before it is killed.
func TestGivenUp(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	r := fake(t, fmt.Sprintf("trap 'echo ended > %s; exit 1' TERM\necho ready > %[1]s\nwhile :; do sleep 0.1; done", mark))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			if _, err := os.Stat(mark); err == nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	err := r.Remove(ctx, Name{"vg0", "a"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(mark); err != nil || string(b) != "ended\n" {
		t.Errorf("%q %v", b, err)
	}
}

func TestReportsThatAreNone(t *testing.T) {
	for _, c := range []struct{ out, says string }{
		{`nonsense`, "invalid character"},
		{`{"report":[]}`, "no such volume group"},
		{`{"report":[{"vg":[{"vg_name":"vg0","vg_size":"1.00g","vg_free":"0","vg_extent_size":"1"}]}]}`, `vg_size is "1.00g"`},
		{`{"report":[{"vg":[{"vg_name":"vg0","vg_size":"1","vg_free":"-5","vg_extent_size":"1"}]}]}`, `vg_free is "-5"`},
		{`{"report":[{"vg":[{"vg_name":"vg0","vg_size":"1","vg_free":"0","vg_extent_size":"0"}]}]}`, `vg_extent_size is 0`},
		{`{"report":[{"vg":[{"vg_name":"vg0","vg_size":"1","vg_free":"0","vg_extent_size":"4"}],"lv":[{"lv_name":"x"}]}]}`, `volume "x": lv_size is ""`},
	} {
		_, err := fake(t, "echo '"+c.out+"'").Group(context.Background(), "vg0")
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.out, err)
		}
	}
}

// TestNames: nothing that is not a name ever becomes an argument.
func TestNames(t *testing.T) {
	for arg, want := range map[string]Name{
		"vg0/a": {"vg0", "a"}, "/dev/vg-1/b.c_d+e": {"vg-1", "b.c_d+e"},
		"vg0": {}, "vg0/": {}, "/a": {}, "vg0/a/b": {}, "vg0/-a": {}, "-vg/a": {}, "vg0/a b": {}, "vg0/a;b": {}, "vg0/..": {},
		"./a": {}, "../a": {}, "vg0/$(x)": {}, "vg0/ä": {}, "vg0/" + strings.Repeat("a", 128): {}, "": {}, "/": {}, "vg0/a\n": {},
	} {
		n, err := ParseName(arg)
		if (err == nil) != (want != Name{}) || err == nil && n != want || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: %v %v", arg, n, err)
		}
	}
	ctx := context.Background()
	r := fake(t, "echo called >&2; exit 9")
	bad := Name{"vg0", "--force"}
	for i, err := range []error{
		r.Create(ctx, bad, 4096), r.Create(ctx, Name{"vg0", "a"}, 4096, "-x"), r.Create(ctx, Name{"vg0", "a"}, 4095),
		r.Create(ctx, Name{"vg0", "a"}, 0), r.Remove(ctx, bad), r.Activate(ctx, bad), r.Deactivate(ctx, bad),
		r.Tag(ctx, bad, nil, nil), r.Tag(ctx, Name{"vg0", "a"}, []string{"a b"}, nil), r.Tag(ctx, Name{"vg0", "a"}, nil, []string{""}),
		r.Extend(ctx, bad, 4096), r.Extend(ctx, Name{"vg0", "a"}, -4096), r.Reduce(ctx, bad, 4096), r.Reduce(ctx, Name{"vg0", "a"}, 1),
		second(r.Groups(ctx, "vg0", "-a")), third(r.Volume(ctx, bad)),
	} {
		var e *Error
		if err == nil || errors.As(err, &e) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

func TestDeviceMapperNames(t *testing.T) {
	for s, want := range map[string]Name{
		"vg0-a": {"vg0", "a"}, "my--vg-a--b--c": {"my-vg", "a-b-c"}, "vg-a-real": {}, "vg": {}, "cryptswap": {}, "": {}, "-a": {},
	} {
		if n, ok := parseDM(s); n != want && ok || ok != (want != Name{}) {
			t.Errorf("%q: %v %v", s, n, ok)
		}
	}
	id := strings.Repeat("a", 64)
	for s, want := range map[string]bool{"LVM-" + id: true, "LVM-" + id + "-real": false, "CRYPT-" + id: false, "LVM-": false, "": false} {
		if isVolume(s) != want {
			t.Errorf("%q", s)
		}
	}
	for _, path := range []string{"/dev/null", "/nonexistent", "/etc/passwd"} {
		if n, ok := OfDevice(path); ok {
			t.Errorf("%s is %v", path, n)
		}
	}
}

// TestSentinels: the first line that says something decides, and warnings say nothing.
func TestSentinels(t *testing.T) {
	for _, c := range []struct {
		stderr string
		want   error
	}{
		{`  Failed to find logical volume "vg0/a"`, ErrNotFound},
		{`  Volume group "vg9" not found`, ErrNotFound},
		{"  Logical volume vg0/a in use.", ErrInUse},
		{"  Logical volume vg0/a is used by another device.", ErrInUse},
		{"  Logical volume vg0/a contains a filesystem in use.", ErrInUse},
		{"  Logical volume vg0/a in use.\n  Failed to find logical volume \"vg0/b\"", ErrInUse},
		{"  Failed to find logical volume \"vg0/b\"\n  Logical volume vg0/a in use.", ErrNotFound},
		{"  WARNING: Device for PV x not found or rejected by a filter.\n  Logical volume vg0/a in use.", ErrInUse},
		{"  WARNING: Volume group x not found.\n  Cannot do that.", nil},
		{`  Physical volume "/dev/x" not found.`, nil},
	} {
		r := fake(t, "cat >&2 <<'E'\n"+c.stderr+"\nE\nexit 5")
		err := r.Deactivate(context.Background(), Name{"vg0", "a"})
		for _, is := range []error{ErrNotFound, ErrInUse} {
			if errors.Is(err, is) != (is == c.want) { //nolint:errorlint // it is which of the two
				t.Errorf("%s: %v", c.stderr, err)
			}
		}
	}
}

// TestOneGroupFails: a group that can't be read loses no other.
func TestOneGroupFails(t *testing.T) {
	r := fake(t, `echo '{"report":[
{"vg":[{"vg_name":"vg0","vg_size":"8","vg_free":"4","vg_extent_size":"4"}],"lv":[{"lv_name":"a","lv_size":"4"}]},
{"vg":[{"vg_name":"odd","vg_size":"many"}]},
{"vg":[{"vg_name":"vg1","vg_size":"8","vg_free":"8","vg_extent_size":"4"}]}]}'
echo '  Cannot process volume group vg2' >&2; exit 5`)
	groups, err := r.Groups(context.Background())
	var e *Error
	if !errors.As(err, &e) || e.Code != 5 || !strings.Contains(err.Error(), "vg2") || !strings.Contains(err.Error(), `group "odd": vg_size is "many"`) {
		t.Errorf("%v", err)
	}
	if len(groups) != 2 || groups[0].Name != "vg0" || len(groups[0].Volumes) != 1 || groups[1].Name != "vg1" {
		t.Errorf("%+v", groups)
	}
	if _, err := r.Group(context.Background(), "vg0"); !errors.As(err, &e) {
		t.Errorf("one group: %v", err)
	}
}

// TestAbandoned: a command that can't be killed holds nobody, and until it is gone no other is started.
func TestAbandoned(t *testing.T) {
	r := New("/nonexistent/lvm")
	r.grace = time.Millisecond
	gone := make(chan struct{})
	r.exec = func(context.Context, []string) ([]byte, error) {
		<-gone
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Remove(ctx, Name{"vg0", "a"}); !errors.Is(err, ErrHangs) || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := r.Activate(context.Background(), Name{"vg0", "a"}); !errors.Is(err, ErrHangs) || !strings.Contains(err.Error(), "lvremove") {
		t.Errorf("while it hangs: %v", err)
	}
	close(gone)
	for r.free() != nil {
		time.Sleep(time.Millisecond)
	}
	if err := r.Activate(context.Background(), Name{"vg0", "a"}); err != nil {
		t.Errorf("after it: %v", err)
	}
}
