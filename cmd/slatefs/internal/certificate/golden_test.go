package certificate

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What was signed is read again from each form, and its looks are those of the golden files for ever: those of older layouts, too,
// which are not made any more.
func TestGolden(t *testing.T) {
	log, head := logOf(pool, 5)
	complete := sample(log, head, 2, 4)
	left := sample(log, head, 2)
	left.Left = []Part{
		{Bytes: 8 << 20, State: Shown, By: "c11.raw"}, {Bytes: 4096, State: Queued, ID: 12}, {Bytes: 1 << 30, State: "crash", ID: 3, UpTo: true},
	}
	left.Reasons = []string{"the log was rolled back: an anchor of 2026-11-28 has record 77"}
	left.Account = &Account{2 << 30, 1<<30 - 4096 - 8<<20, 0, 1<<30 + 4096 + 8<<20}
	left.Asked = []string{"caf\xe9<b>\x1b[2J.raw"}
	left.Fields = Fields{}
	for name, d := range map[string]Document{"complete": complete, "left": left} {
		s := sealed(t, d, key)
		for form, b := range forms(s) {
			path := filepath.Join("testdata", fmt.Sprintf("%s.%d.%s", name, Form, form))
			if *update {
				if err := os.WriteFile(path, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s is another one: %v", path, err)
			}
		}
	}
	all, err := filepath.Glob("testdata/*.?.*")
	if err != nil || len(all) != 2*len(forms(sealed(t, left, key)))*Form {
		t.Fatalf("golden files of %d layouts: %q, %v", Form, all, err)
	}
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Read(b)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if proved, err := back.Verify(trust); err != nil || len(proved) != 3 || strings.Contains(fmt.Sprint(proved), "NOT PROVED") {
			t.Errorf("%s: %q, %v", path, proved, err)
		}
		acts := strings.HasSuffix(path, "html") && (bytes.Contains(b, []byte("<b>")) || bytes.Contains(b, []byte("<script")))
		if acts || bytes.Contains(b, []byte("\x1b")) {
			t.Errorf("%s: a name acts", path)
		}
	}
}

// A page has so much on it and no more, whatever the document has: it is one sheet. The text has all.
func TestPageIsBounded(t *testing.T) {
	log, head := logOf(pool, 40)
	var of []uint64
	for seq := range uint64(40) {
		of = append(of, seq+1)
	}
	d := sample(log, head, of...)
	long := strings.Repeat("ü", 500)
	for i := range 40 {
		d.Left = append(d.Left, Part{Bytes: 1, State: Shown, By: fmt.Sprintf("%d-%s", i, long)})
		d.Reasons = append(d.Reasons, fmt.Sprintf("%d-%s", i, long))
		d.Of = append(d.Of, Thing{"volume", long, "x"})
		d.Media = append(d.Media, d.Media[0])
		d.Asked = append(d.Asked, long)
	}
	s := sealed(t, d, key)
	page, _, _ := strings.Cut(string(s.HTML()), "<pre hidden>")
	if n := strings.Count(page, "<tr>") + strings.Count(page, "<p>"); n > 75 || len(page) > 16<<10 {
		t.Errorf("%d rows, %d bytes", n, len(page))
	}
	text := string(s.Text())
	for i := range 40 {
		if strings.Count(text, fmt.Sprintf("%d-üü", i)) < 2 || strings.Count(text, "Make / vendor") != 41 {
			t.Errorf("the text lacks part %d, or media", i)
		}
	}
}
