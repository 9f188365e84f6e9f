package chain

import (
	"fmt"
	"testing"
)

// A volume that ends while somebody looks is found all the same, once: among those that are, or those that were.
func TestEachVolumeWhileOnesEnd(t *testing.T) {
	p := openPool(t, newDisk(t, 16<<20))
	want := map[Ino]bool{}
	var inos []Ino
	for i := range 200 {
		v := mustVolume(t, p, fmt.Sprint("v", i), 64<<10)
		write(t, v, fill('v', BlockSize), 0)
		want[v.ino] = true
		inos = append(inos, v.ino)
	}
	ended := make(chan error)
	go func() {
		defer close(ended)
		for _, ino := range inos {
			if err := p.DestroyVolume(Req{}, ino, DestroyOptions{}); err != nil {
				ended <- err
				return
			}
		}
	}()
	for over := false; !over; {
		select {
		case err, failed := <-ended:
			if over = true; failed {
				t.Fatal(err)
			}
		default:
		}
		met := map[Ino]int{}
		ok(t, EachVolumeEver(p, func(v VolumeEver) error { met[v.Ino]++; return nil }))
		for ino := range want {
			if met[ino] != 1 {
				t.Fatalf("volume %d was met %d times", ino, met[ino])
			}
		}
	}
}
