package integration

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReloadWhileUnmounting: a mount that waits for its last close goes on as no other program. That is said at once, with whom it
// waits for, and it ends as it was asked to.
func TestReloadWhileUnmounting(t *testing.T) {
	eachTransport(t, func(t *testing.T, tr string) {
		p := newLab(t).newPool("lab", "256M", tr)
		p.mount()
		p.slatefs("create", "--size", "1M", p.at("a"))
		f, err := os.OpenFile(p.at("a"), os.O_RDWR, 0)
		must(t, err)
		daemon, err := unix.PidfdOpen(p.pid(), 0)
		must(t, err)
		defer unix.Close(daemon)
		ended := make(chan result, 1)
		go func() { ended <- p.try("umount", "--wait", p.mnt) }()
		eventually(t, "refused opens", patience, func() bool {
			g, err := os.Open(p.at("a"))
			if err == nil {
				must(t, g.Close())
			}
			return errors.Is(err, unix.EBUSY)
		})
		p.refuses(1, []string{"is being unmounted, and waits for the last close of 1 files", "writing)", "no reload", "hint: "}, "reload", p.name)
		_, err = f.WriteAt([]byte("on"), 0)
		must(t, err)
		must(t, f.Close())
		p.waitEnd(daemon)
		p.ok(<-ended)
	})
}
