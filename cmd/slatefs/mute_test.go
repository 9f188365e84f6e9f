package main

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/host"
)

// A daemon that does not answer hides no other pool.
func TestMuteDaemon(t *testing.T) {
	l := newLab(t)
	lock, err := l.app.host.LockPool(uuid.UUID{7})
	if err != nil {
		t.Fatal(err)
	}
	mute := host.Live{UUID: uuid.UUID{7}, Name: "mute", Dir: "/mute", Device: "/nowhere/mute", Socket: "/nowhere/s", PID: 7}
	if err := lock.Publish(mute); err != nil {
		t.Fatal(err)
	}
	out := l.ok("pool list -H")
	if !strings.Contains(out, "\nmute\t-\t-\t-\t-\t-\tno-answer\t/mute\t") || !strings.Contains(out, "\tonline\t/lab\t") {
		t.Error(out)
	}
	const trouble = "trouble: pool mute: control socket /nowhere/s: nobody listens there"
	if out := l.troubled("pool status -x"); !strings.Contains(out, "state: no-answer\n") || !strings.Contains(out, trouble) {
		t.Error(out)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}
