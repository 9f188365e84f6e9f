package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// records is erase log -j, without what the housekeeping closes in its own time.
func (l *lab) records(flags string) []control.EraseRecord {
	l.t.Helper()
	var out struct {
		Log []control.EraseRecord `json:"log"`
	}
	if err := json.Unmarshal([]byte(l.ok(strings.TrimSpace("erase log -j "+flags)+" lab")), &out); err != nil {
		l.t.Fatal(err)
	}
	return slices.DeleteFunc(out.Log, func(r control.EraseRecord) bool { return r.Kind == "closed" })
}

// What was destroyed is in the log, with who did it, and a certificate says what is claimed.
func TestEraseRecords(t *testing.T) {
	l := newLab(t)
	l.ok("create --size 1M /lab/vm.raw /lab/secret.raw")
	l.ok("set erase=none /lab/secret.raw")
	l.write("vm.raw", 0, 64, 1)
	l.ok("snapshot /lab/vm.raw@clean")
	l.write("vm.raw", 0, 32, 2)
	l.write("secret.raw", 0, 16, 3)
	l.ok("--actor root@pam destroy --wait /lab/vm.raw@clean")
	l.ok("destroy /lab/secret.raw")
	l.ok("erase wait lab") // not for erase=none
	recs := l.records("")
	if len(recs) != 1 {
		t.Fatalf("%+v", recs)
	}
	r := recs[0]
	if r.Freed != 64*chain.BlockSize || r.Erased != 32*chain.BlockSize || r.Kept != 32*chain.BlockSize || r.KeptBy != "vm.raw" {
		t.Errorf("freed %d, zeroed %d, kept %d by %s", r.Freed, r.Erased, r.Kept, r.KeptBy)
	}
	if *r.UID != uint32(os.Geteuid()) || r.Command != "slatefs destroy" || r.Actor != "root@pam" || r.Method != "overwrite" || r.Program != "slatefs test" {
		t.Errorf("%+v", r)
	}
	if out := l.ok("erase log -Hp lab"); !strings.HasSuffix(out, "\tslatefs destroy, root@pam\tsnapshot destroyed\tvm.raw@clean\n") &&
		!strings.Contains(out, "262144\t131072\t131072\toverwrite\t") {
		t.Errorf("erase log: %s", out)
	}
	text, errText, code := l.run("erase certificate " + r.Layers[0] + " lab")
	if code != show.ExitFailed || !strings.Contains(errText, "not complete: 128K still shown by vm.raw\n") {
		t.Errorf("a snapshot of which the volume shows a half: exit code %d, %s", code, errText)
	}
	for _, want := range []string{
		"NIST SP 800-88 Rev. 1", "NOT COMPLETE: 128K still shown by vm.raw", "Ever written 262144 bytes (256K); zeroed 128K, released 0B, left 128K", r.Layers[0], "Erased                           131072 bytes (128K)",
		"Shown by others then             131072 bytes (128K)", "128K shown by vm.raw then", "slatefs destroy, root@pam",
	} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the certificate does not say %q:\n%s", want, text)
		}
	}
	// erase=none is shown, and not called erased.
	status := l.ok("erase status lab")
	for _, want := range []string{"64K are not scheduled (erase=none)", "unscheduled"} {
		if !strings.Contains(status, want) {
			t.Errorf("erase status does not say %q:\n%s", want, status)
		}
	}
	var open uint64
	for _, j := range l.pool.EraseJobs() {
		open = j.ID
	}
	out, errText, code := l.run("erase certificate " + jsonNumber(open) + " lab")
	if code != show.ExitFailed || !strings.Contains(errText, "not complete: 64K not scheduled (erase=none): secret.raw, volume destroyed, job ") || !strings.Contains(out, "\nNOT COMPLETE: 64K not scheduled") {
		t.Errorf("certificate of an open job: exit code %d\n%s%s", code, out, errText)
	}
	l.ok("erase first " + jsonNumber(open) + " lab")
	l.refused(show.ExitFailed, "not found", "erase first 4711 lab")
	l.refused(show.ExitUsage, "is not the ID of a job", "erase first x lab")
	l.refused(show.ExitFailed, "neither the erase log nor a job knows it", "erase certificate 4711 lab")

	file := filepath.Join(t.TempDir(), "certificate")
	l.refused(show.ExitFailed, "not complete: at most 128K shown by others when it was destroyed: vm.raw, job ", "erase certificate -j -o "+file+" "+jsonNumber(r.ID)+" lab")
	st, err := os.Stat(file)
	if err != nil || st.Mode() != 0o600 {
		t.Fatalf("%v, %v", st.Mode(), err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := certificate.Read(b)
	if err != nil || c.Document.Complete || c.Document.Amounts.Erased != 32*chain.BlockSize || len(c.Document.Records) != 1 {
		t.Errorf("%v: %s", err, b)
	}
	l.refused(show.ExitFailed, "file exists", "erase certificate -o "+file+" "+jsonNumber(r.ID)+" lab")
}

func jsonNumber(n uint64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func TestEraseLogFilters(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"a", "b"} {
		l.ok("create --size 1M /lab/" + name)
		l.write(name, 0, 4, 1)
		l.ok("destroy --wait /lab/" + name)
	}
	jobs := func(flags string) []control.EraseRecord { // that nothing is left of the volumes comes by and by
		return slices.DeleteFunc(l.records(flags), func(r control.EraseRecord) bool { return r.ID == 0 })
	}
	all := jobs("")
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	for flags, want := range map[string]int{
		"--volume a": 1, "--volume " + all[1].VolumeUUID: 1, "--volume c": 0, "--since 1h": 2, "--since 2023-11-14": 2, "--since 2100-01-01": 0,
		"--since " + all[1].Last.Format(time.RFC3339Nano): 1, "--since 0s": 0,
	} {
		if got := jobs(flags); len(got) != want {
			t.Errorf("erase log %s: %d records, want %d", flags, len(got), want)
		}
	}
	l.refused(show.ExitUsage, "want a date", "erase log --since yesterday lab")
	l.refused(show.ExitUsage, "want an absolute path", "set erase_log_export=x lab")
}

// The log is exported whole, to a new file only, and shown without its pool; an altered one is not.
func TestEraseLogExport(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"a", "b", "c"} {
		l.ok("create --size 1M /lab/" + name)
		l.write(name, 0, 4, 1)
		l.ok("destroy --wait /lab/" + name)
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	l.ok("erase log --export " + file + " lab")
	if st, err := os.Stat(file); err != nil || st.Mode() != 0o600 {
		t.Fatalf("%v, %v", st, err)
	}
	l.refused(show.ExitFailed, "file exists", "erase log --export "+file+" lab")
	l.refused(show.ExitUsage, "--from FILE and no pool", "erase log --from "+file+" lab")
	l.refused(show.ExitUsage, "--from FILE and no pool", "erase log")
	out, said, code := l.run("erase log -Hp --from " + file)
	if online := l.ok("erase log -Hp lab"); code != 0 || strings.Count(out, "\n") < 3 || !strings.HasPrefix(online, out) || !strings.Contains(said, "records 1 to ") {
		t.Errorf("exit code %d\n%s%s, want\n%s", code, out, said, online)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for name, c := range map[string]struct{ text, want string }{
		"changed": {strings.Replace(string(whole), `"freed":16384`, `"freed":12288`, 1), "line 1: record 1"},
		"swapped": {lines[1] + lines[0] + lines[2], "line 2: record 1 follows record 2"},
		"short":   {strings.Join(lines[1:], ""), "it has 2 to "},
		"empty":   {"", "nothing is in it"},
	} {
		other := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(other, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		l.refused(show.ExitFailed, c.want, "erase log --from "+other)
	}
	gap := filepath.Join(t.TempDir(), "gap")
	if err := os.WriteFile(gap, []byte(lines[0]+lines[2]), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said, code = l.run("erase log -Hp --from " + gap); code != show.ExitFailed || strings.Count(out, "\n") != 2 || !strings.Contains(said, "records 2 to 2 are missing") {
		t.Errorf("exit code %d\n%s%s", code, out, said)
	}
}

// A line of a day that is not over is missed in an export that it was cut out of, and no certificate is made of that.
func TestEraseLogExportLacksOpenLine(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	l.ok("create --size 1M /lab/b")
	l.write("b", 0, 16, 1)
	a, err := l.pool.Resolve("b")
	if err != nil {
		t.Fatal(err)
	}
	v, err := l.pool.Volume(a.Ino)
	if err == nil {
		err = v.Punch(0, 8*chain.BlockSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	l.ok("erase wait lab")
	file := filepath.Join(t.TempDir(), "log.jsonl")
	l.ok("erase log --export " + file + " lab")
	l.ok("erase log --from " + file)
	var kept []string
	for line := range strings.Lines(string(must(os.ReadFile(file)))) {
		if !strings.Contains(line, `"open":true`) {
			kept = append(kept, line)
		}
	}
	other := l.file("cut.jsonl", strings.Join(kept, ""))
	want := "it has 1 lines of days that are not over, and 0 records from before there was a chain, and it has 0 and 0"
	if out, text, code := l.run("erase log --from " + other); code != show.ExitFailed || !strings.Contains(text, want) {
		t.Errorf("exit code %d\n%s%s", code, out, text)
	}
	l.refused(show.ExitFailed, want, "erase certificate --from "+other+" "+l.records("")[0].VolumeUUID)
}
