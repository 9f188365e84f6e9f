package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/host"
)

// A daemon that does not answer hides no other pool.
func TestMuteDaemon(t *testing.T) {
	l := newLab(t)
	lock, err := l.app.host.LockPool(uuid.UUID{7})
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Publish(host.Live{UUID: uuid.UUID{7}, Name: "mute", Dir: "/mute", Device: "/nowhere/mute", Socket: "/nowhere/s", PID: 7}); err != nil {
		t.Fatal(err)
	}
	if out := l.ok("pool list -H"); !strings.Contains(out, "\nmute\t-\t-\t-\t-\t-\tno-answer\t/mute\t") || !strings.Contains(out, "\tonline\t/lab\t") {
		t.Error(out)
	}
	if out := l.ok("pool status -x"); !strings.Contains(out, "state: no-answer\n") || !strings.Contains(out, "trouble: pool mute: control socket /nowhere/s: nobody listens there") {
		t.Error(out)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// A device that answers nothing hides no pool either.
func TestMuteDevice(t *testing.T) {
	gone := make(chan struct{})
	defer close(gone)
	_, err := within("/dev/mute", time.Millisecond, func(string) (chain.Identity, error) {
		<-gone
		return chain.Identity{}, nil
	})
	if !errors.Is(err, errSilent) || err.Error() != "/dev/mute: does not answer" {
		t.Errorf("%v", err)
	}
}
