package host

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestRegistry(t *testing.T) {
	h := hostIn(t)
	if l, unread := h.Pools(); len(unread)+len(l) != 0 {
		t.Fatalf("empty registry: %v, %v", l, unread)
	}
	a, b := Known{UUID: uuid.UUID{1}, Name: "b", Device: "/x"}, Known{UUID: uuid.UUID{2}, Name: "a", Device: "/y"}
	for _, k := range []Known{a, b, {UUID: uuid.UUID{1}, Name: "b", Device: "/z"}} {
		if err := h.Register(k); err != nil {
			t.Fatal(err)
		}
	}
	if l, unread := h.Pools(); unread != nil || len(l) != 2 || l[0].Name != "a" || l[1].Device != "/z" {
		t.Errorf("pools: %+v, %v", l, unread)
	}
	if k, err := h.Named("a"); err != nil || k != b {
		t.Errorf("a is %+v, %v", k, err)
	}
	if _, err := h.Named("c"); !errors.Is(err, ErrUnknown) {
		t.Errorf("c: %v", err)
	}
	if err := h.Register(Known{UUID: uuid.UUID{3}, Name: "a", Device: "/w"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Named("a"); err == nil || !strings.Contains(err.Error(), "2 pools") {
		t.Errorf("a twice: %v", err)
	}
	for range 2 {
		if err := h.Forget(uuid.UUID{3}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Named("a"); err != nil {
		t.Error(err)
	}
}
