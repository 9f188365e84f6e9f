package fs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// notPosix names the tests of what slatefs refuses, hard links and files without a name, and one that wants fcntl locks to
// exclude their own process: the kernel's, which are the locks here, don't.
var notPosix = map[string]bool{"Link": true, "LinkUnlinkRename": true, "Tmpfile": true, "FcntlFlockLocksFile": true}

func TestPosix(t *testing.T) {
	for name, test := range posixtest.All {
		if notPosix[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			onTransports(t, func(t *testing.T, v variant) {
				if v.loop && !v.file {
					return // what the queue does to bytes is no matter of posixtest
				}
				s, _, _ := mountPool(t, v)
				test(t, s.Dir())
			})
		})
	}
}
