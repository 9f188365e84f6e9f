package daemon

import (
	"errors"
	"testing"

	"slatefs/cmd/slatefs/internal/control"
)

// An audit tells how far it is, never backwards, and at last that all is read; it is over when nobody hears it.
func TestAuditTells(t *testing.T) {
	b := newBench(t)
	b.volume("a", 1<<20, 64)
	var told []control.Progress
	r, err := b.s.audit(t.Context(), control.Peer{}, control.None{}, func(p control.Progress) error {
		told = append(told, p)
		return nil
	})
	if err != nil || len(r.Found)+len(r.Unread) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(told) == 0 {
		t.Fatal("nothing is told")
	}
	for i, p := range told[1:] {
		if p.Done < told[i].Done {
			t.Errorf("%+v after %+v", p, told[i])
		}
	}
	if p := told[len(told)-1]; p.Done != p.Total || p.Total == 0 {
		t.Errorf("at last %+v", p)
	}
	deaf := errors.New("deaf")
	if _, err := b.s.audit(t.Context(), control.Peer{}, control.None{}, func(control.Progress) error { return deaf }); err == nil {
		t.Error("goes on for nobody")
	}
	if _, err := b.s.audit(t.Context(), control.Peer{}, control.None{}, func(control.Progress) error { return nil }); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
