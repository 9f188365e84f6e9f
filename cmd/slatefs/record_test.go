package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/atomic"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// records is erase log -j.
func (l *lab) records(flags string) []control.EraseRecord {
	l.t.Helper()
	var out struct {
		Log []control.EraseRecord `json:"log"`
	}
	if err := json.Unmarshal([]byte(l.ok(strings.TrimSpace("erase log -j "+flags)+" lab")), &out); err != nil {
		l.t.Fatal(err)
	}
	return out.Log
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
	text := l.ok("erase certificate " + r.Layers[0] + " lab")
	for _, want := range []string{
		"NIST SP 800-88 Clear", r.Layers[0], r.VolumeUUID, "erased           131072 bytes (128K)",
		"still in use     131072 bytes (128K), shown by vm.raw when it was destroyed", "by uid ", "slatefs destroy, root@pam", "lab.pool (ino-1)",
	} {
		if !strings.Contains(text, want) {
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
	if code != show.ExitFailed || !strings.Contains(errText, "64K are queued") || !strings.Contains(out, "NOT ERASED YET   65536 bytes") {
		t.Errorf("certificate of an open job: exit code %d\n%s%s", code, out, errText)
	}
	l.ok("erase first " + jsonNumber(open) + " lab")
	l.refused(show.ExitFailed, "not found", "erase first 4711 lab")
	l.refused(show.ExitUsage, "is not the ID of a job", "erase first x lab")
	l.refused(show.ExitFailed, "neither the erase log nor a job knows it", "erase certificate 4711 lab")

	file := filepath.Join(t.TempDir(), "certificate")
	l.ok("erase certificate -j -o " + file + " " + jsonNumber(r.ID) + " " + r.VolumeUUID + " lab")
	st, err := os.Stat(file)
	if err != nil || st.Mode() != 0o600 {
		t.Fatalf("%v, %v", st.Mode(), err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Certificate certificate }
	if err := json.Unmarshal(b, &c); err != nil || !c.Certificate.Complete || c.Certificate.Erased != 32*chain.BlockSize || len(c.Certificate.Records) != 1 {
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
	all := l.records("")
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	for flags, want := range map[string]int{
		"--volume a": 1, "--volume " + all[1].VolumeUUID: 1, "--volume c": 0, "--since 1h": 2, "--since 2023-11-14": 2, "--since 2100-01-01": 0,
		"--since " + all[1].Last.Format(time.RFC3339Nano): 1, "--since 0s": 0,
	} {
		if got := l.records(flags); len(got) != want {
			t.Errorf("erase log %s: %d records, want %d", flags, len(got), want)
		}
	}
	l.refused(show.ExitUsage, "want a date", "erase log --since yesterday lab")
}

// Each record goes to the system journal, and what leaves the log to the file that is named.
func TestRecorder(t *testing.T) {
	l := newLab(t)
	var texts []string
	fields := map[string]string{}
	r := &recorder{pool: l.pool, log: slog.New(slog.DiscardHandler), send: func(text string, f map[string]string) error {
		texts, fields = append(texts, text), f
		return errors.New("full")
	}}
	l.ok("create --size 1M /lab/a")
	l.write("a", 0, 4, 1)
	l.ok("destroy --wait /lab/a")
	r.flush()
	r.flush()
	if len(texts) != 1 || texts[0] != "pool lab: volume destroyed of a: freed 16K, zeroed 16K" {
		t.Errorf("%q", texts)
	}
	var e control.EraseRecord
	if err := json.Unmarshal([]byte(fields["SLATEFS_ERASE"]), &e); err != nil || e.Erased != 16<<10 || fields["SLATEFS_VOLUME"] != e.VolumeUUID {
		t.Errorf("%v: %v", err, fields)
	}
	file := filepath.Join(t.TempDir(), "export")
	l.ok("set erase_log_export=" + file + " lab")
	l.refused(show.ExitUsage, "want an absolute path", "set erase_log_export=x lab")
	recs, err := l.pool.EraseLog()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := logExport(file)(recs); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || strings.Count(string(b), "\n") != 2 || !strings.Contains(string(b), `"reason":"volume destroyed"`) {
		t.Errorf("%v: %s", err, b)
	}
	if logExport("none") != nil {
		t.Error("none exports")
	}
}

// A system journal that does not answer holds nobody, and is left alone.
func TestRecorderOutlivesTheJournal(t *testing.T) {
	l := newLab(t)
	answer, calls := make(chan struct{}), atomic.NewInt64(0)
	var log bytes.Buffer
	r := &recorder{pool: l.pool, log: slog.New(slog.NewTextHandler(&log, nil)), send: func(string, map[string]string) error {
		calls.Inc()
		<-answer
		return nil
	}}
	defer close(answer)
	for _, name := range []string{"a", "b", "c"} {
		l.ok("create --size 1M /lab/" + name)
		l.write(name, 0, 4, 1)
		l.ok("destroy --wait /lab/" + name)
	}
	r.flush()
	if n := strings.Count(log.String(), "it does not answer"); calls.Load() != 1 || n != 3 || strings.Count(log.String(), "msg=erased") != 3 {
		t.Errorf("%d calls; the log:\n%s", calls.Load(), log.String())
	}
}
