package chain

import (
	"testing"
)

// Zeros written over a hole allocate nothing, over an owned block they are written, over a shared one they unmap; block
// by block. o owned, s shared, - hole; want: what is mapped afterwards, by whom.
func TestWritingZeros(t *testing.T) {
	for _, c := range []struct {
		name, have string
		off, n     int64 // bytes
		want       string
	}{
		{"a hole", "---", 4096, 4096, "---"},
		{"holes", "-----", 0, 5 * 4096, "-----"},
		{"part of a hole", "-", 100, 200, "o"}, // whole blocks only
		{"owned", "ooo", 4096, 4096, "ooo"},
		{"shared", "sss", 4096, 4096, "s-s"},
		{"all shared", "sss", 0, 3 * 4096, "---"},
		{"owned and hole", "o-o-", 0, 4 * 4096, "o-o-"},
		{"shared and hole", "s-s-", 0, 4 * 4096, "----"},
		{"owned and shared", "osos", 0, 4 * 4096, "o-o-"},
		{"all kinds", "-os-os-", 0, 7 * 4096, "-o--o--"},
		{"past the end", "o", 8192, 8192, "o---"},
		{"over the end", "os", 0, 4 * 4096, "o---"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openPool(t, newDisk(t, 2<<20))
			v := mustVolume(t, p, "v", int64(len(c.have))*BlockSize)
			for i, k := range c.have {
				if k == 's' {
					blocksAt(t, v, 'x', int64(i), 1)
				}
			}
			mustSnapshot(t, v, "s")
			for i, k := range c.have {
				if k == 'o' {
					blocksAt(t, v, 'x', int64(i), 1)
				}
			}
			write(t, v, make([]byte, c.n), c.off)
			got := ""
			h := v.head()
			for lb := range blocksOf(h.size) {
				q, _ := h.top.Lookup(p.blocks.maps, lb, 1)
				switch {
				case q.Dev == 0:
					got += "-"
				case q.Birth > h.floor():
					got += "o"
				default:
					got += "s"
				}
			}
			if got != c.want {
				t.Errorf("mapped %s, want %s", got, c.want)
			}
			expect(t, v, c.off, make([]byte, c.n))
			if v.Size() != max(int64(len(c.have))*BlockSize, c.off+c.n) {
				t.Errorf("size %d", v.Size())
			}
			for i, k := range c.have {
				if lo := int64(i) * BlockSize; k != '-' && (lo < c.off || lo+BlockSize > c.off+c.n) {
					n := min(BlockSize, max(0, c.off-lo))
					expect(t, v, lo, fill('x', int(n)))
				}
			}
			p = again(t, p, true)
			v, _ = p.Volume(v.ino)
			expect(t, v, c.off, make([]byte, c.n))
			mustCheck(t, p)
		})
	}
}

func TestWritingZerosRefused(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	v := mustVolume(t, p, "v", 0)
	_, err := v.WriteAt(make([]byte, 8192), MaxSize-4096)
	wantErr(t, "past the largest size", err, ErrTooBig)
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	_, err = v.WriteAt(make([]byte, 8192), 0)
	wantErr(t, "to a destroyed volume", err, ErrNotFound)
}
