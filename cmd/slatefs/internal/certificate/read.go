package certificate

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"slatefs/cmd/slatefs/internal/show"
)

// What is wrong with what somebody shows.
var (
	ErrNone    = errors.New("is no certificate of slatefs")
	ErrAltered = errors.New("was altered, or is not whole")
	ErrForm    = errors.New("is of another form")
)

// MaxBytes bounds a certificate of any form.
const MaxBytes = 64 << 20

// Read reads a certificate of any form. On return without an error its signature is that of the key in it, over its document, and
// all else in b is what this package makes of that. Whose the key is, and whether the document holds, Verify says.
func Read(b []byte) (*Signed, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("has more than %d bytes: %w", MaxBytes, ErrNone)
	}
	again, line := (*Signed).JSON, b
	if !bytes.HasPrefix(b, []byte("{")) {
		var err error
		if line, err = unblock(b); err != nil {
			return nil, err
		}
		again = (*Signed).Text
		if bytes.HasPrefix(b, []byte(doctype)) {
			again = (*Signed).HTML
		}
	}
	s, err := readJSON(line)
	if err != nil {
		return nil, err
	}
	if whole := again(s); !bytes.Equal(whole, b) {
		return nil, fmt.Errorf("%s, is not what was signed: %w", firstOther(whole, b), ErrAltered)
	}
	return s, nil
}

// firstOther says where two texts differ first.
func firstOther(a, b []byte) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return fmt.Sprintf("line %d, byte %d", bytes.Count(b[:n], []byte("\n"))+1, n)
}

// readJSON reads the form for machines.
func readJSON(line []byte) (*Signed, error) {
	var w wire
	if err := json.Unmarshal(line, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	switch {
	case w.Signature.Algorithm != algorithm || len(w.Signature.Key) != ed25519.PublicKeySize || w.Output.Command != command:
		return nil, fmt.Errorf("is not signed: %w", ErrNone)
	case !ed25519.Verify(w.Signature.Key, w.Certificate, w.Signature.Sig):
		return nil, fmt.Errorf("the signature is not over this: %w", ErrAltered)
	}
	s := &Signed{Key: w.Signature.Key, Sig: w.Signature.Sig, body: w.Certificate}
	if err := json.Unmarshal(w.Certificate, &s.Document); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if f := s.Document.Form; f < 1 || f > Form {
		return nil, fmt.Errorf("form %d, this slatefs knows 1 to %d: %w", f, Form, ErrForm)
	}
	body, err := encode(s.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNone, err)
	}
	if !bytes.Equal(body, s.body) {
		return nil, fmt.Errorf("%s, is not written as slatefs writes it: %w", firstOther(body, s.body), ErrForm)
	}
	if !clean(s.Document) {
		return nil, fmt.Errorf("a name in it is not escaped: %w", ErrForm)
	}
	return s, nil
}

// clean tells whether every string of a document is as Escape makes them.
func clean(d Document) bool {
	ok := true
	show.EachString(d, func(s string) {
		raw, err := show.Unescape(s)
		ok = ok && err == nil && show.Escape(raw) == s
	})
	return ok
}

// Text and page carry the signed JSON between these lines, in base64.
const (
	blockBegin = "-----BEGIN SLATEFS CERTIFICATE-----\n"
	blockEnd   = "-----END SLATEFS CERTIFICATE-----\n"
	blockWidth = 76
)

// block is the signed JSON as text and page carry it.
func (s *Signed) block() []byte {
	text := base64.StdEncoding.AppendEncode(nil, s.JSON())
	out := []byte(blockBegin)
	for len(text) > 0 {
		n := min(blockWidth, len(text))
		out = append(append(out, text[:n]...), '\n')
		text = text[n:]
	}
	return append(out, blockEnd...)
}

// unblock is the signed JSON that a text or page carries.
func unblock(b []byte) ([]byte, error) {
	_, rest, begun := bytes.Cut(b, []byte(blockBegin))
	text, _, ended := bytes.Cut(rest, []byte(blockEnd))
	if !begun || !ended {
		return nil, ErrNone
	}
	line, err := base64.StdEncoding.AppendDecode(nil, text) // new lines in it are passed over; the whole is compared later
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	return line, nil
}
