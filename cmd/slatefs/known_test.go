package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"slatefs/cmd/slatefs/internal/host"
)

func TestRegistry(t *testing.T) {
	h := testHost(t)
	app := &app{stderr: io.Discard, host: h}
	if l, unread := h.Pools(); len(unread)+len(l) != 0 {
		t.Fatalf("empty registry: %v, %v", l, unread)
	}
	a, b := host.Known{UUID: uuid.UUID{1}, Name: "b", Device: "/x"}, host.Known{UUID: uuid.UUID{2}, Name: "a", Device: "/y"}
	for _, k := range []host.Known{a, b, {UUID: uuid.UUID{1}, Name: "b", Device: "/z"}} {
		if err := h.Register(k); err != nil {
			t.Fatal(err)
		}
	}
	if l, unread := h.Pools(); unread != nil || len(l) != 2 || l[0].Name != "a" || l[1].Device != "/z" {
		t.Errorf("pools: %+v, %v", l, unread)
	}
	if k, err := app.named("a"); err != nil || k != b {
		t.Errorf("a is %+v, %v", k, err)
	}
	if _, err := app.named("c"); !errors.Is(err, errUnknownPool) {
		t.Errorf("c: %v", err)
	}
	if err := h.Register(host.Known{UUID: uuid.UUID{3}, Name: "a", Device: "/w"}); err != nil {
		t.Fatal(err)
	}
	if _, err := app.named("a"); err == nil || !strings.Contains(err.Error(), "2 pools") {
		t.Errorf("a twice: %v", err)
	}
	for range 2 {
		if err := h.Forget(uuid.UUID{3}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := app.named("a"); err != nil {
		t.Error(err)
	}
}

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
	for range 2 {
		if k, err := a.named("lab"); err != nil || k.Device != "/x" {
			t.Fatalf("lab is %+v, %v", k, err)
		}
	}
	for id := byte(2); id <= 7; id++ {
		if n := strings.Count(said.String(), at(uuid.UUID{id})); n != 1 {
			t.Errorf("%v is named %d times:\n%s", uuid.UUID{id}, n, said.String())
		}
	}
}
