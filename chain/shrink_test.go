package chain

import (
	"bytes"
	"testing"
)

// A shrink frees what fallocate had mapped past the end, and the record of it is one that replay takes.
func TestShrinkFreesWhatIsMappedPastTheEnd(t *testing.T) {
	d := newDisk(t, 4<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 64<<10)
	write(t, v, bytes.Repeat([]byte{1}, 64<<10), 0)
	if err := v.Allocate(64<<10, 256<<10, true); err != nil {
		t.Fatal(err)
	}
	if err := v.Truncate(32 << 10); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
	q := openPool(t, d.Clone())
	i, err := q.VolumeInfo(v.ino)
	if err != nil || i.Size != 32<<10 || i.Refer != 32<<10 {
		t.Errorf("%+v, %v", i, err)
	}
}
