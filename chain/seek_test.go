package chain

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

// SEEK_DATA and SEEK_HOLE from every place that matters, on a head, on its snapshot, and after a restart.
func TestSeek(t *testing.T) {
	p := openPool(t, newDisk(t, 2<<20))
	v, _, _ := patchwork(t, p) // 0 1 - 3 4 - 6 of 6 blocks and 100 bytes; s: 0 1 - - 4 - 6
	const size = 6*BlockSize + 100
	type seeker interface {
		SeekData(int64) (int64, error)
		SeekHole(int64) (int64, error)
	}
	cases := []struct{ off, data, hole, snapData, snapHole int64 }{ // -1: ErrRange
		{-1, -1, -1, -1, -1},
		{0, 0, 8192, 0, 8192},
		{1, 1, 8192, 1, 8192},
		{4096, 4096, 8192, 4096, 8192},
		{8191, 8191, 8192, 8191, 8192},
		{8192, 12288, 8192, 16384, 8192},
		{10000, 12288, 10000, 16384, 10000},
		{12288, 12288, 20480, 16384, 12288},
		{16384, 16384, 20480, 16384, 20480},
		{20480, 24576, 20480, 24576, 20480},
		{24576, 24576, size, 24576, size},
		{size - 1, size - 1, size, size - 1, size},
		{size, -1, -1, -1, -1},
		{1 << 40, -1, -1, -1, -1},
	}
	one := func(what string, got int64, err error, want int64) {
		if want < 0 && !errors.Is(err, ErrRange) || want >= 0 && (err != nil || got != want) {
			t.Errorf("%s: %d, %v, want %d", what, got, err, want)
		}
	}
	for round := range 3 {
		for _, c := range cases {
			for i, s := range []seeker{v, snapOf(t, v, "s")} {
				data, hole := c.data, c.hole
				if i == 1 {
					data, hole = c.snapData, c.snapHole
				}
				got, err := s.SeekData(c.off)
				one(fmt.Sprintf("round %d, %d: data from %d", round, i, c.off), got, err, data)
				got, err = s.SeekHole(c.off)
				one(fmt.Sprintf("round %d, %d: hole from %d", round, i, c.off), got, err, hole)
			}
		}
		p = again(t, p, round == 0)
		v, _ = p.Volume(v.ino)
	}
	ok(t, v.Truncate(24576)) // a hole at the end
	got, err := v.SeekData(20480)
	one("data at the end", got, err, -1)
	ok(t, v.Truncate(1<<40))
	got, err = v.SeekHole(1 << 39)
	one("hole in a large volume", got, err, 1<<39)
	ok(t, p.Unlink(Req{}, RootIno, "v"))
	_, err = v.SeekData(0)
	wantErr(t, "of a destroyed volume", err, ErrNotFound)
}

// Reads end at the size.
func TestReadAtTheEnd(t *testing.T) {
	p := openPool(t, newDisk(t, 4<<20))
	v, data, _ := patchwork(t, p)
	size := int64(len(data))
	for _, c := range []struct {
		off  int64
		n    int
		want int
		err  error
	}{
		{0, 0, 0, nil},
		{0, int(size), int(size), nil},
		{0, int(size) + 1, int(size), io.EOF},
		{size - 10, 20, 10, io.EOF},
		{size, 1, 0, io.EOF},
		{size + 5000, 5000, 0, io.EOF},
		{100, 3 << 20, int(size) - 100, io.EOF},
		{-1, 1, 0, ErrInvalid},
	} {
		b := fill('?', c.n)
		n, err := v.ReadAt(b, c.off)
		if n != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%d bytes at %d: %d, %v, want %d, %v", c.n, c.off, n, err, c.want, c.err)
		} else if n > 0 && string(b[:n]) != string(data[c.off:c.off+int64(n)]) {
			t.Errorf("%d bytes at %d: wrong content", c.n, c.off)
		}
	}
	_, err := v.WriteAt([]byte("x"), -1)
	wantErr(t, "write before the start", err, ErrInvalid)
}

// A synchronous write is durable when it returns, in place and elsewhere.
func TestWriteAtSync(t *testing.T) {
	d := newDisk(t, 2<<20)
	p := openPool(t, d)
	v := mustVolume(t, p, "v", 64<<10)
	for i, off := range []int64{0, 0, 100, 4096, 64<<10 - 10, 70000} {
		b := fill(byte('a'+i), 5000)
		n, err := v.WriteAtSync(b, off)
		if err != nil || n != len(b) {
			t.Fatalf("%d, %v", n, err)
		}
		q, _ := reopen(t, d.Clone(), uint64(i))
		w, err := q.Volume(v.ino)
		ok(t, err)
		expect(t, w, off, b)
	}
	_, err := v.WriteAtSync(make([]byte, 8192), 0) // zeros in place
	ok(t, err)
	q, _ := reopen(t, d, 9)
	w, _ := q.Volume(v.ino)
	expect(t, w, 0, make([]byte, 4096))
}
