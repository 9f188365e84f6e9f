package host

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// A key is made once, is found again, and is not replaced by another one in silence.
func TestPoolKey(t *testing.T) {
	h := Host{Conf: filepath.Join(t.TempDir(), "conf")}
	a, b := uuid.UUID{1}, uuid.UUID{2}
	k, err := h.PoolKey(a, "", nil)
	if err != nil || !k.Made {
		t.Fatalf("%+v, %v", k, err)
	}
	again, err := h.PoolKey(a, "", k.Public())
	if err != nil || again.Made || !again.Private.Equal(k.Private) {
		t.Errorf("%+v, %v", again, err)
	}
	if st, err := os.Stat(h.KeyPath(a)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if _, err := h.MakeKey(a); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second key is made: %v", err)
	}
	otherKey, err := h.MakeKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.PoolKey(a, "", otherKey.Public()); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another one than the pool names: %v", err)
	}
	if _, err := h.PoolKey(a, h.KeyPath(b), nil); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another pool's key, and the pool names none: %v", err)
	}
	if _, err := h.PoolKey(a, filepath.Join(h.Conf, "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a named key that is missing: %v", err)
	}
	if err := h.DropKey(a); err != nil {
		t.Error(err)
	}
	if lost, err := h.PoolKey(a, "", k.Public()); err != nil || !lost.Made || lost.Private.Equal(k.Private) {
		t.Errorf("a lost key: %+v, %v", lost, err)
	}
	old := h.OldPublicKeyPaths(a)
	if len(old) != 1 {
		t.Fatalf("kept %v", old)
	}
	if keys, err := ReadPublicKeys(old[0]); err != nil || len(keys) != 1 || !keys[0].Equal(k.Public()) {
		t.Errorf("the public half of a lost key: %v, %v", keys, err)
	}
	if err := (Host{Conf: filepath.Join(h.Conf, "nowhere")}).DropKey(a); err != nil {
		t.Errorf("no key to drop: %v", err)
	}
}

// A service's credential goes before the host's own key.
func TestCredential(t *testing.T) {
	h := Host{Conf: filepath.Join(t.TempDir(), "conf"), Credentials: t.TempDir()}
	id := uuid.UUID{1}
	k, err := h.MakeKey(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"slatefs.key", id.String() + ".key"} {
		given, err := (Host{Conf: t.TempDir()}).MakeKey(id)
		if err == nil {
			err = os.Rename(given.From, filepath.Join(h.Credentials, name))
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := h.PoolKey(id, "", nil)
		if err != nil || !got.Private.Equal(given.Private) || got.Private.Equal(k.Private) || got.From != filepath.Join(h.Credentials, name) {
			t.Errorf("%s: %s, %v", name, got.From, err)
		}
	}
}

// A key that others could have read or written signs nothing.
func TestUnsafeKeys(t *testing.T) {
	h := Host{Conf: filepath.Join(t.TempDir(), "conf")}
	id := uuid.UUID{1}
	if _, err := h.MakeKey(id); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		do   func() error
		want error
	}{
		"readable":       {func() error { return os.Chmod(h.KeyPath(id), 0o640) }, ErrUnsafe},
		"a writable dir": {func() error { return os.Chmod(filepath.Dir(h.KeyPath(id)), 0o777) }, ErrUnsafe},
		"words":          {func() error { return os.WriteFile(h.KeyPath(id), []byte("hello"), 0o600) }, ErrNoKey},
		"not PKCS8": {func() error {
			return os.WriteFile(h.KeyPath(id), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)
		}, ErrNoKey},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		if k, err := h.PoolKey(id, "", nil); !errors.Is(err, c.want) || k.Made {
			t.Errorf("%s: %v", name, err)
		}
		if err := errors.Join(os.Chmod(filepath.Dir(h.KeyPath(id)), 0o755), os.Chmod(h.KeyPath(id), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublicKeys(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pub")
	pem := PublicKeyPEM(uuid.UUID{1}, public)
	for want, b := range map[int][]byte{1: pem, 2: append(bytes.Clone(pem), pem...), 0: []byte("hello"), -1: []byte(hex.EncodeToString(public) + "\n")} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		keys, err := ReadPublicKeys(path)
		if want == 0 && !errors.Is(err, ErrNoKey) || want != 0 && (len(keys) != max(want, -want) || !keys[0].Equal(public)) {
			t.Errorf("%q: %v, %v", b, keys, err)
		}
	}
}

// Anchors are appended; half a line that a crash left is not built upon.
func TestAnchors(t *testing.T) {
	h := Host{State: t.TempDir()}
	id := uuid.UUID{1}
	if b, err := h.Anchors(id); err != nil || b != nil {
		t.Errorf("%q, %v", b, err)
	}
	for _, line := range []string{"one\n", "two\n"} {
		if err := h.AddAnchor(id, []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(h.AnchorPath(id), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString(strings.Repeat("x", 300))
	}
	if err = errors.Join(err, f.Close(), h.AddAnchor(id, []byte("three\n"))); err != nil {
		t.Fatal(err)
	}
	if b, err := h.Anchors(id); err != nil || string(b) != "one\ntwo\nthree\n" {
		t.Errorf("%q, %v", b, err)
	}
	if err := h.KeepEnd(id, []byte("{}")); err != nil {
		t.Error(err)
	}
}
