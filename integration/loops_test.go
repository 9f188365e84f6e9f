package integration

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// otherLoops is a program that takes the option loops=1 for another number.
func otherLoops(program string, n int) []byte {
	return fmt.Appendf(nil, `#!/bin/sh
for a; do shift; case $a in *loops=1*) a=${a%%%%loops=1*}loops=%d${a#*loops=1};; esac; set -- "$@" "$a"; done
exec %s "$@"
`, n, program)
}

// TestOtherLoops: a successor serves by more event loops than the one that was killed, or by fewer, and all that was on its way by any
// of them is done. The kernel fails what was read from a /dev/fuse that nobody has any more.
func TestOtherLoops(t *testing.T) {
	needs(t, "fio")
	if !slices.Contains(transports, "loop") {
		t.Skip("there is no loop here")
	}
	r := newReplaced(t, "transport=loop,loops=1")
	end := fioUser(t, r.pool)
	o := newProber(t, r.pool)
	served := func(n int) {
		t.Helper()
		want := "loop takeover:"
		if n > 1 {
			want = fmt.Sprintf("loop, on %d threads takeover:", n)
		}
		words := strings.Join(strings.Fields(r.slatefs("pool", "status", r.name)), " ")
		if !strings.Contains(words, "transport: "+want) {
			t.Errorf("want %q: %q", want, words)
		}
	}
	served(1)
	for _, n := range []int{2, 1, 3, 2} {
		install(t, r.here, otherLoops(r.both[0], n))
		time.Sleep(300 * time.Millisecond) // fio has 32 requests in the kernel
		r.kill()
		served(n)
		o.stall("kill")
		r.ok(r.exec(r.here, "reload", r.name)) // as it is
		served(n)
		o.stall("reload")
		if t.Failed() {
			return
		}
	}
	o.end()
	end()
	if log, err := os.ReadFile(r.info().Info.Daemon.Log); err != nil || bytes.Contains(log, []byte("fewer event loops")) {
		t.Errorf("%v: %s", err, log)
	}
	r.umount()
	r.check()
}
