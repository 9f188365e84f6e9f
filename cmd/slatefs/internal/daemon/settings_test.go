package daemon

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
)

// What is set is there when it is read again, whatever bytes it has.
func TestSettingsAreKept(t *testing.T) {
	b := newBench(t)
	b.set("on_low_space=a\tb\\c\nd=\xe9", "erase_log_export=/x/../y", "on_event= /bin/tell  a\tb ")
	if got := hostWord(b.s.Own, control.PropOnEvent); got != "/bin/tell a b" {
		t.Errorf("on_event is %q", got)
	}
	again, err := ReadSettings(b.host, uuid.UUID{9})
	if err != nil || hostWord(again, control.PropOnLowSpace) != "a\tb\\c\nd=\xe9" || hostWord(again, chain.PropLogExport) != "/y" {
		t.Errorf("read again: %v", err)
	}
	if names, err := b.pool.Stray(); err != nil || len(names) != 0 {
		t.Errorf("the pool has %q, %v", names, err)
	}
}

// What the host takes of a property is a property of the host's, and a value of it.
func TestHostValue(t *testing.T) {
	for name, values := range map[string][]string{
		"on_low_space": {strings.Repeat("x", maxSetting+1), "a\x00b"}, "erase_log_export": {"x"}, "on_event": {"", " ", "logger", "./x"},
		"low_space": {"1%"}, "x": {"y"},
	} {
		for _, val := range values {
			if got, err := hostValue(name, val); !errors.Is(err, control.ErrInvalid) {
				t.Errorf("%s=%.20q is %.20q, %v", name, val, got, err)
			}
		}
	}
	if got, err := hostValue("erase_log_export", "/x/../y"); err != nil || got != "/y" {
		t.Errorf("a path is %q, %v", got, err)
	}
}
