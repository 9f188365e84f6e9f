package certificate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// sheet is what people read, before it is text or a page.
type sheet struct {
	title    string
	under    string
	complete bool
	verdict  []string
	sections []section
}

// section is a box of a sheet.
type section struct {
	title string
	rows  []row
	note  string // in small print below
	wide  bool   // a page has it over its whole width
	sign  bool   // with a line for signature and date
}

// row is a field and what stands in it. Empty is to be filled in by hand.
type row struct{ name, value string }

// bounds say how much of lists stands on a sheet; 0: all.
type bounds struct{ left, reasons, of, media, records int }

const claim = "Clear in the sense of NIST SP 800-88 Rev. 1, of the logical device: the blocks that count as erased were overwritten with " +
	"zeros, or zeroed by the method named, and synced, before anybody else could get them. What a device keeps below its logical " +
	"blocks (remapped sectors, spare cells, copies of an array, snapshots of a host below it, thin pools) is outside this claim."

const attest = "I attest that the information provided on this statement is accurate to the best of my knowledge."

// sheet lays a document out. The fields have the names of the sample certificate.
func (s *Signed) sheet(b bounds) sheet {
	d := &s.Document
	sh := sheet{
		title:    "CERTIFICATE OF SANITIZATION",
		under:    fmt.Sprintf("NIST SP 800-88 Rev. 1, certificate %v, made %s", d.ID, when(&d.Made)),
		complete: d.Complete,
		verdict:  d.verdict(b),
	}
	sh.sections = []section{
		d.person(),
		d.media(b.media),
		d.details(),
		d.destination(),
		d.what(b.of),
		s.evidence(),
		{title: "SIGNATURE", note: attest, sign: true},
		d.validation(),
	}
	if len(d.Records) > 0 {
		sh.sections = append(sh.sections, d.records(b.records))
	}
	return sh
}

// verdict is what the certificate comes to, with each part that is left.
func (d *Document) verdict(b bounds) (lines []string) {
	if d.Complete {
		if d.neverWritten() {
			return []string{"COMPLETE: nothing was ever written"}
		}
		return []string{"COMPLETE: nothing of what was asked for is left on the logical device"}
	}
	parts, more := upTo(d.Left, b.left)
	for _, p := range parts {
		lines = append(lines, "NOT COMPLETE: "+p.Words())
	}
	if len(more) > 0 {
		var rest int64
		for _, p := range more {
			rest += p.Bytes
		}
		lines = append(lines, fmt.Sprintf("NOT COMPLETE: %s in %d more parts, which the text form names", show.FormatSize(rest), len(more)))
	}
	reasons, others := upTo(d.Reasons, b.reasons)
	for _, why := range reasons {
		lines = append(lines, "NOT COMPLETE: "+why)
	}
	if len(others) > 0 {
		lines = append(lines, fmt.Sprintf("NOT COMPLETE: %d more reasons, which the text form names", len(others)))
	}
	return lines
}

// Verdict is what the certificate comes to, with each part that is left.
func (s *Signed) Verdict() []string { return s.Document.verdict(bounds{}) }

func (d *Document) person() section {
	f := d.Fields
	return section{title: "PERSON PERFORMING SANITIZATION", rows: []row{
		{"Organization", f.Organization},
		{"Name", f.Name},
		{"Title", f.Title},
		{"Person's organization", orElse(f.PersonOrganization, f.Organization)},
		{"Location", f.Location},
		{"Phone", f.Phone},
	}}
}

// media has a block for each device below the pool.
func (d *Document) media(most int) section {
	f, sec := d.Fields, section{title: "MEDIA INFORMATION"}
	add := func(name, format string, args ...any) {
		sec.rows = append(sec.rows, row{name, fmt.Sprintf(format, args...)})
	}
	media, more := upTo(d.Media, most)
	for _, m := range media {
		unknown := "not known to the host"
		add("Make / vendor", "%s", orElse(m.Vendor, unknown))
		add("Model number", "%s", orElse(m.Model, unknown))
		add("Serial number", "%s", orElse(m.Serial, orElse(m.WWID, unknown)))
		add("Media type", "%s, %s, %s", m.Type, exactly(m.Size), m.Device)
		if m.Path != "" {
			add("Between it and the pool", "%s", m.Path)
		}
	}
	if len(more) > 0 {
		add("More media", "%d, which the text form names", len(more))
	}
	sec.rows = append(sec.rows,
		row{"Media property number", f.PropertyNumber},
		row{"Source", f.Source},
		row{"Classification", f.Classification},
		row{"Data backed up", f.BackedUp},
	)
	if f.BackupLocation != "" || f.BackedUp == "" {
		add("Backup location", "%s", f.BackupLocation)
	}
	return sec
}

func (d *Document) details() section {
	m := d.Method
	return section{title: "SANITIZATION DETAILS", note: claim, rows: []row{
		{"Method type", m.Type},
		{"Method used", m.Used},
		{"Method details", m.Details},
		{"Tool used", m.Tool},
		{"Verification method", m.Verify},
		{"Verification result", m.Verified},
		{"Post sanitization classification", d.Fields.PostClassification},
		{"Notes", d.Fields.Notes},
	}}
}

// what is the part of the certificate that a disk has no need of: which bytes of many on it are meant.
func (d *Document) what(most int) section {
	sec := section{title: "WHAT WAS SANITIZED"}
	add := func(name, value string) { sec.rows = append(sec.rows, row{name, value}) }
	add("Asked for", strings.Join(d.Asked, ", "))
	things, more := upTo(d.Of, most)
	for _, t := range things {
		add("Of", strings.Join(strings.Fields(t.Kind+" "+t.Name+" "+t.UUID), " "))
	}
	if len(more) > 0 {
		add("And of", fmt.Sprintf("%d more, which the text form names", len(more)))
	}
	if slices.ContainsFunc(d.Of, func(t Thing) bool { return t.Kind == "directory" || t.Kind == "owner" }) {
		add("Which is", "what is there, or ended there, now: a volume that was moved or given away is not in it")
	}
	add("Pool", d.Pool.words(d.Host))
	if d.Pool.Device != "" {
		add("Logical device", d.Pool.Device)
	}
	if a := d.Account; a != nil {
		add("Ever written", fmt.Sprintf("%s; zeroed %s, released %s, left %s", exactly(a.Written), show.FormatSize(a.Zeroed),
			show.FormatSize(a.Released), show.FormatSize(a.Left)))
	}
	add("Freed", exactly(d.Amounts.Freed))
	add("Erased", exactly(d.Amounts.Erased))
	if n := d.Unrecorded(); n > 0 && d.Form > 1 {
		add("In no record of this", exactly(n)+" of what was zeroed: how is not known")
	}
	if d.Amounts.Kept > 0 {
		add("Shown by others then", exactly(d.Amounts.Kept)+", when it was destroyed")
	}
	if d.Amounts.Unproven > 0 {
		add("Never called erased", exactly(d.Amounts.Unproven)+": zeroed for reuse, or released only")
	}
	if d.Deadline != "" {
		add("Promised time", d.Deadline)
	}
	if e := d.End; e != nil {
		how := "every block that was ever used"
		if e.Whole {
			how = "the whole device"
		}
		add("End of the pool", fmt.Sprintf("%s zeroed by %s: %s, %d volumes with it", how, e.Method, exactly(e.Zeroed), e.Volumes))
		add("Read back", exactly(e.ReadBack)+" as zeros, the whole device but the superblocks, "+exactly(e.Super)+", which go after this is kept")
	}
	return sec
}

// words are what is known of a pool: an exported log has not its size.
func (p Pool) words(host string) string {
	text := fmt.Sprintf("%s, %v", p.Name, p.UUID)
	if p.Size > 0 {
		text += ", " + show.FormatSize(p.Size)
	}
	return text + ", on host " + host
}

// evidence says how far the log goes and by what it is held together.
func (s *Signed) evidence() section {
	l, sec := s.Document.Log, section{title: "EVIDENCE"}
	add := func(name, format string, args ...any) {
		sec.rows = append(sec.rows, row{name, fmt.Sprintf(format, args...)})
	}
	of := len(s.Document.Records)
	switch {
	case l.Head == nil:
		add("Erase log", "%d records, of a log that has no chain", of)
	case l.Head.Seq == 0:
		add("Erase log", "no record is in it")
	case l.Cut == nil && l.First == 1:
		add("Erase log", "whole: records 1 to %d; %d of them are of this", l.Head.Seq, of)
	default:
		add("Erase log", "begins at record %d, %s, and ends at %d; %d of them are of this", l.First, when(l.Since), l.Head.Seq, of)
		if l.Cut == nil {
			break
		}
		add("Before that", "only sums are known: %d records, %s to %s, freed %s, zeroed %s", l.Cut.Records(), when(&l.Cut.From), when(&l.Cut.To),
			show.FormatSize(l.Cut.Freed*evidence.BlockSize), show.FormatSize(l.Cut.Erased*evidence.BlockSize))
	}
	if h := l.Head; h != nil {
		add("Head, signed", "record %d, %s, %v", h.Seq, when(&h.Time), h.Hash)
	}
	if l.Renamed {
		add("Begun", "under another UUID of the pool")
	}
	for _, note := range l.Notes {
		add("Anchors", "%s", note)
	}
	add("Key", "%s, Ed25519", Fingerprint(s.Key))
	if len(l.Keys) > 0 {
		add("Signed before by", "%s: the pool's key was missing, and replaced", strings.Join(l.Keys, ", "))
	}
	sec.note = "This sheet carries the signed document. slatefs erase certificate --verify FILE --key PUB proves, without a pool, that nothing on it was changed."
	return sec
}

func (d *Document) destination() section {
	return section{title: "MEDIA DESTINATION", rows: []row{
		{"Destination", d.Fields.Destination},
		{"Details", d.Fields.DestinationDetails},
	}}
}

func (d *Document) validation() section {
	f := d.Fields
	return section{title: "VALIDATION", sign: true, rows: []row{
		{"Name", f.ValidatorName},
		{"Title", f.ValidatorTitle},
		{"Organization", f.ValidatorOrganization},
		{"Location", f.ValidatorLocation},
		{"Phone", f.ValidatorPhone},
	}}
}

// records are those that the certificate is founded on, a line each.
func (d *Document) records(most int) section {
	sec := section{title: "RECORDS", wide: true}
	list, more := upTo(d.Records, most)
	for _, r := range list {
		name := fmt.Sprintf("%d", r.Seq)
		if r.Seq == 0 {
			name = "-"
		}
		sec.rows = append(sec.rows, row{name, recordLine(r.Shown)})
	}
	if len(more) > 0 {
		sec.rows = append(sec.rows, row{"…", fmt.Sprintf("and %d more, which the text form has", len(more))})
	}
	return sec
}

// recordLine is a record in a sentence.
func recordLine(e control.EraseRecord) string {
	what := e.Kind
	switch {
	case e.ID != 0:
		what = fmt.Sprintf("job %d", e.ID)
	case e.Day != "":
		what = "day " + e.Day
	}
	if e.Kind == "closed" {
		return fmt.Sprintf("%s: %s, %s, since %s", what, orElse(control.Subject(e.Volume, e.Snapshot), "the pool"), e.Reason, when(e.Last))
	}
	s := fmt.Sprintf("%s: %s, %s: freed %s %s", what, orElse(control.Subject(e.Volume, e.Snapshot), "the pool"), e.Reason,
		show.FormatSize(e.Freed), when(e.Since))
	if e.Who != "" {
		s += ", by " + e.Who
	}
	if e.Erased > 0 {
		verb := "erased"
		if e.Policy == control.EraseNone {
			verb = "zeroed for reuse (erase=none: nothing is claimed)"
		}
		s += fmt.Sprintf("; %s %s by %s, verify %s, until %s", verb, show.FormatSize(e.Erased), e.Method, e.Verify, when(e.Last))
	}
	if e.Released > 0 {
		s += fmt.Sprintf("; released, not erased %s", show.FormatSize(e.Released))
	}
	if e.Kept > 0 {
		s += fmt.Sprintf("; %s shown by %s then", show.FormatSize(e.Kept), e.KeptBy)
	}
	return s
}

// upTo divides a list; most 0: all of it comes first.
func upTo[T any](list []T, most int) (first, more []T) {
	if most == 0 || len(list) <= most {
		return list, nil
	}
	return list[:most], list[most:]
}

func exactly(n int64) string { return fmt.Sprintf("%d bytes (%s)", n, show.FormatSize(n)) }

// when is a moment in UTC: a sheet looks the same wherever it is made.
func when(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
