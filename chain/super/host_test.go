package super

import (
	"errors"
	"testing"
)

func TestMayHold(t *testing.T) {
	free, held := Block{Name: "lab"}, Block{Name: "lab", Host: Host{Machine: [16]byte{1}, Name: "one"}}
	for _, c := range []struct {
		block   Block
		machine byte
		ok      bool
	}{{free, 0, true}, {free, 1, true}, {held, 1, true}, {held, 2, false}, {held, 0, false}} {
		if err := c.block.MayHold([16]byte{c.machine}); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrHeld) {
			t.Errorf("machine %d, held by %v: %v", c.machine, c.block.Host, err)
		}
	}
}
