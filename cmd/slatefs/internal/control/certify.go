package control

import (
	"fmt"
	"regexp"

	"slatefs/chain/property"
)

// The names of the host's properties of what signs, and what is told of it.
const (
	PropEraseKey      = "erase_key"
	PropEraseKeyKnown = "erase_key_known"
	PropEraseAnchor   = "erase_anchor"
)

// evidenceProperties are those of who signs what is said of the erase log.
var evidenceProperties = property.Table{
	{
		Name: PropEraseKey, On: property.OnPool, Host: true, Default: "none", Parse: property.AbsPath,
		Help: `the file of the key that signs certificates and the erase log: an absolute path, or none for the
host's own, which is made when it is needed. Kept on this host, not in the pool`,
	},
	{
		Name: PropEraseKeyKnown, On: property.OnPool, Host: true, Default: "none", Parse: fingerprint,
		Help: `the key of which somebody knows why it signs, and another one did before: as pool status names it, or
none. It ends that trouble, until yet another one signs. Kept on this host, not in the pool`,
	},
	{
		Name: PropEraseAnchor, On: property.OnPool, Host: true, Parse: property.Any,
		Help: `a command for sh that runs, as who mounted the pool, when the head of the erase log was signed, and has
the signed head as a line of JSON on its input, to keep it elsewhere. Kept on this host, not in the pool`,
	},
}

// isFingerprint is what certificate.Fingerprint makes of a key.
var isFingerprint = regexp.MustCompile("^SHA256:[0-9a-f]{32}$")

// fingerprint takes the name of a key, or none.
func fingerprint(v string, _ property.Scope) (string, error) {
	if v != "none" && !isFingerprint.MatchString(v) {
		return "", property.Wanting(fmt.Errorf("%q: want SHA256: and 32 hexadecimal digits, or none: %w", v, property.ErrInvalid), "none")
	}
	return v, nil
}

type (
	// CertifyArgs say what to certify: IDs of jobs, UUIDs of volumes, layers or the pool; and what people know, as KEY=VALUE.
	CertifyArgs struct {
		Asked  []string
		Fields []string
	}
	// Certified is a certificate in the form for machines, as package certificate reads it.
	Certified struct{ Signed []byte }
)
