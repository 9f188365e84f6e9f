//go:build race

package chain

import (
	"testing"

	"slatefs/chain/ledger"
)

// Under the race detector an account that changes beside the records breaks the process.
func TestAccountsAreSealed(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v := mustVolume(t, p, "v", 1<<20)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	p.space.ledger.Set(v.account, ledger.Props{Quota: 1})
}
