package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// certified makes a volume, destroys it, and writes its certificate into a file.
func (l *lab) certified(name string) (file string) {
	l.t.Helper()
	l.ok("create --size 1M /lab/" + name)
	l.write(name, 0, 16, 1)
	l.ok("destroy --wait /lab/" + name)
	recs := l.records("--volume " + name)
	file = filepath.Join(l.t.TempDir(), name+".html")
	l.ok("erase certificate --html -o " + file + " --field name=Ada_Muster " + recs[len(recs)-1].VolumeUUID + " lab")
	return file
}

func (l *lab) file(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// A certificate is verified without its pool: by the key that this host keeps, or one that is given, and by anchors.
func TestVerifyCertificate(t *testing.T) {
	l := newLab(t)
	first, export := l.certified("a"), filepath.Join(t.TempDir(), "log.jsonl")
	l.ok("erase log --export " + export + " lab")
	second := l.certified("b")
	id := l.pool.UUID()
	pub, anchors := l.app.host.PublicKeyPath(id), l.app.host.AnchorPath(id)
	for _, line := range []string{
		"erase certificate --verify " + first,
		"erase certificate --verify " + second + " --key " + pub + " --anchors " + anchors,
	} {
		if out := l.ok(line); !strings.Contains(out, "signed by the pool's key SHA256:") || !strings.Contains(out, "\nCOMPLETE: ") {
			t.Errorf("%s: %s", line, out)
		}
	}

	// What could not be proved is not verified.
	out, text, code := l.run("erase certificate --verify " + second + " --from " + export)
	lacks := "not verified: NOT PROVED: the export has 0 of its"
	if code != show.ExitFailed || !strings.Contains(text, lacks) || strings.Contains(out, "\nCOMPLETE") {
		t.Errorf("exit code %d\n%s%s", code, out, text)
	}

	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	forged := l.file("c.html", strings.Replace(string(b), "Ada_Muster", "Bo_Muster", 1))
	l.refused(show.ExitFailed, "was altered", "erase certificate --verify "+forged)
	l.refused(show.ExitFailed, "is no certificate", "erase certificate --verify "+l.file("c", "COMPLETE"))

	// Another pool's key, or none.
	stranger := newLab(t)
	stranger.certified("c")
	foreign := stranger.app.host.PublicKeyPath(id)
	l.refused(show.ExitFailed, "is signed by another key", "erase certificate --verify "+second+" --key "+foreign)
	if err := os.Remove(pub); err != nil {
		t.Fatal(err)
	}
	out, text, code = l.run("erase certificate --verify " + second)
	if code != show.ExitFailed || !strings.Contains(text, "nobody vouches for its key") {
		t.Errorf("no key: exit code %d\n%s%s", code, out, text)
	}
	if strings.Contains(out, "\nCOMPLETE") || !strings.Contains(out, "\nNOT VERIFIED: it says COMPLETE") {
		t.Error(out)
	}

	// Anchors of somebody else, and of a log that was longer when this one was signed.
	key := l.file("pub", string(must(os.ReadFile(foreign))))
	l.refused(show.ExitFailed, "is signed by another key", "erase certificate --verify "+first+" --key "+key+" --anchors "+anchors)
	l.refused(show.ExitFailed, "is no anchor", "erase certificate --verify "+first+" --key "+l.ownPub()+" --anchors "+l.file("x", "hello\n"))
	l.refused(show.ExitFailed, "contradicts an anchor", "erase certificate --verify "+first+" --key "+l.ownPub()+" --anchors "+l.file("x", ""))
	// It contradicts an anchor of the same second, and is not compared with one of the next.
	out, text, code = l.run("erase certificate --verify " + first + " --key " + l.ownPub() + " --anchors " + stranger.app.host.AnchorPath(id))
	if code != show.ExitFailed || !strings.Contains(text, "anchor") {
		t.Errorf("another log's anchors: exit code %d\n%s%s", code, out, text)
	}
	l.refused(show.ExitUsage, "takes --key", "erase certificate --verify "+first+" lab")
	l.refused(show.ExitUsage, "are for --verify", "erase certificate --key x 1 lab")
	l.refused(show.ExitUsage, "no field of a certificate", "erase certificate --field colour=red 1 lab")
}

func must[T any](b T, err error) T {
	if err != nil {
		panic(err)
	}
	return b
}

// ownPub is the public half of the lab's key, from the certificate of the log's signature.
func (l *lab) ownPub() string {
	l.t.Helper()
	sigs := l.pool.Log().State().Signed
	return l.file("own.pub", hex.EncodeToString(sigs[len(sigs)-1].Key[:]))
}

// What could be proved is said without signing: of paths, there and gone, of users, and of the pool.
func TestEvidenceOnly(t *testing.T) {
	l := newLab(t)
	l.certified("gone")
	l.ok("create --size 1M /lab/a")
	l.write("a", 0, 16, 1)
	signed := len(l.pool.Log().State().Signed)
	for line, want := range map[string]string{
		"gone":                              "volume gone: 64K were ever written, 64K of it are zero\nCOMPLETE\n",
		"/lab/a":                            "volume a: 64K were ever written, 0B of it are zero\nNOT COMPLETE: 64K still shown by a\n",
		"lab":                               "\nNOT COMPLETE: 64K still shown by a\n",
		"uid:" + strconv.Itoa(os.Geteuid()): "\nNOT COMPLETE: 64K still shown by a\n",
	} {
		out, _, code := l.run("erase certificate -n " + line + " lab")
		if !strings.HasSuffix(out, want) || (code == show.ExitDone) != strings.Contains(out, "\nCOMPLETE") {
			t.Errorf("%s: exit code %d, %s", line, code, out)
		}
		full, _, fullCode := l.run("erase certificate " + line + " lab")
		if verdict := want[strings.Index(want, "\n"):]; fullCode != code || !strings.Contains(full, strings.TrimSuffix(verdict, "\n")) {
			t.Errorf("%s: the certificate says otherwise, exit code %d: %s", line, fullCode, full)
		}
	}
	if now := len(l.pool.Log().State().Signed); now != signed {
		t.Errorf("%d signatures, %d before: the head was signed", now, signed)
	}
	l.refused(show.ExitUsage, "want a number", "erase certificate -n uid:x lab")
	l.refused(show.ExitFailed, "want a number", "erase certificate uid:x lab")
	l.refused(show.ExitFailed, "not found", "erase certificate nobody.raw lab")
}

// An owner with one volume is not that volume, and what was compared was not cut.
func TestSheetOfOwner(t *testing.T) {
	l := newLab(t)
	l.run("erase certificate lab lab") // which anchors record 0
	l.certified("gone")
	owner := "uid:" + strconv.Itoa(os.Geteuid())
	out, _, _ := l.run("erase certificate -j " + owner + " lab")
	s, err := certificate.Read([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Document
	if len(d.Of) != 1 || d.Of[0].Kind != "owner" || d.Of[0].UUID != "" || !strings.Contains(string(s.Text()), "moved or given away is") {
		t.Errorf("%+v", d.Of)
	}
	if notes := strings.Join(d.Log.Notes, ""); !strings.Contains(notes, "agrees with ") || strings.Contains(notes, "cut") {
		t.Error(notes)
	}
	if after := d.Log.Links.After.Seq; after >= d.Log.Head.Seq {
		t.Errorf("links after record %d, the head is %d", after, d.Log.Head.Seq)
	}
}

// A log that this host has seen longer, or otherwise, is told of, and nothing is called complete by it.
func TestRolledBackLog(t *testing.T) {
	l := newLab(t)
	ahead := newLab(t) // the same pool, by its UUID, that went on
	for _, name := range []string{"a", "b", "c"} {
		ahead.certified(name)
	}
	l.certified("a")
	theirs := must(os.ReadFile(ahead.app.host.AnchorPath(l.pool.UUID())))
	lines := bytes.SplitAfter(theirs, []byte("\n"))
	if err := l.app.host.AddAnchor(l.pool.UUID(), lines[len(lines)-2]); err != nil {
		t.Fatal(err)
	}
	out, errText, code := l.run("erase certificate " + l.records("")[0].VolumeUUID + " lab")
	want := "not complete: the log was rolled back, or written anew: this host has seen its record "
	if code != show.ExitFailed || !strings.Contains(errText, want) {
		t.Errorf("exit code %d\n%s%s", code, out, errText)
	}
	s, err := certificate.Read([]byte(out))
	if err != nil || s.Document.Complete {
		t.Errorf("%v, %v", s, err)
	}
}

// A key that is missing is made; another one than the pool names signs nothing.
func TestCertificateKeys(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	h, id := l.app.host, l.pool.UUID()
	own := must(os.ReadFile(h.KeyPath(id)))
	stranger := newLab(t)
	stranger.certified("b")
	l.ok("set erase_key=" + stranger.app.host.KeyPath(id) + " lab")
	if out := l.ok("get -H -o value,source erase_key lab"); !strings.HasSuffix(out, "\thost\n") {
		t.Error(out)
	}
	l.refused(show.ExitFailed, "is not the pool's key", "erase certificate 1 lab")
	l.ok("inherit erase_key lab")
	l.ok("erase certificate " + l.records("")[0].VolumeUUID + " lab")
	if !bytes.Equal(own, must(os.ReadFile(h.KeyPath(id)))) {
		t.Error("the key is another one now")
	}
}

// An end that was interrupted when the metadata was gone is gone on with: the certificate has what the log said before. What does not
// read as
// zero is not certified, and the pool is still called one.
func TestEndInTheMiddle(t *testing.T) {
	l := newLab(t)
	l.certified("a")
	l.ok("create --size 1M /lab/b")
	l.write("b", 0, 16, 2)
	if err := l.pool.Flush(); err != nil {
		t.Fatal(err)
	}
	disk := l.disk.Clone()
	whole := make([]byte, disk.Size())
	if _, err := disk.ReadAt(whole, 0); err != nil {
		t.Fatal(err)
	}
	device := l.file("lab.pool", string(whole))
	end := &lab{t: t, app: &app{stdout: &l.out, stderr: &l.text, host: testHost(t), now: l.app.now, mounts: l.app.mounts}}
	end.app.host.OnNote, end.app.host.OnWarning = end.app.note, end.app.warnOnce
	end.ok("pool list -j") // nothing is known

	ctx, ref := t.Context(), host.PoolRef{Device: device, Name: "lab", UUID: l.pool.UUID()}
	dev, release, err := end.app.host.Reach(ctx, ref, blockdev.Options{}, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := chain.Open(dev, chain.Options{Properties: control.Served, Now: l.app.now, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	paper, err := end.app.paperOf(ctx, p, dev, ref, poolDestroyFlags{certificate: filepath.Join(t.TempDir(), "x")})
	if err != nil {
		t.Fatal(err)
	}
	left, err := leftBy(p)
	if err := errors.Join(err, p.Close(), end.app.begin(paper)); err != nil {
		t.Fatal(err)
	}
	if err := end.app.finish(ctx, paper, dev, poolEnd{left: left}); err == nil || !strings.Contains(err.Error(), "is not zero") {
		t.Errorf("bytes of guests are certified: %v", err)
	}
	begun, err := end.app.begunEnd(l.pool.UUID())
	if err != nil || begun.Document.Complete || !strings.Contains(begun.Verdict()[0], "the pool's end has begun, and is not over") {
		t.Errorf("%+v, %v", begun, err)
	}
	_, err = end.app.eraseAll(ctx, dev, left)
	if err := errors.Join(err, paper.drop(), release()); err != nil { // and then the power went
		t.Fatal(err)
	}

	file := filepath.Join(t.TempDir(), "end.json")
	_, text, code := end.run("pool destroy --erase --certificate " + file + " " + device)
	if code != show.ExitFailed || !strings.Contains(text, "--force") {
		t.Errorf("exit code %d: %s", code, text)
	}
	end.ok("pool destroy --erase --force --certificate " + file + " " + device)
	s, err := certificate.Read(must(os.ReadFile(file)))
	if err != nil {
		t.Fatal(err)
	}
	d := s.Document
	if !d.Complete || len(d.Records) == 0 || len(d.Of) != 3 || d.Of[2].Name != "b" || !d.End.Whole {
		t.Errorf("%+v", d)
	}
	if _, err := s.Verify(certificate.Trust{Keys: []ed25519.PublicKey{s.Key}}); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(must(os.ReadFile(end.app.host.EndPath(l.pool.UUID()))), s.JSON()) {
		t.Error("the host keeps another one")
	}
}
