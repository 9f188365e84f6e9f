package main

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/show"
)

// jobOf is the ID of the newest job with such a reason that is in the log.
func (l *lab) jobOf(reason string) string {
	l.t.Helper()
	id := ""
	for _, r := range l.records("") {
		if r.ID != 0 && r.Reason == reason {
			id = strconv.FormatUint(r.ID, 10)
		}
	}
	if id == "" {
		l.t.Fatalf("no job %q: %+v", reason, l.records(""))
	}
	return id
}

// Without signing it is said of whatever can be certified what a certificate would come to, and of nothing else.
func TestDryRunOfEverySubject(t *testing.T) {
	l := newLab(t)
	l.mkdir("d")
	l.certified("gone")
	gone := l.records("")[0]
	l.ok("create --size 1M /lab/d/v")
	l.write("d/v", 0, 16, 1)
	l.ok("snapshot /lab/d/v@s")
	l.write("d/v", 0, 8, 2)
	l.ok("rollback /lab/d/v@s")
	l.ok("erase wait lab")
	l.ok("create --size 1M /lab/d/w")
	l.write("d/w", 0, 4, 3)
	l.ok("erase pause lab")
	l.ok("destroy /lab/d/w")
	jobs := eraseJobs(l)
	if len(jobs) != 1 {
		t.Fatalf("jobs %v", jobs)
	}
	signed := len(l.pool.Log().State().Signed)
	for asked, want := range map[string]string{
		"lab": "pool lab: ", "/lab/d": "directory d: ", "/lab/d/v": "volume d/v: ", "/lab/d/v@s": "snapshot d/v@s: ", "/lab/d/w": "volume d/w: ",
		"uid:" + strconv.Itoa(os.Geteuid()): "owner uid ", gone.VolumeUUID: "volume gone: ", gone.Layers[0]: "layer " + gone.Layers[0] + ": ",
		strconv.FormatUint(gone.ID, 10): "job " + strconv.FormatUint(gone.ID, 10) + ": 64K were freed, 64K of it are zero\n",
		jobs[0]:                         "job " + jobs[0] + ": ",
	} {
		out, _, code := l.run("erase certificate -n " + asked + " lab")
		full, _, fullCode := l.run("erase certificate -j " + asked + " lab")
		s, err := certificate.Read([]byte(full))
		if err != nil {
			t.Fatalf("%s: %v", asked, err)
		}
		if !strings.HasPrefix(out, want) || code != fullCode || s.Document.Complete != strings.Contains(out, "\nCOMPLETE\n") {
			t.Errorf("%s: exit code %d, of the certificate %d\n%s\n%+v", asked, code, fullCode, out, s.Verdict())
		}
		if n := strings.Count(out, "\nNOT COMPLETE: "); n != len(s.Document.Left)+len(s.Document.Reasons) {
			t.Errorf("%s: %d reasons, the certificate has %v %v", asked, n, s.Document.Left, s.Document.Reasons)
		}
		if out, _, _ = l.run("erase certificate -n -j " + asked + " lab"); strings.Contains(out, `"complete": true`) != s.Document.Complete {
			t.Errorf("%s: %s", asked, out)
		}
	}
	out, _, _ := l.run("erase certificate -n " + jobs[0] + " lab")
	if !strings.Contains(out, "NOT COMPLETE: 16K queued, in erase job "+jobs[0]) {
		t.Error(out)
	}
	if now := len(l.pool.Log().State().Signed); now > signed+1 {
		t.Errorf("%d signatures, %d before", now, signed)
	}
	for _, asked := range []string{"999999", "nobody", gone.VolumeUUID[:35] + "0"} {
		l.refused(show.ExitFailed, "", "erase certificate -n "+asked+" lab")
	}
	l.refused(show.ExitFailed, "neither the erase log nor a job knows it", "erase certificate -n 999999 lab")
}

// eraseJobs are the IDs of the jobs that are not over.
func eraseJobs(l *lab) (ids []string) {
	l.t.Helper()
	for line := range strings.Lines(l.ok("erase status -H lab")) {
		if f := strings.Fields(line); len(f) > 0 {
			if _, err := strconv.ParseUint(f[0], 10, 64); err == nil {
				ids = append(ids, f[0])
			}
		}
	}
	return ids
}

// What a log that was rolled back keeps from being complete is said without signing, too.
func TestDryRunOfRolledBackLog(t *testing.T) {
	l, ahead := newLab(t), newLab(t)
	for _, name := range []string{"a", "b", "c"} {
		ahead.certified(name)
	}
	l.certified("a")
	theirs := strings.SplitAfter(string(must(os.ReadFile(ahead.app.host.AnchorPath(l.pool.UUID())))), "\n")
	if err := l.app.host.AddAnchor(l.pool.UUID(), []byte(theirs[len(theirs)-2])); err != nil {
		t.Fatal(err)
	}
	out, _, code := l.run("erase certificate -n a lab")
	if code != show.ExitFailed || !strings.Contains(out, "\nNOT COMPLETE: the log was rolled back, or written anew") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// A rollback is called one, and not by the name of the snapshot, which is there still.
func TestRollbackIsNamed(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.write("v", 0, 16, 1)
	l.ok("snapshot /lab/v@s")
	l.write("v", 0, 8, 2)
	l.ok("rollback /lab/v@s")
	l.ok("erase wait lab")
	if out := l.ok("erase log -H lab"); !strings.Contains(out, "rollback of v to @s") {
		t.Error(out)
	}
	out, _, _ := l.run("erase certificate " + l.jobOf("rolled back") + " lab")
	words := strings.Join(strings.Fields(out), " ")
	if !strings.Contains(words, "Of job rollback of v to @s ") || strings.Contains(words, "Of snapshot") {
		t.Error(out)
	}
}

// A job of a volume that is there is complete when its blocks are zero, and no byte of blocks that old was taken along; else it is not
// before
// the volume is.
func TestJobOfLivingVolume(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/v")
	l.write("v", 0, 16, 7)
	l.ok("snapshot /lab/v@s")
	l.write("v", 0, 16, 8)
	l.ok("destroy --wait /lab/v@s")
	id := l.jobOf("snapshot destroyed")
	for _, line := range []string{"", "-n "} {
		if out := l.ok("erase certificate " + line + id + " lab"); !strings.Contains(out, "\nCOMPLETE") {
			t.Error(out)
		}
	}
	l.ok("create --size 1M /lab/w") // later births are no matter, earlier ones are
	l.write("w", 0, 1, 1)
	l.ok("snapshot /lab/w@s")
	if _, err := l.volume("w").WriteAt([]byte{1}, 100); err != nil {
		t.Fatal(err)
	}
	l.ok("erase certificate " + id + " lab")
	l.write("w", 0, 1, 1)
	l.ok("snapshot /lab/w@t")
	l.write("w", 0, 1, 1)
	l.ok("destroy --wait /lab/w@t")
	later := l.jobOf("snapshot destroyed")
	out, _, code := l.run("erase certificate " + later + " lab")
	if code != show.ExitFailed || !strings.Contains(out, "NOT COMPLETE: at most") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
