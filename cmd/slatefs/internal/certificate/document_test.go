package certificate

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
)

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
