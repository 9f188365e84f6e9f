package chain

import (
	"fmt"
	"testing"
	"time"

	"slatefs/chain/blockdev/devtest"
)

// linePool is a pool of real geometry.
func linePool(t testing.TB, blocks int64) *Pool {
	t.Helper()
	d := devtest.New(blocks*BlockSize, 512)
	f := Format{Name: "line", UUID: [16]byte{7}, Zeroed: true, Now: time.Now}
	ok(t, Create(d, f))
	p, err := Open(d, Options{Now: time.Now})
	ok(t, err)
	return p
}

// line makes a volume with n snapshots in a line, and lists them. The next one has overwritten one of the two blocks that each
// has written, and in the middle there is one block that the first to the last one show.
func line(t testing.TB, p *Pool, name string, n int) (*Volume, []string) {
	t.Helper()
	v := mustVolume(t, p, name, int64(n+64)*BlockSize)
	var names []string
	write(t, v, fill('z', BlockSize), int64(n+32)*BlockSize)
	for i := range n {
		write(t, v, fill('a', 2*BlockSize), int64(i)*BlockSize)
		s := fmt.Sprintf("s%05d", i)
		takeSnapshot(t, p, s, v)
		names = append(names, s)
		if i%8 == 7 {
			ok(t, p.Checkpoint())
		}
	}
	write(t, v, fill('y', BlockSize), int64(n+32)*BlockSize)
	return v, names
}

// Of a line of snapshots, what falls is counted at once: all that nothing stays of, and what was lost on the way.
func TestLine(t *testing.T) {
	const n = 200
	p := linePool(t, 1<<14)
	v, names := line(t, p, "vm", n)
	f, err := p.ForecastDestroy(v.ino, names, DestroyOptions{})
	ok(t, err)
	// Each but the last has lost a block to the next, the first the one that all show as well; the last one lost one to nobody.
	if want := int64(n-1+1) * BlockSize; f.Freed != want {
		t.Errorf("%d snapshots in a line: frees %d, want %d", n, f.Freed, want)
	}
	forecastHolds(t, p, v.ino, names[3:150], DestroyOptions{})
	forecastHolds(t, p, v.ino, names, DestroyOptions{})
	forecastHolds(t, p, v.ino, nil, DestroyOptions{Snapshots: true})
	ok(t, p.SetProps(Req{}, RootIno, Setting{Name: PropDestroyDelay, Value: "1d"}))
	ok(t, p.DestroySnapshots(Req{}, v.ino, names[:n/2], DestroyOptions{}))
	if want := int64(n / 2); p.destroyed.blocks != want {
		t.Errorf("half of them are kept: %d blocks are counted on, want %d", p.destroyed.blocks, want)
	}
	keptHolds(t, p)
	for _, i := range []int{0, n / 4, n/2 - 1} {
		_, err := p.Undestroy(Req{}, idOf(t, p, "vm@"+names[i]), 0, "")
		ok(t, err)
		keptHolds(t, p)
	}
	ok(t, p.DestroyVolume(Req{}, v.ino, DestroyOptions{Snapshots: true}))
	keptHolds(t, p)
	_, err = p.Undestroy(Req{}, p.destroyed.vols[v.ino], 0, "")
	ok(t, err)
	keptHolds(t, p)
	mustCheck(t, p)
	ok(t, p.Close())
}
