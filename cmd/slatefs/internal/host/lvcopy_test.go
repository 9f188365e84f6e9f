package host

import (
	"testing"

	"github.com/google/uuid"

	"slatefs/chain/lvm"
)

// A clone of a volume group has the tags of its pools, too: it is not taken for the one that is known.
func TestCopiesOnLVs(t *testing.T) {
	lv := func(vg string, id byte) LVPool {
		n := lvm.Name{VG: vg, LV: "lab"}
		return LVPool{Known: Known{UUID: uuid.UUID{id}, Name: "lab", Device: n.Path()}, LV: n}
	}
	clone, orig, other := lv("vg1", 1), lv("vg0", 1), lv("vg2", 2)
	all := []LVPool{clone, orig, other}
	for _, c := range []struct {
		pools  []LVPool
		id     byte
		device string
		want   string
	}{
		{all, 1, "/dev/vg0/lab", "vg0/lab"},
		{all, 1, "/dev/mapper/vg1-lab", ""}, // not active: nobody knows what that was
		{all, 1, "/dev/vg9/lab", ""},
		{all, 2, "/dev/vg9/lab", "vg2/lab"},
		{all, 0, "/dev/vg0/lab", ""},
	} {
		p, ok := LVByUUID(c.pools, uuid.UUID{c.id}, c.device)
		if ok != (c.want != "") || ok && p.LV.String() != c.want {
			t.Errorf("pool %d on %s is %v, %v, want %q", c.id, c.device, p.LV, ok, c.want)
		}
	}
	f := &Finder{
		LVs: func() ([]LVPool, error) { return all, nil },
		byName: func(string) (Known, error) {
			return Known{UUID: uuid.UUID{1}, Name: "lab", Device: "/dev/vg9/lab"}, nil
		},
	}
	if ref, err := f.named("lab"); err == nil {
		t.Errorf("one of two copies was taken: %+v", ref)
	}
	f.byName = func(string) (Known, error) {
		return Known{UUID: uuid.UUID{1}, Name: "lab", Device: "/dev/vg0/lab"}, nil
	}
	if ref, err := f.named("lab"); err != nil || ref.Device != "/dev/vg0/lab" {
		t.Errorf("%+v, %v", ref, err)
	}
}
