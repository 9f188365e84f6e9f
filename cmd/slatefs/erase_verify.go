package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// verifyCertificate says whether a certificate is genuine and complete, and what was proved. It needs no pool.
func (a *app) verifyCertificate(args []string, f certificateFlags) error {
	if len(args) > 0 || f.output != "" || f.template != "" || len(f.fields) > 0 || f.signKey != "" {
		return show.Usagef("--verify FILE takes --key, --anchors and --from beside it, and no arguments")
	}
	b, err := readBounded(f.verify)
	if err != nil {
		return err
	}
	s, err := certificate.Read(b)
	if err != nil {
		return show.Hinted(fmt.Errorf("%s: %w", f.verify, err), "what was sent as text may have come with other ends of lines: verify the file as it was made")
	}
	t, err := a.trustIn(s, f)
	if err != nil {
		return err
	}
	proved, err := s.Verify(t)
	if err != nil {
		return fmt.Errorf("%s: %w", f.verify, err)
	}
	text := show.Printable("%s: certificate %v of pool %s, as it was signed\n", f.verify, s.Document.ID, s.Document.Pool.UUID)
	lacking := certificate.Lacking(proved)
	for _, line := range proved { // which are escaped
		text += line + "\n"
	}
	for _, line := range s.Verdict() {
		if s.Document.Complete && (t.Keys == nil || len(lacking) > 0) {
			line = "NOT VERIFIED: it says " + line
		}
		text += line + "\n"
	}
	if _, err := io.WriteString(a.stdout, text); err != nil {
		return err
	}
	switch {
	case t.Keys == nil:
		return show.Hinted(fmt.Errorf("%s: it is whole, but nobody vouches for its key %s", f.verify, certificate.Fingerprint(s.Key)),
			"--key FILE has the public half of the pool's key; the host that has the pool keeps it as %s", a.host.PublicKeyPath(s.Document.Pool.UUID))
	case len(lacking) > 0:
		return fmt.Errorf("%s: it is whole, and not verified: %s", f.verify, strings.Join(lacking, "; "))
	case !s.Document.Complete:
		return fmt.Errorf("%s: it is genuine, and says: %s", f.verify, notComplete(s))
	}
	return nil
}

// trustIn collects what is known from elsewhere: the key that was named, or else the one that this host keeps of that pool, anchors, an export.
func (a *app) trustIn(s *certificate.Signed, f certificateFlags) (t certificate.Trust, err error) {
	path := f.key
	if path == "" {
		path = a.host.PublicKeyPath(s.Document.Pool.UUID)
	}
	t.Keys, err = host.ReadPublicKeys(path)
	if err != nil && (f.key != "" || !errors.Is(err, os.ErrNotExist)) {
		return t, err
	}
	if f.key == "" {
		for _, old := range a.host.OldPublicKeyPaths(s.Document.Pool.UUID) {
			keys, err := host.ReadPublicKeys(old)
			if err != nil {
				return t, err
			}
			t.Keys = append(t.Keys, keys...)
		}
	}
	if f.anchors != "" {
		file, err := os.Open(f.anchors)
		if err != nil {
			return t, err
		}
		defer func() { _ = file.Close() }() //nolint:errcheck // it was only read
		if t.Anchors, err = certificate.ReadAnchors(file); err != nil {
			return t, fmt.Errorf("%s: %w", f.anchors, err)
		}
		if t.Anchors == nil {
			t.Anchors = []certificate.Anchor{}
		}
	}
	if f.from != "" {
		x, err := readExport(f.from)
		if err != nil {
			return t, err
		}
		if x.PoolUUID != s.Document.Pool.UUID {
			return t, fmt.Errorf("%s: is of pool %v: %w", f.from, x.PoolUUID, certificate.ErrChain)
		}
		t.Export, t.Lines, t.Loose = x.Entries, x.LinesKey, x.Unsigned
	}
	return t, nil
}

// readBounded reads a certificate, or as much as one may have and a byte more.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() //nolint:errcheck // it was only read
	return io.ReadAll(io.LimitReader(file, certificate.MaxBytes+1))
}
