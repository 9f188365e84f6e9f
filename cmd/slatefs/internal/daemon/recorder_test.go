package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/atomic"

	"slatefs/cmd/slatefs/internal/control"
)

// Each record goes to the system journal, and what leaves the log to the file that is named.
func TestRecorder(t *testing.T) {
	b := newBench(t)
	var texts []string
	fields := map[string]string{}
	r := &recorder{pool: b.pool, log: slog.New(slog.DiscardHandler), send: func(text string, f map[string]string) error {
		if strings.Contains(f["SLATEFS_ERASE"], `"kind":"job"`) { // that nothing is left may come at any time after
			texts, fields = append(texts, text), f
		}
		return errors.New("full")
	}}
	b.volume("a", 1<<20, 4)
	b.erased("a")
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
	b.set("erase_log_export=" + file)
	recs, err := b.pool.EraseLog()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := logExport(file, anyPath)(recs); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := os.ReadFile(file)
	if err != nil || strings.Count(string(lines), "\n") != 2*len(recs) || strings.Count(string(lines), `"reason":"volume destroyed"`) != 2 {
		t.Errorf("%v: %s", err, lines)
	}
	if logExport("none", anyPath) != nil {
		t.Error("none exports")
	}
}

// A system journal that does not answer holds nobody, and is left alone.
func TestRecorderOutlivesTheJournal(t *testing.T) {
	b := newBench(t)
	answer, calls := make(chan struct{}), atomic.NewInt64(0)
	var log bytes.Buffer
	r := &recorder{pool: b.pool, log: slog.New(slog.NewTextHandler(&log, nil)), send: func(string, map[string]string) error {
		calls.Inc()
		<-answer
		return nil
	}}
	defer close(answer)
	for _, name := range []string{"a", "b", "c"} {
		b.volume(name, 1<<20, 4)
		b.erased(name)
	}
	r.flush()
	told := strings.Count(log.String(), "msg=erased") // the jobs, and that nothing is left, if that has come
	if n := strings.Count(log.String(), "it does not answer"); calls.Load() != 1 || n != told || strings.Count(log.String(), "kind=job") != 3 {
		t.Errorf("%d calls; the log:\n%s", calls.Load(), log.String())
	}
}

// A name's bytes are in the export and in the journal's line, however they are no text.
func TestRecordsOfNames(t *testing.T) {
	b := newBench(t)
	b.volume("caf\xe9.raw", 1<<20, 4)
	b.erased("caf\xe9.raw")
	recs, err := b.pool.EraseLog()
	if err != nil || len(recs) == 0 {
		t.Fatalf("the log says %+v, %v", recs, err)
	}
	out := filepath.Join(t.TempDir(), "log")
	if err := logExport(out, anyPath)(recs[:1]); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(out)
	if err != nil || !bytes.Contains(line, []byte(`"volume":"caf\\351.raw","volume_bytes":"Y2Fm6S5yYXc="`)) {
		t.Errorf("the export says %s, %v", line, err)
	}
	if text := recordText(eraseRecordOf(recs[0])); !strings.Contains(text, `caf\351.raw`) {
		t.Errorf("the journal's line is %q", text)
	}
}

// anyPath is where no path leads into a mount.
func anyPath(string) error { return nil }
