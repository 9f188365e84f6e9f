package host

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/google/uuid"

	"slatefs/chain/lvm"
)

func TestTags(t *testing.T) {
	id := uuid.UUID{7}
	name := lvm.Name{VG: "vg0", LV: "lab"}
	for _, c := range []struct {
		tags   []string
		ok     bool
		pool   string
		intent string
	}{
		{[]string{TagPool, TagUUID + id.String(), TagName + "lab", "theirs"}, true, "lab", ""},
		{[]string{TagPool, TagUUID + id.String(), TagName + "lab", TagMade, TagEnding + "00"}, true, "lab", TagEnding + "00"},
		{[]string{TagUUID + id.String(), TagName + "lab"}, false, "", ""}, // not slatefs's
		{[]string{TagPool, TagUUID + "7"}, false, "", ""},
		{nil, false, "", ""},
	} {
		v := lvm.Volume{Name: name, Tags: c.tags}
		p, ok := lvPoolOf(v, lvm.Group{Free: 5})
		if ok != c.ok || ok && (p.UUID != id || p.Name != c.pool || p.Intent != c.intent || p.Device != "/dev/vg0/lab" || p.Free != 5) {
			t.Errorf("%q is %+v, %v", c.tags, p, ok)
		}
		if own := OwnTags(v); slices.Contains(own, "theirs") || len(own) < len(c.tags)-1 {
			t.Errorf("of %q our own are %q", c.tags, own)
		}
	}
}

// A volume is unfinished when this host began something with it, and nobody is at it.
func TestUnfinished(t *testing.T) {
	h := hostIn(t)
	me, err := h.MachineID()
	if err != nil {
		t.Fatal(err)
	}
	other := me
	other[0]++
	lock, err := h.LockPool(uuid.UUID{2})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pool   byte
		intent string
		want   bool
	}{
		{1, TagMaking + hex.EncodeToString(me[:]), true},
		{2, TagMaking + hex.EncodeToString(me[:]), false}, // a process has its lock
		{1, TagEnding + hex.EncodeToString(other[:]), false},
		{1, "", false},
	} {
		if got := h.unfinished(LVPool{Known: Known{UUID: uuid.UUID{c.pool}}, Intent: c.intent}); got != c.want {
			t.Errorf("pool %d, %q: %v", c.pool, c.intent, got)
		}
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}
