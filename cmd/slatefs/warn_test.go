package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/host"
)

// One bad entry of the registry keeps nobody from another pool. It is named, once.
func TestRegistryPassesOverWhatItCannotRead(t *testing.T) {
	h := testHost(t)
	if err := h.Register(host.Known{UUID: uuid.UUID{1}, Name: "lab", Device: "/x"}); err != nil {
		t.Fatal(err)
	}
	at := func(id uuid.UUID) string { return filepath.Join(h.PoolDir(), id.String()) }
	for id, text := range map[uuid.UUID]string{{2}: "", {3}: "\x00\x00\x00", {4}: "{}", {5}: `{"uuid":"`} {
		if err := os.WriteFile(at(id), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at(uuid.UUID{6}), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(at(uuid.UUID{7}), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	a := &app{stderr: &said, host: h}
	a.host.OnWarning = a.warnOnce
	for range 2 {
		if k, err := a.host.Named("lab"); err != nil || k.Device != "/x" {
			t.Fatalf("lab is %+v, %v", k, err)
		}
	}
	for id := byte(2); id <= 7; id++ {
		if n := strings.Count(said.String(), at(uuid.UUID{id})); n != 1 {
			t.Errorf("%v is named %d times:\n%s", uuid.UUID{id}, n, said.String())
		}
	}
}
