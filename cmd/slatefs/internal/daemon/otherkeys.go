package daemon

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/certificate"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
)

// A pool has one key, for as long as nobody loses it. Another one is what somebody makes who has not the first, too: so it is a trouble
// until somebody says that he knows it, and stands on each certificate.

// OtherKeys names the keys besides one that signed a pool's log, or that were missing on this host, which keeps their public halves: the
// oldest first. A public half that cannot be read is no key.
func OtherKeys(h host.Host, id uuid.UUID, log []ed25519.PublicKey, own ed25519.PublicKey) (names []string) {
	var old []ed25519.PublicKey
	for _, path := range h.OldPublicKeyPaths(id) {
		if keys, err := host.ReadPublicKeys(path); err == nil {
			old = append(old, keys...)
		}
	}
	for _, k := range append(old, log...) {
		if name := certificate.Fingerprint(k); !k.Equal(own) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// LogKeys are the keys that signed a pool's log, each time that they did. What was signed under a UUID that it had before does not count.
func LogKeys(p *chain.Pool) (keys []ed25519.PublicKey) {
	for _, s := range p.Log().State().Signed {
		if s.Verify(p.UUID()) == nil {
			keys = append(keys, s.Key[:])
		}
	}
	return keys
}

// KeyTrouble says that another key signs than did, until somebody has said that he knows it; empty: the pool has one key.
func (s *Signer) KeyTrouble() string {
	log := LogKeys(s.pool)
	var own ed25519.PublicKey
	s.mu.Lock()
	if s.key != nil {
		own = s.key.Public()
	}
	s.mu.Unlock()
	if own == nil && len(log) > 0 {
		own = log[len(log)-1]
	}
	others := OtherKeys(s.host, s.pool.UUID(), log, own)
	name := certificate.Fingerprint(own)
	if own == nil || len(others) == 0 || hostWord(s.own, control.PropEraseKeyKnown) == name {
		return ""
	}
	return fmt.Sprintf("its key was missing on this host: %s signs now, and before it did %s; find out why, and then slatefs set %s=%s %s ends this",
		name, strings.Join(others, ", "), control.PropEraseKeyKnown, name, s.pool.Name())
}
