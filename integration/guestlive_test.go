package integration

import (
	"strings"
	"testing"
)

// TestGuestOutlives has a guest write, sync and read back, on disks that are volumes of a mount of this host, whose daemon is
// killed and upgraded again and again. The guest sees no error, fsck finds nothing, and nothing is lost.
func TestGuestOutlives(t *testing.T) {
	needs(t, "mkfs.ext4")
	eachTransport(t, func(t *testing.T, tr string) {
		t.Parallel() // a guest keeps little more than one processor busy
		p := newReplaced(t, tr)
		o := newProber(t, p.pool)
		p.slatefs("create", "--size", "256M", p.at("files"))
		p.slatefs("create", "--size", "64M", p.at("blocks"))
		p.tool("mkfs.ext4", "-q", p.at("files"))
		g := p.newGuest(insideLimit, "/inside.test -test.v -test.timeout 50m -test.run '"+insideHosted+"'",
			disk{path: p.at("files"), aio: "native"}, disk{path: p.at("blocks"), aio: "io_uring"})
		g.until("writing")
		g.send("stall")
		g.until("stalled: ")
		o.stall("")
		p.replace(rounds(t), func(what string) {
			g.send("stall")
			t.Logf("%s: in the guest a write and what goes with it took at most: %s; a read of the host %v",
				what, g.until("stalled: "), o.stall(what))
		})
		g.send("end")
		t.Logf("written and verified: %s", g.until("written: "))
		if code := g.wait(); code != 0 {
			t.Errorf("exit %d\n%s", code, g.log())
		}
		if kernel := string(read(t, g.console)); strings.Contains(kernel, "I/O error") {
			t.Error(kernel)
		}
		o.end()
		p.tool("e2fsck", "-fn", p.at("files"))
	})
}
