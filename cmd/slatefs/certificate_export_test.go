package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// A certificate of an export that has lines of a day that is not over is one that can be verified.
func TestOfExportWithOpenLines(t *testing.T) {
	l := newLab(t)
	l.run("erase certificate lab lab") // which makes the key
	l.ok("create --size 1M /lab/v")
	l.write("v", 0, 16, 1)
	l.ok("snapshot /lab/v@a")
	l.ok("snapshot /lab/v@b")
	l.ok("destroy --wait /lab/v@b") // which owned nothing
	l.ok("destroy -r --wait /lab/v")
	dir := t.TempDir()
	log, file := filepath.Join(dir, "log"), filepath.Join(dir, "certificate")
	l.ok("erase log --export " + log + " lab")
	recs := l.records("")
	if last := recs[len(recs)-1]; !last.Open || recs[0].Seq == 0 {
		t.Fatalf("%+v", recs)
	}
	l.refused(show.ExitFailed, "made of an exported log", "erase certificate -o "+file+" --from "+log+" "+recs[0].VolumeUUID)
	l.openLinesAreSigned(log, file)
	for _, from := range []string{"", " --from " + log} {
		out, text, _ := l.run("erase certificate --verify " + file + from)
		if !strings.Contains(text, "it is genuine, and says: not complete: it is made of an exported log") {
			t.Errorf("%s%s", out, text)
		}
	}
}

// openLinesAreSigned alters the last open line of an export in each way: nothing takes it.
func (l *lab) openLinesAreSigned(log, file string) {
	l.t.Helper()
	text := string(must(os.ReadFile(log)))
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	end := len(lines) - 1
	at := end - 1
	if !strings.Contains(lines[at], `"open":true`) || !strings.Contains(lines[end], `"open_signed":{`) {
		l.t.Fatal(text)
	}
	unsigned := regexp.MustCompile(`,"open_signed":\{[^}]*\}`).ReplaceAllString(lines[end], "")
	with := func(open, last string) string {
		return l.file("log", strings.Join(lines[:at], "")+open+last)
	}
	altered := strings.Replace(lines[at], `"reason":"destroyed`, `"reason":"Destroyed`, 1)
	if altered == lines[at] || unsigned == lines[end] {
		l.t.Fatal(text)
	}
	other := must(l.app.host.MakeKey(uuid.New())).Private
	var open control.OpenLines
	var rec control.EraseRecord
	var info struct {
		End control.LogInfo `json:"slatefs_erase_log"`
	}
	if err := errors.Join(json.Unmarshal([]byte(altered), &rec), open.Add(&rec), json.Unmarshal([]byte(lines[end]), &info)); err != nil {
		l.t.Fatal(err)
	}
	own := info.End.Lines.Key
	info.End.Lines = open.Sign(other, info.End.PoolUUID, info.End.Head, l.app.now())
	var forged, claimed bytes.Buffer
	err := control.WriteLog(&forged, nil, &info.End)
	info.End.Lines.Key = own // and it says that it was the pool's
	if err := errors.Join(err, control.WriteLog(&claimed, nil, &info.End)); err != nil {
		l.t.Fatal(err)
	}
	for name, c := range map[string]struct{ from, says string }{
		"altered":                           {with(altered, lines[end]), "not those that were signed"},
		"removed":                           {with("", lines[end]), "NOT PROVED: what the export says of days"},
		"twice":                             {with(lines[at]+lines[at], lines[end]), "NOT PROVED: what the export says of days"},
		"altered, and the signature is not": {with(altered, unsigned+"\n"), "NOT PROVED: what the export says of days"},
		"altered, and signed by another":    {with(altered, forged.String()), "is signed by another key"},
		"altered, and said to be signed":    {with(altered, claimed.String()), "not those that were signed"},
	} {
		out, text, code := l.run("erase certificate --verify " + file + " --from " + c.from)
		if code != show.ExitFailed || !strings.Contains(text, c.says) {
			l.t.Errorf("%s: exit code %d\n%s%s", name, code, out, text)
		}
	}
}
