package fs

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"slatefs/chain"
)

func TestDsyncWritesSurviveAPowerLoss(t *testing.T) {
	onTransports(t, testDsyncWritesSurviveAPowerLoss)
}

func testDsyncWritesSurviveAPowerLoss(t *testing.T, v variant) {
	if v.file {
		return // which keeps what was not synced
	}
	for _, c := range []struct {
		name        string
		open, write int
	}{
		{"O_DSYNC", unix.O_DSYNC, 0},
		{"O_SYNC", unix.O_SYNC | unix.O_DIRECT, 0},
		{"RWF_DSYNC", unix.O_DIRECT, unix.RWF_DSYNC},
		{"RWF_SYNC", 0, unix.RWF_SYNC},
	} {
		if v.loop && c.open&unix.O_SYNC == unix.O_SYNC {
			continue // to the daemon the same as O_DSYNC
		}
		t.Run(c.name, func(t *testing.T) {
			s, _, d := mountPool(t, v)
			path := filepath.Join(s.Dir(), "v")
			fd := openAt(t, path, unix.O_CREAT|unix.O_RDWR|c.open)
			for i := range 4 { // the first allocates, the second overwrites in place, …
				want := pattern(8192, byte(i))
				_, err := unix.Pwritev2(fd, [][]byte{want}, int64(i/2)*8192, c.write)
				must(t, err)
				p := openPool(t, d.Durable())
				a, err := p.Resolve("v")
				must(t, err)
				vol, err := p.Volume(a.Ino)
				must(t, err)
				got := make([]byte, len(want))
				if _, err := vol.ReadAt(got, int64(i/2)*8192); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("write %d is lost: %v", i, err)
				}
			}
		})
	}
}

func TestParallelWritersOfOneFile(t *testing.T) { onTransports(t, testParallelWritersOfOneFile) }

func testParallelWritersOfOneFile(t *testing.T, v variant) {
	s, p, _ := mountPool(t, v)
	path := filepath.Join(s.Dir(), "v")
	const writers, blocks = 8, 64
	must(t, unix.Ftruncate(openAt(t, path, unix.O_CREAT|unix.O_RDWR), writers*blocks*4096))
	a, err := p.Resolve("v")
	must(t, err)
	var wg sync.WaitGroup
	for w := range writers {
		fd := openAt(t, path, unix.O_RDWR|unix.O_DIRECT)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range blocks {
				if _, err := unix.Pwrite(fd, pattern(4096, byte(w*7+i)), int64(i*writers+w)*4096); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	for _, name := range []string{"a", "b", "c"} {
		must(t, p.Snapshot(chain.Req{}, []chain.Ino{a.Ino}, name))
	}
	wg.Wait()
	fd := openAt(t, path, unix.O_RDONLY|unix.O_DIRECT)
	for i := range blocks * writers {
		got := pattern(4096, 0)
		_, err := unix.Pread(fd, got, int64(i)*4096)
		must(t, err)
		if !bytes.Equal(got, pattern(4096, byte(i%writers*7+i/writers))) {
			t.Fatalf("block %d is wrong", i)
		}
	}
}
