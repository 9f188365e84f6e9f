package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

// The log is cut by commands between two certificates. What the accounts prove is complete still, how it was done is not known any
// more, and a job whose record has left the log has no certificate. What was signed before is genuine.
func TestCertificateAcrossACut(t *testing.T) {
	l := newLabOf(t, 8<<20)
	export := filepath.Join(t.TempDir(), "log.jsonl")
	before := l.certified("gone")
	job := strconv.FormatUint(l.records("--volume gone")[0].ID, 10)
	l.ok("create --size 1M /lab/half")
	l.write("half", 0, 4, 2)
	l.ok("snapshot /lab/half@s")
	l.write("half", 0, 4, 3)
	l.ok("destroy --wait /lab/half@s")
	l.ok("create --size 1M /lab/live")
	l.write("live", 0, 2, 4)
	l.ok("erase log --export " + export + " lab")

	left := l.pool.Log().State().Head.Seq
	n := 0
	for ; l.pool.Log().State().Cut.At.Seq <= left; n++ {
		if n > 200 {
			t.Fatalf("%d volumes were destroyed, and the log is not cut behind record %d: %+v", n, left, l.pool.Log().State())
		}
		name := fmt.Sprint("v", n)
		l.ok("create --size 1M /lab/" + name)
		l.write(name, 0, 1, 5)
		l.ok("destroy --wait /lab/" + name)
	}
	l.ok("destroy --wait /lab/half")
	cut := l.pool.Log().State().Cut
	begins := fmt.Sprintf("begins at record %d, ", cut.At.Seq+1)
	t.Logf("cut behind record %d after %d volumes", cut.At.Seq, n)

	for _, c := range []struct {
		asked    string
		code     int
		says     []string
		saysNone string
	}{
		{"/lab/gone", show.ExitDone, []string{
			"\nCOMPLETE: nothing of what was asked for is left", "Method used Not known", "how is in no record of this",
			"Ever written 65536 bytes (64K); zeroed 64K", "In no record of this 65536 bytes (64K)",
		}, "never written"},
		{"/lab/half", show.ExitDone, []string{
			"\nCOMPLETE: nothing of what was asked for is left", "Method used Overwrite",
			"Ever written 32768 bytes (32K); zeroed 32K", "In no record of this 16384 bytes (16K)",
		}, "never written"},
		{"/lab/live", show.ExitFailed, []string{"\nNOT COMPLETE: 8K still shown by live\n"}, "\nCOMPLETE"},
	} {
		out, text, code := l.run("erase certificate " + c.asked + " lab")
		words := strings.Join(strings.Fields(out), " ")
		for _, want := range append(c.says, begins, "only sums are known: "+fmt.Sprint(cut.Records())+" records") {
			if code != c.code || !strings.Contains(out, want) && !strings.Contains(words, want) {
				t.Errorf("%s: exit code %d, no %q\n%s%s", c.asked, code, want, out, text)
			}
		}
		if strings.Contains(out, c.saysNone) {
			t.Errorf("%s: %q\n%s", c.asked, c.saysNone, out)
		}
	}
	l.refused(show.ExitFailed, fmt.Sprintf("%s: neither the erase log, which begins at record %d, nor a job knows it", job, cut.At.Seq+1),
		"erase certificate "+job+" lab")
	if out, text, code := l.run("erase certificate --from " + export + " " + job + " lab"); code == show.ExitDone {
		t.Errorf("an exported log proves what is left: %s%s", out, text)
	}
	if out := l.ok("erase certificate --verify " + before); !strings.Contains(out, "COMPLETE: nothing of what was asked for is left") {
		t.Error(out)
	}
}
