package integration

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"

	"slatefs/chain/blockdev"
)

// verify compares all that lives with the model, and the device with all that lives.
func (r *residue) verify(when string) {
	r.t.Helper()
	alive := map[stamp]bool{}
	for name, want := range r.live {
		vol, snap, isSnap := strings.Cut(name, "@")
		path := r.at(vol)
		if isSnap {
			path = r.snap(vol, snap)
		}
		got := read(r.t, path)
		if len(got) != residueSectors*sector {
			r.t.Fatalf("%s: %s has %d bytes", when, name, len(got))
		}
		for i, w := range want {
			st, err := readStamp(got[i*sector : (i+1)*sector])
			if err != nil || st.write != w || w > 0 && st.where != place(r.of[vol], int64(i)) {
				r.t.Fatalf("%s: %s: sector %d holds %+v, want write %d (%v)", when, name, i, st, w, err)
			}
			if w > 0 {
				alive[st] = true
			}
		}
	}
	r.keptStamps(alive)
	found, left := r.scan(alive)
	r.t.Logf("%s: %d volumes, %d snapshots: %d live stamps, %d on the device, of other writes: %d", when, len(r.volumes()), len(r.snapshots()), len(alive), found, left)
	if left > 0 {
		r.t.Errorf("%s: %d sectors of what is gone are on the device\n%s%s", when, left, r.slatefs("erase", "status", r.mnt), r.slatefs("tree", r.mnt))
	}
}

// scan reads the file below the pool and counts stamps that live, and others.
func (r *residue) scan(alive map[stamp]bool) (found, left int) {
	r.tool("sync", "-f", r.below)
	f, err := os.Open(r.below)
	must(r.t, err)
	defer f.Close()
	const step = 8 << 20
	buf := blockdev.Aligned(step + sector)
	for off := int64(0); ; off += step {
		n, err := f.ReadAt(buf, off) // one sector more than the step: stamps may lie across
		if n == 0 {
			return found, left
		}
		if err != nil && err != io.EOF {
			r.t.Fatal(err)
		}
		for i := 0; i < min(n, step); {
			k := bytes.Index(buf[i:n], stampMagic)
			if k < 0 || i+k+stampSize > n {
				break
			}
			i += k
			st := stamp{binary.LittleEndian.Uint64(buf[i+8:]), binary.LittleEndian.Uint64(buf[i+16:])}
			if found++; !alive[st] {
				if left++; left <= 5 {
					r.t.Logf("residue at byte %d: write %d of sector %d of volume %d", off+int64(i), st.write, st.where&(1<<48-1), st.where>>48)
				}
			}
			i += stampSize
			if next := (i + sector - 1) &^ (sector - 1); alive[st] {
				i = min(next, n)
			}
		}
	}
}
