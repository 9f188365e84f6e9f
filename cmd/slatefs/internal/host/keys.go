package host

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/show"
)

// A pool's key signs what is said of its erase log. The private half is the host's and never lies in the pool: a file that only its
// owner may read, or what a service manager hands over as a credential. The public half lies in the pool, and beside the key.

// Errors of keys.
var (
	ErrOtherKey = errors.New("is not the pool's key")
	ErrNoKey    = errors.New("holds no Ed25519 key")
)

// SigningKey is a pool's key, and where it is from.
type SigningKey struct {
	Private ed25519.PrivateKey
	From    string
	Made    bool // just now: there was none
}

// Public is the half that may be shown.
func (k SigningKey) Public() ed25519.PublicKey {
	return ed25519.PublicKey(k.Private[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
}

// KeyPath is where this host keeps the key of a pool, and PublicKeyPath its public half.
func (h Host) KeyPath(id uuid.UUID) string { return filepath.Join(h.Conf, "keys", id.String()+".key") }

// PublicKeyPath is where the public half of a pool's key lies.
func (h Host) PublicKeyPath(id uuid.UUID) string {
	return filepath.Join(h.Conf, "keys", id.String()+".pub")
}

// OldPublicKeyPaths are the public halves of keys that were missing and replaced, the oldest first: UUID.pub.1, and so on.
func (h Host) OldPublicKeyPaths(id uuid.UUID) (old []string) {
	for n := 1; ; n++ {
		path := fmt.Sprintf("%s.%d", h.PublicKeyPath(id), n)
		if _, err := os.Lstat(path); err != nil {
			return old
		}
		old = append(old, path)
	}
}

// keepPublic moves the public half of a key that is missing to where it is kept: what it signed is verified by it.
func (h Host) keepPublic(id uuid.UUID) error {
	path := h.PublicKeyPath(id)
	err := os.Link(path, fmt.Sprintf("%s.%d", path, len(h.OldPublicKeyPaths(id))+1))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// PoolKey is the key that signs for a pool: that of file, if one is named, or the credential UUID.key or slatefs.key, or this host's own,
// which is made if there is none. have is the public half that the pool names; nil: none. ErrOtherKey: the key is another one; nothing is
// made in its place.
func (h Host) PoolKey(id uuid.UUID, file string, have ed25519.PublicKey) (k SigningKey, err error) {
	from := []string{file}
	if file == "" {
		from = []string{h.KeyPath(id)}
		if h.Credentials != "" {
			from = []string{filepath.Join(h.Credentials, id.String()+".key"), filepath.Join(h.Credentials, "slatefs.key"), from[0]}
		}
	}
	for _, k.From = range from {
		if k.Private, err = readKey(k.From, id); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, os.ErrNotExist) && file == "" {
		return h.MakeKey(id)
	}
	if err == nil && have != nil && !k.Public().Equal(have) {
		err = show.Hinted(fmt.Errorf("%s: the pool names the public half %x, this one has %x: %w", k.From, have, k.Public(), ErrOtherKey),
			"put the pool's key there; or, if it is lost, take that file away, and a new one is made")
	}
	return k, err
}

// keyWords stand before a key in its file, with the pool's UUID.
const keyWords = "slatefs pool "

// readKey reads a private key that nobody else can have written or read. One whose file says that it is another pool's is ErrOtherKey.
func readKey(path string, id uuid.UUID) (ed25519.PrivateKey, error) {
	b, err := readOwn(path)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err != nil {
		return nil, err
	} else if st.Mode().Perm()&0o077 != 0 {
		return nil, show.Hinted(fmt.Errorf("%s: has mode %04o: others may read it: %w", path, st.Mode().Perm(), ErrUnsafe), "chmod 600 %s", path)
	}
	if words, ok := strings.CutPrefix(string(b), keyWords); ok {
		whose, _, _ := strings.Cut(words, "\n")
		if whose != id.String() {
			return nil, fmt.Errorf("%s: is of pool %.36s: %w", path, whose, ErrOtherKey)
		}
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: %w", path, ErrNoKey)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrNoKey, err)
	}
	key, ok := any.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, ErrNoKey)
	}
	return key, nil
}

// MakeKey makes the key of a pool, durably, both halves as files of PEM. One that is there is an error.
func (h Host) MakeKey(id uuid.UUID) (k SigningKey, err error) {
	k.From, k.Made = h.KeyPath(id), true
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return k, err
	}
	k.Private = private
	if _, err := os.Lstat(k.From); err == nil {
		return k, fmt.Errorf("%s: %w", k.From, os.ErrExist)
	}
	if err := os.MkdirAll(filepath.Dir(k.From), 0o755); err != nil {
		return k, err
	}
	if err := ownAlone(filepath.Dir(k.From), os.Stat); err != nil {
		return k, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return k, err
	}
	if err := h.keepPublic(id); err != nil {
		return k, err
	}
	if err := WriteWhole(h.PublicKeyPath(id), PublicKeyPEM(id, public), 0o644); err != nil {
		return k, err
	}
	text := append([]byte(keyWords+id.String()+"\n"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	return k, WriteWhole(k.From, text, 0o600)
}

// DropKey removes the private half of a key that a pool has no need of any more. The public half stays: certificates are verified by it.
func (h Host) DropKey(id uuid.UUID) error {
	err := RemoveIfThere(h.KeyPath(id))
	if err == nil {
		err = SyncDir(filepath.Dir(h.KeyPath(id)))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// PublicKeyPEM is a public key as others read it, with the pool before it.
func PublicKeyPEM(id uuid.UUID, key ed25519.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err) // an Ed25519 key is one of those that it takes
	}
	return append([]byte(keyWords+id.String()+"\n"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
}

// maxPublicKeys bounds a file of public keys, in bytes.
const maxPublicKeys = 64 << 10

// ReadPublicKeys reads the public keys of a file: PEM, or one key as 64 hexadecimal digits or in base64. There is one at least.
func ReadPublicKeys(path string) (keys []ed25519.PublicKey, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, maxPublicKeys))
	if err != nil {
		return nil, err
	}
	keys = publicKeysIn(b)
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNoKey)
	}
	return keys, nil
}

func publicKeysIn(b []byte) (keys []ed25519.PublicKey) {
	text := strings.TrimSpace(string(b))
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if raw, err := decode(text); err == nil && len(raw) == ed25519.PublicKeySize {
			return []ed25519.PublicKey{raw}
		}
	}
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return keys
		}
		if any, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			if key, ok := any.(ed25519.PublicKey); ok {
				keys = append(keys, key)
			}
		}
	}
}
