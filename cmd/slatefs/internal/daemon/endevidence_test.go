package daemon

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"slatefs/chain"
	"slatefs/chain/blockdev"
	"slatefs/cmd/slatefs/internal/certificate"
)

// namedDisk is a device that says which one it is.
type namedDisk struct{}

func (namedDisk) Path() string     { return "/srv/lab.pool" }
func (namedDisk) Identity() string { return "ino-1" }

// What may have been released lies below the device, where the pool's end does not reach: also what a crash took the report of.
func TestEndAfterHoles(t *testing.T) {
	w, err := newProvedWorld(provedDisk(t), t.TempDir())
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	end := func() certificate.Document {
		t.Helper()
		d, _, err := EndEvidence(t.Context(), w.host, w.pool, namedDisk{}, w.now)
		ok(err)
		return d
	}
	a, err := w.pool.Create(chain.Req{}, chain.RootIno, "v.raw", 0o600)
	ok(err)
	v, err := w.pool.Volume(a.Ino)
	ok(err)
	ok(v.Truncate(provedSize))
	_, err = v.WriteAt(bytes.Repeat([]byte{'v'}, 4*chain.BlockSize), 0)
	ok(err)
	ok(w.pool.Unlink(chain.Req{}, chain.RootIno, "v.raw"))
	ok(w.pool.EraseDrain(t.Context()))
	h, err := w.pool.Next(2 * chain.BlockSize)
	ok(err)
	if d := end(); len(d.Left)+len(d.Reasons) > 0 {
		t.Fatalf("nothing was released: %+v, %q", d.Left, d.Reasons)
	}
	ok(w.pool.WillRelease(h.Token))
	for _, r := range h.Runs {
		ok(w.disk.Zero(r.Off, r.Len, blockdev.Release))
	}
	w.disk = w.disk.Crash(rand.New(rand.NewPCG(1, 1)))
	ok(w.open())
	left := func(least int64) {
		t.Helper()
		if d := end(); len(d.Left) != 1 || d.Left[0].State != certificate.Released || d.Left[0].Bytes < least {
			t.Errorf("%+v, %q, want at least %d bytes released", d.Left, d.Reasons, least)
		}
	}
	left(2 * chain.BlockSize)
	_, err = w.erase(1<<40, false)
	ok(err)
	left(2 * chain.BlockSize)
	ok(w.close())
}
