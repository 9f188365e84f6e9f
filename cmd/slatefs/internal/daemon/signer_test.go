package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slatefs/chain"
	"slatefs/chain/evidence"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// signing is a bench with a signer, whose clock stands still, and what it tells.
type signing struct {
	*bench
	*Signer
	when time.Time
	log  bytes.Buffer
	sent []map[string]string
}

func newSigning(t *testing.T) *signing {
	s := &signing{bench: newBench(t), when: time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)}
	s.Signer = NewSigner(s.bench.host, s.bench.pool, s.s.Own, slog.New(slog.NewTextHandler(&s.log, nil)), func() time.Time { return s.when })
	s.send = func(_ string, fields map[string]string) error {
		s.sent = append(s.sent, fields)
		return nil
	}
	return s
}

// record makes a record of the log; that nothing is left of the volume is another one, which comes by and by.
func (s *signing) record(name string) {
	s.t.Helper()
	s.volume(name, 1<<20, 4)
	s.erased(name)
}

// anchors are the heads that the host keeps of the pool.
func (s *signing) anchors() []certificate.Anchor {
	s.t.Helper()
	b, err := s.bench.host.Anchors(s.bench.pool.UUID())
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := certificate.ReadAnchors(bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

func (s *signing) signHead() evidence.Signature {
	s.t.Helper()
	sig, err := s.Sign(s.t.Context(), s.bench.pool.Log().State().Head)
	if err != nil {
		s.t.Fatal(err)
	}
	return sig
}

// The head is signed when the pool has no signature, and once a day while records come; a head that is signed is not signed again.
func TestSignedOnceADay(t *testing.T) {
	s := newSigning(t)
	if !s.due() {
		t.Error("no key is known in the pool, and none is due")
	}
	first := s.signHead()
	if s.signHead() != first || len(s.anchors()) != 1 || s.due() {
		t.Errorf("it is signed again: %d anchors", len(s.anchors()))
	}
	s.record("a")
	if s.when = s.when.Add(23 * time.Hour); s.due() {
		t.Error("it is signed before a day is over")
	}
	if s.when = s.when.Add(time.Hour); !s.due() {
		t.Error("a day is over")
	}
	second := s.signHead()
	if got := s.anchors(); len(got) != 2 || got[1].Signature != second || got[1].Head.Seq == 0 {
		t.Errorf("%+v", got)
	}
	if s.when = s.when.Add(48 * time.Hour); s.due() && s.bench.pool.Log().State().Head == second.Head {
		t.Error("nothing has come, and it is signed")
	}
	if len(s.sent) != 2 || s.sent[1]["MESSAGE_ID"] != anchorMessage || !strings.Contains(s.sent[1]["SLATEFS_ANCHOR"], `"hash":"`+second.Head.Hash.String()) {
		t.Errorf("the journal has %v", s.sent)
	}
}

// The host's command has the line, and what fails or hangs keeps nobody from his signature.
func TestAnchorCommand(t *testing.T) {
	s := newSigning(t)
	told := filepath.Join(t.TempDir(), "told")
	s.set("erase_anchor=cat >>" + told + "; echo $SLATEFS_SEQ $SLATEFS_HASH $SLATEFS_POOL_UUID >>" + told)
	sig := s.signHead()
	line, err := certificate.Anchor{Pool: s.bench.pool.UUID(), Signature: sig}.Line()
	if err != nil {
		t.Fatal(err)
	}
	want := string(line) + "0 " + sig.Head.Hash.String() + " " + s.bench.pool.UUID().String() + "\n"
	if b, err := os.ReadFile(told); err != nil || string(b) != want {
		t.Errorf("%q, %v, want %q", b, err, want)
	}
	s.set("erase_anchor=false")
	s.send = func(string, map[string]string) error { return errors.New("no journal today") }
	s.record("a")
	s.signHead()
	for _, want := range []string{"erase_anchor failed", "no journal today"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q: %s", want, s.log.String())
		}
	}
	s.set("erase_anchor=sleep 1000")
	s.record("b")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Sign(ctx, s.bench.pool.Log().State().Head); err != nil {
		t.Error(err)
	}
}

// A disk of the host that takes nothing keeps nobody from his signature, and the log says so.
func TestNoRoomForAnchors(t *testing.T) {
	s := newSigning(t)
	if err := os.WriteFile(filepath.Join(s.bench.host.State, "anchors"), nil, 0o600); err != nil { // where the directory would be
		t.Fatal(err)
	}
	s.signHead()
	if !strings.Contains(s.log.String(), "is not kept on this host") {
		t.Error(s.log.String())
	}
}

// Links go back to the oldest anchor that they come to; else to the newest.
func TestReachOfLinks(t *testing.T) {
	w := &anchorWatch{}
	for _, seq := range []uint64{0, 10, 5000, 9000} {
		w.all = append(w.all, certificate.Anchor{Signature: evidence.Signature{Head: evidence.Head{Seq: seq}}})
	}
	for head, want := range map[uint64]uint64{5: 0, 4096: 0, 4097: 10, 9000: 5000, 9050: 5000, 9097: 9000, 20000: 9000} {
		if got, ok := w.reach(head); !ok || got != want {
			t.Errorf("head %d: back to %d, %v, want %d", head, got, ok, want)
		}
	}
	if seq, ok := w.reach(0); ok {
		t.Errorf("behind the head: %d", seq)
	}
}

// A log that does not lead to what this host has seen is told of at the mount, where the newest anchor says it, or soon after.
func TestAnchorsAgainstTheLog(t *testing.T) {
	s := newSigning(t)
	s.record("a")
	s.signHead()
	s.record("b")
	s.signHead()
	for _, look := range []func() error{s.glance, s.look} {
		if err := look(); err != nil || s.Trouble() != "" {
			t.Fatalf("%v, %s", err, s.Trouble())
		}
	}
	other := newSigning(t) // the same pool by its UUID, and another log
	for _, name := range []string{"x", "y", "z"} {
		other.record(name)
	}
	key, err := other.Key()
	if err != nil {
		t.Fatal(err)
	}
	id := s.bench.pool.UUID()
	add := func(h host.Host, head evidence.Head) {
		t.Helper()
		line, err := certificate.Anchor{Pool: id, Signature: evidence.SignHead(key, id, head, s.when)}.Line()
		if err == nil {
			err = h.AddAnchor(id, line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Another record of before: the whole log is needed to see that.
	kept := s.anchors()
	var heads []evidence.Head
	if err := other.bench.pool.Log().Each(0, func(recs []chain.EraseRecord) error {
		for _, r := range recs {
			heads = append(heads, r.Entry.Head())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	add(s.bench.host, heads[0])
	if err := s.glance(); err != nil {
		t.Errorf("the newest is as it was: %v", err)
	}
	if err := s.look(); err != nil || !strings.Contains(s.Trouble(), "its record 1 signed at 2026-11-29 08:00:00 UTC") {
		t.Errorf("%v, %s", err, s.Trouble())
	}
	// A longer log: that is seen at once.
	add(s.bench.host, evidence.Head{Seq: 1000, Hash: heads[2].Hash})
	if err := s.glance(); err == nil || !strings.Contains(err.Error(), "its record 1000 signed") {
		t.Errorf("%v", err)
	}
	if len(kept) != 2 {
		t.Errorf("%+v", kept)
	}
	// A certificate says it.
	s.s.Signer = s.Signer
	out, err := s.s.certify(t.Context(), control.Peer{Op: "certify"}, control.CertifyArgs{Asked: []string{id.String()}})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := certificate.Read(out.Signed)
	if err != nil || doc.Document.Complete || !strings.Contains(strings.Join(doc.Verdict(), " "), "rolled back") {
		t.Errorf("%v, %v", err, doc.Verdict())
	}
}

// TestSignedMeanwhile: a signature that is made after a certificate was begun is no clock that was set back. A mounted pool signs its first
// head by itself, whenever that is.
func TestSignedMeanwhile(t *testing.T) {
	s := newSigning(t)
	s.record("a")
	first := true
	s.s.Now = func() time.Time {
		begun := s.when
		if first {
			first = false
			s.when = begun.Add(time.Minute)
			if _, err := s.Sign(t.Context(), s.bench.pool.Log().State().Head); err != nil {
				t.Fatal(err)
			}
		}
		return begun
	}
	e, err := s.s.wouldBe(t.Context(), "lab")
	if err != nil || first || len(e.Reasons) > 0 {
		t.Errorf("%v, %v; signed: %v", e.Reasons, err, !first)
	}
	s.when = s.when.Add(-time.Hour)
	if e, err = s.s.wouldBe(t.Context(), "lab"); err != nil || len(e.Reasons) != 1 {
		t.Errorf("after the clock was set back: %v, %v", e.Reasons, err)
	}
}
