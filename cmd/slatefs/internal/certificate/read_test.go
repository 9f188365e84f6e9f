package certificate

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"slatefs/cmd/slatefs/internal/show"
)

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
	b, err := encode(wire{
		Certificate: s.body, Output: show.OutputVersion{Command: command, Major: 1, Minor: 2}, Signature: signature{algorithm, s.Key, s.Sig},
	})
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
