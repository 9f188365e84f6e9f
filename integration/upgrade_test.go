package integration

import (
	"strings"
	"testing"
)

// TestUpgradeRefused: a program that can't go on leaves the old one serving, whether it says so or dies of it, and who has a file
// open notices nothing.
func TestUpgradeRefused(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := newReplaced(t, tr)
		o := newProber(t, p.pool)
		for why, script := range map[string]string{
			"can't go on, and the daemon stays as it is": "exit 3",
			"does not come to serve it":                  `[ "$1" = __probe ] && { echo 9.3; exit; }; exit 3`,
		} {
			install(t, p.here, []byte("#!/bin/sh\n"+script+"\n"))
			if r := p.try("reload", p.name); r.code != 1 || !strings.Contains(r.stderr, why) {
				t.Errorf("%s: %v", why, r)
			}
			t.Logf("%s: a read took %v at most", why, o.stall("refusal"))
		}
		install(t, p.here, read(t, p.both[0]))
		o.end()
	})
}
