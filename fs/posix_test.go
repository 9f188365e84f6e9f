package fs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// notPosix names the tests of what slatefs does not do: hard links and files without a name are refused, attributes have
// 4 KiB at most (XAttrLarge wants 8), and the locks are the kernel's, which do not exclude their own process
// (FcntlFlockLocksFile).
var notPosix = map[string]bool{
	"Link": true, "LinkUnlinkRename": true, "Tmpfile": true, "FcntlFlockLocksFile": true,
	"XAttrLarge": true,
}

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
