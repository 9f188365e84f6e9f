package certificate

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"slatefs/cmd/slatefs/internal/show"
)

// Signed is a document with its signature. Nothing of it changes any more.
type Signed struct {
	Document Document
	Key      ed25519.PublicKey
	Sig      []byte

	body []byte // the document as JSON: what the signature is over
}

// Seal signs a document. What it says of completeness is what follows from it.
func Seal(d Document, key ed25519.PrivateKey) (*Signed, error) {
	d = show.Escaped(d)
	d.settle()
	body, err := encode(d)
	if err != nil {
		return nil, fmt.Errorf("certificate %v: %w", d.ID, err)
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("certificate %v: the key is no Ed25519 key", d.ID)
	}
	return &Signed{Document: d, Key: public, Sig: ed25519.Sign(key, body), body: body}, nil
}

// Draft is the document again as it was before it was signed, for who has more to say: a certificate is never changed.
func (s *Signed) Draft() Document {
	return show.Unescaped(s.Document)
}

// encode is the one way in which a value stands in a certificate: JSON in one line, fields in the order of the types.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// wire is the JSON form: what commands print with -j, in one line.
type wire struct {
	Output      show.OutputVersion `json:"output_version"`
	Certificate json.RawMessage    `json:"certificate"`
	Signature   signature          `json:"signature"`
}

// signature is over the bytes of the value of "certificate".
type signature struct {
	Algorithm string `json:"algorithm"`
	Key       []byte `json:"public_key"`
	Sig       []byte `json:"value"`
}

const (
	algorithm = "Ed25519"
	command   = "slatefs erase certificate"
)

// JSON is the form for machines, a line.
func (s *Signed) JSON() []byte {
	b, err := encode(wire{
		Output:      show.OutputVersion{Command: command, Major: 1, Minor: 2},
		Certificate: s.body,
		Signature:   signature{algorithm, s.Key, s.Sig},
	})
	if err != nil {
		panic(err) // the body is JSON: it was made or read as such
	}
	return append(b, '\n')
}

// Body is what the signature is over.
func (s *Signed) Body() []byte { return s.body }

// Fingerprint names a public key: people can compare it.
func Fingerprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return "SHA256:" + hex.EncodeToString(sum[:16])
}
