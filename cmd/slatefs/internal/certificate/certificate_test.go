package certificate

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain/evidence"
	"slatefs/chain/meta"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	pool    = uuid.MustParse("5c0d6ac6-2a0c-4a0e-9a44-3d2f5bd2a1c0")
	key     = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	other   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	morning = time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC)
)

// logOf is a log of a pool with n records, each of another volume.
func logOf(id uuid.UUID, n int) (list []evidence.Entry, head evidence.Head) {
	head = evidence.Genesis(id)
	for i := range n {
		row := evidence.Row{
			Kind: evidence.Job, Number: uint64(i + 1), Volume: uint64(10 + i), Path: fmt.Sprintf("tenants/vm-%d.raw", 100+i), Layers: []meta.Birth{meta.Birth(20 + i)},
			Reason: "volume destroyed", Who: "uid 0, slatefs destroy, root@pam", Freed: 1 << 18, Erased: 3 << 16, Kept: 1 << 16, KeptBy: "clone.raw",
			How:   evidence.How{Method: "zeroout", Verify: "full", Program: "slatefs v1.2.3", Device: "/dev/vg0/vms (dm-uuid-LVM-x)"},
			Since: morning.Add(time.Duration(i) * time.Minute), First: morning.Add(time.Duration(i)*time.Minute + time.Second), Last: morning.Add(time.Hour),
		}
		if i == 3 { // what the clone showed
			row.Volume, row.Path, row.Layers, row.Reason = 11, "tenants/vm-101.raw", []meta.Birth{21}, "no clone shows it any more"
			row.Who, row.Freed, row.Erased, row.Kept, row.KeptBy = "", 1<<16, 1<<16, 0, ""
		}
		e := evidence.NewEntry(head, row.Marshal())
		list, head = append(list, e), e.Head()
	}
	return list, head
}

// sample is a document of the given records of a log, by their numbers.
func sample(log []evidence.Entry, head evidence.Head, of ...uint64) Document {
	signed := evidence.SignHead(key, pool, head, morning.Add(2*time.Hour+5))
	d := Document{
		ID: uuid.MustParse("3f1e9a52-7c41-4d0b-8e6d-1b0a57c2d914"), Made: morning.Add(2 * time.Hour), Asked: []string{"tenants/vm-101.raw"},
		Of: []Thing{{"volume", "tenants/vm-101.raw", evidence.VolumeUUID(pool, 11).String()}},
		Fields: Fields{
			Organization: "Example GmbH", Name: "Ada Muster", Title: "Operator", Location: "Vienna, DC 2", Phone: "+43 1 000", PropertyNumber: "A-4711",
			Source: "tenant 17", Classification: "confidential", BackedUp: "No", Destination: "Internal reuse", ValidatorName: "Bo Prüfer",
		},
		Host: "node1", Pool: Pool{"vms", pool, "/dev/vg0/vms (dm-uuid-LVM-x)", 200 << 30},
		Media: []host.Media{{
			Vendor: "ATA", Model: "SAMSUNG MZ7LH960", Serial: "S45NNA0M123456", WWID: "naa.5002538e", Type: "SSD", Size: 960197124096, Device: "/dev/sda",
			Path: "logical volume vg0/vms (dm-3), partition sda2",
		}},
		Log: Log{First: 1, Since: &morning, Head: HeadOf(signed), Notes: []string{"agrees with 3 of 3 heads that this host keeps, the newest of 2026-11-29 08:00:00 UTC"}},
	}
	for _, seq := range of {
		row, err := evidence.Unmarshal(log[seq-1].Row)
		if err != nil {
			panic(err)
		}
		d.Records = append(d.Records, Record{seq, log[seq-1].Row, control.RecordOf("vms", pool, row)})
	}
	d.Amounts, d.Method = AmountsOf(d.Records), MethodOf(d.Records)
	d.Account = &Account{Written: 1 << 30, Zeroed: 1 << 30}
	d.Log.Links = LinksOf(log, of[0])
	return d
}

func sealed(t *testing.T, d Document, key ed25519.PrivateKey) *Signed {
	t.Helper()
	s, err := Seal(d, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func forms(s *Signed) map[string][]byte {
	return map[string][]byte{"json": s.JSON(), "txt": s.Text(), "html": s.HTML()}
}

var trust = Trust{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}}

// What was signed is read again from each form, and its looks are those of the golden files for ever.
func TestGolden(t *testing.T) {
	log, head := logOf(pool, 5)
	complete := sample(log, head, 2, 4)
	left := sample(log, head, 2)
	left.Left = []Part{{Bytes: 8 << 20, State: Shown, By: "c11.raw"}, {Bytes: 4096, State: Queued, ID: 12}, {Bytes: 1 << 30, State: "crash", ID: 3, UpTo: true}}
	left.Reasons = []string{"the log was rolled back: an anchor of 2026-11-28 has record 77"}
	left.Account = &Account{2 << 30, 1<<30 - 4096 - 8<<20, 0, 1<<30 + 4096 + 8<<20}
	left.Asked = []string{"caf\xe9<b>\x1b[2J.raw"}
	left.Fields = Fields{}
	for name, d := range map[string]Document{"complete": complete, "left": left} {
		s := sealed(t, d, key)
		for form, b := range forms(s) {
			path := filepath.Join("testdata", name+"."+form)
			if *update {
				if err := os.WriteFile(path, b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s is another one: %v", path, err)
			}
			back, err := Read(want)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if proved, err := back.Verify(trust); err != nil || len(proved) != 3 || strings.Contains(fmt.Sprint(proved), "NOT PROVED") {
				t.Errorf("%s: %q, %v", path, proved, err)
			}
			if s := string(b); form == "html" && (strings.Contains(s, "<b>") || strings.Contains(s, "<script")) || strings.Contains(s, "\x1b") {
				t.Errorf("%s: a name acts", path)
			}
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

// complete is not what the signer says, but what follows.
func TestCompleteFollows(t *testing.T) {
	log, head := logOf(pool, 2)
	d := sample(log, head, 1)
	d.Complete, d.Left = true, []Part{{Bytes: 8 << 20, State: Shown, By: "c11.raw"}}
	s := sealed(t, d, key)
	if s.Document.Complete || !strings.Contains(string(s.Text()), "NOT COMPLETE: 8M still shown by c11.raw\n") {
		t.Errorf("%v:\n%s", s.Document.Complete, s.Text())
	}
	lie := s.Document
	lie.Complete = true
	body, err := encode(lie)
	if err != nil {
		t.Fatal(err)
	}
	forged := &Signed{Document: lie, Key: s.Key, Sig: ed25519.Sign(key, body), body: body}
	read, err := Read(forged.Text())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read.Verify(trust); !errors.Is(err, ErrClaims) {
		t.Errorf("a lie is verified: %v", err)
	}
}

// The file of anchors is read as far as it is whole; what nobody signed is no anchor.
func TestAnchorFile(t *testing.T) {
	_, head := logOf(pool, 2)
	line, err := Anchor{pool, evidence.SignHead(key, pool, head, morning)}.Line()
	if err != nil {
		t.Fatal(err)
	}
	list, err := ReadAnchors(bytes.NewReader(append(bytes.Clone(line), bytes.TrimSpace(line)...)))
	if err != nil || len(list) != 2 || list[1].Head != head || list[0].Pool != pool {
		t.Fatalf("%v, %v", list, err)
	}
	torn := append(append(bytes.Clone(line), line...), line[:40]...)
	if list, err := ReadKept(torn); err != nil || len(list) != 2 {
		t.Errorf("what a crash left: %v, %v", list, err)
	}
	if _, err := ReadAnchors(bytes.NewReader(torn)); !errors.Is(err, ErrNoAnchor) {
		t.Errorf("a part of a line is taken: %v", err)
	}
	for name, b := range map[string]string{
		"words": "hello\n", "another number": strings.Replace(string(line), `"seq":2`, `"seq":3`, 1), "a long line": strings.Repeat("x", maxAnchorLine+1) + "\n",
		"no key": `{"pool_uuid":"` + pool.String() + `","seq":2}` + "\n",
	} {
		if _, err := ReadAnchors(strings.NewReader(b)); !errors.Is(err, ErrNoAnchor) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// On the day itself the line of that day comes last and is in no chain. One of a time before the chain comes first, and is not proved.
func TestOpenLine(t *testing.T) {
	log, head := logOf(pool, 4)
	open := Record{Shown: control.EraseRecord{Kind: "day", Day: "2026-11-29", Open: true, Volume: "tenants/vm-101.raw"}}
	old := Record{Shown: control.EraseRecord{Kind: "job", ID: 1, Volume: "tenants/vm-101.raw"}}
	for name, c := range map[string]struct {
		list  func([]Record) []Record
		want  error
		lacks int
	}{
		"open last":           {func(l []Record) []Record { return append(l, open) }, nil, 0},
		"before the chain":    {func(l []Record) []Record { return append([]Record{old}, l...) }, nil, 1},
		"both":                {func(l []Record) []Record { return append(append([]Record{old}, l...), open) }, nil, 1},
		"open first":          {func(l []Record) []Record { return append([]Record{open}, l...) }, ErrChain, 0},
		"no number, not open": {func(l []Record) []Record { return append(l, old) }, ErrChain, 0},
		"open, with a row":    {func(l []Record) []Record { return append(l, Record{Row: log[0].Row, Shown: open.Shown}) }, ErrChain, 0},
	} {
		for _, export := range [][]evidence.Entry{nil, log} {
			d := sample(log, head, 2, 4)
			d.Records = c.list(d.Records)
			d.Amounts = AmountsOf(d.Records)
			with := trust
			with.Export = export
			proved, err := sealed(t, d, key).Verify(with)
			if !errors.Is(err, c.want) || err != nil && c.want == nil || len(Lacking(proved)) != c.lacks {
				t.Errorf("%s: %v, %q", name, err, proved)
			}
			if c.want == nil && name != "before the chain" && !strings.Contains(fmt.Sprint(proved), "days that are not over: 1, NOT PROVED by the chain") {
				t.Errorf("%s: %q", name, proved)
			}
		}
	}
}

// Whatever things are called, only the verdict stands at the edge of the text.
func TestVerdictIsNoName(t *testing.T) {
	log, head := logOf(pool, 2)
	for n := range textWidth {
		d := sample(log, head, 1)
		name := strings.Repeat("x", n) + " COMPLETE: nothing of what was asked for is left"
		d.Left, d.Asked, d.Fields.Notes = []Part{{Bytes: 1, State: Shown, By: name}}, []string{name}, name
		d.Reasons, d.Log.Notes = []string{name}, []string{name}
		for line := range strings.Lines(string(sealed(t, d, key).Text())) {
			if strings.HasPrefix(line, "COMPLETE") {
				t.Fatalf("a name of %d says: %s", n, line)
			}
		}
	}
}

// What is not known of a pool is not said, and a directory or an owner is what is there now.
func TestKnownOnly(t *testing.T) {
	log, head := logOf(pool, 2)
	d := sample(log, head, 1)
	d.Pool.Size, d.Pool.Device = 0, ""
	d.Of = []Thing{{Kind: "directory", Name: "d"}}
	text := string(sealed(t, d, key).Text())
	if strings.Contains(text, "0B, on host") || strings.Contains(text, "Logical device") || !strings.Contains(text, "moved or given away is") {
		t.Error(text)
	}
}

func TestFields(t *testing.T) {
	var f Fields
	if err := f.Template(strings.NewReader("# who\norganization = Example GmbH\n\nname=Ada=Muster\n")); err != nil || f.Organization != "Example GmbH" || f.Name != "Ada=Muster" {
		t.Errorf("%+v, %v", f, err)
	}
	if err := f.Template(strings.NewReader(` {"name": "Bo", "phone": "1"}`)); err != nil || f.Name != "Bo" || f.Phone != "1" || f.Organization == "" {
		t.Errorf("%+v, %v", f, err)
	}
	for _, bad := range []string{"colour=red", "name", "name=" + strings.Repeat("x", maxField+1), "name=\xe9", `{"name": 1}`, `{"colour": "red"}`, "{", "#" + strings.Repeat("x", maxTemplate)} {
		if err := f.Template(strings.NewReader(bad)); !errors.Is(err, ErrField) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

// FuzzRead: whatever is read, nothing that is taken is anything but what this package would have written, and verifying ends.
func FuzzRead(f *testing.F) {
	log, head := logOf(pool, 3)
	s, err := Seal(sample(log, head, 2), key)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range forms(s) {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Add(s.Body(), true)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign { // b as a document that somebody signed: what is in it is anybody's
			b = (&Signed{Key: s.Key, Sig: ed25519.Sign(key, b), body: b}).maybeJSON()
		}
		got, err := Read(b)
		if err != nil {
			return
		}
		if again := got.again(b); !bytes.Equal(again, b) {
			t.Errorf("%q is read as %q", b, again)
		}
		for _, form := range [][]byte{got.Text(), got.HTML()} {
			if back, err := Read(form); err != nil || !bytes.Equal(back.Body(), got.Body()) {
				t.Errorf("%q: %v", form, err)
			}
		}
		_, _ = got.Verify(trust)
		show.EachString(got.Document, func(s string) {
			if show.Escape(must(show.Unescape(s))) != s {
				t.Errorf("%q is not escaped", s)
			}
		})
	})
}

func must(s string, err error) string {
	if err != nil {
		panic(err)
	}
	return s
}

// maybeJSON is JSON of what may be none.
func (s *Signed) maybeJSON() []byte {
	b, err := encode(wire{Certificate: s.body, Output: show.OutputVersion{Command: command, Major: 1, Minor: 2}, Signature: signature{algorithm, s.Key, s.Sig}})
	if err != nil {
		return nil
	}
	return append(b, '\n')
}

// again is the form that b has.
func (s *Signed) again(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte("{")):
		return s.JSON()
	case bytes.HasPrefix(b, []byte(doctype)):
		return s.HTML()
	}
	return s.Text()
}
