package main

import (
	"testing"

	"github.com/google/uuid"

	"slatefs/chain/lvm"
	"slatefs/cmd/slatefs/internal/host"
)

// A copy on another volume is listed as what it is.
func TestCopiesOnLVsAreListed(t *testing.T) {
	lv := func(vg string, id byte) host.LVPool {
		n := lvm.Name{VG: vg, LV: "lab"}
		return host.LVPool{Known: host.Known{UUID: uuid.UUID{id}, Name: "lab", Device: n.Path()}, LV: n}
	}
	clone, orig, other := lv("vg1", 1), lv("vg0", 1), lv("vg2", 2)
	all := []host.LVPool{clone, orig, other}
	states := withLVs([]poolState{{Name: "lab", UUID: uuid.UUID{1}, State: stateOnline, Device: "/dev/vg0/lab"}}, all)
	if len(states) != 3 || states[0].VG.Name != "vg0" || states[1].Device != "/dev/vg1/lab" ||
		states[1].State != stateCopy || states[2].State != stateUnmounted {
		t.Errorf("listed: %+v", states)
	}
}
