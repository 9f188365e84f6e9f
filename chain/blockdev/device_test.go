package blockdev_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"slatefs/chain/blockdev"
	"slatefs/chain/blockdev/devtest"
)

const mib = 1 << 20

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func second(_ int, err error) error { return err }

// pattern is n bytes of random content at an address that no O_DIRECT takes.
func pattern(n int, seed byte) []byte {
	p := blockdev.Aligned(n + 1)[1:]
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// loop attaches a loop device with that sector size to a sparse file of size
// bytes in dir. It is detached in the cleanup.
func loop(t *testing.T, dir string, size int64, sector int) (dev, backing string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: loop devices need root; the paths for block devices are NOT tested")
	}
	backing = filepath.Join(dir, "backing")
	must(t, os.WriteFile(backing, nil, 0o600))
	must(t, os.Truncate(backing, size))
	out, err := exec.Command("losetup", "-f", "--show", "-b", strconv.Itoa(sector), backing).CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED: no loop device: %v: %s; the paths for block devices are NOT tested", err, out)
	}
	dev = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup -d %s: %v: %s", dev, err, out)
		}
	})
	return dev, backing
}

func openFile(t *testing.T, path string, o blockdev.Options) *blockdev.File {
	t.Helper()
	f, err := blockdev.Open(path, o)
	must(t, err)
	t.Cleanup(func() {
		if err := f.Close(); err != nil && !errors.Is(err, blockdev.ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

func poolFile(t *testing.T, dir string, sparse bool) string {
	t.Helper()
	path := filepath.Join(dir, "pool")
	f, err := blockdev.Create(path, 8*mib, sparse)
	must(t, err)
	must(t, f.Close())
	return path
}

// TestDevice holds every implementation to the contract of Device.
func TestDevice(t *testing.T) {
	cached := blockdev.Options{Direct: blockdev.DirectNever}
	for name, open := range map[string]func(*testing.T) blockdev.Device{
		"file": func(t *testing.T) blockdev.Device {
			return openFile(t, poolFile(t, t.TempDir(), false), blockdev.Options{})
		},
		"file/cached":  func(t *testing.T) blockdev.Device { return openFile(t, poolFile(t, t.TempDir(), true), cached) },
		"memory":       func(*testing.T) blockdev.Device { return devtest.New(8*mib, 512) },
		"memory/4096":  func(*testing.T) blockdev.Device { return devtest.New(8*mib, 4096) },
		"block":        func(t *testing.T) blockdev.Device { return openBlock(t, 512, blockdev.Options{}) },
		"block/4096":   func(t *testing.T) blockdev.Device { return openBlock(t, 4096, blockdev.Options{}) },
		"block/cached": func(t *testing.T) blockdev.Device { return openBlock(t, 4096, cached) },
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			t.Run("content", func(t *testing.T) { testContent(t, d) })
			t.Run("refuses", func(t *testing.T) { testRefuses(t, d) })
			t.Run("zero", func(t *testing.T) { testZero(t, d) })
			t.Run("concurrent", func(t *testing.T) { testConcurrent(t, d) })
		})
	}
}

func openBlock(t *testing.T, sector int, o blockdev.Options) *blockdev.File {
	t.Helper()
	dev, _ := loop(t, t.TempDir(), 8*mib, sector)
	f := openFile(t, dev, o)
	if !f.IsBlockDevice() || f.SectorSize() != sector || f.Direct() != (o.Direct == blockdev.DirectAuto) {
		t.Fatalf("block %v, sector %d, direct %v", f.IsBlockDevice(), f.SectorSize(), f.Direct())
	}
	return f
}

func testContent(t *testing.T, d blockdev.Device) {
	model := make([]byte, d.Size())
	if len(model) != 8*mib {
		t.Fatalf("size %d", len(model))
	}
	rng := rand.New(rand.NewPCG(1, 1))
	sec := int64(d.SectorSize())
	for i := range byte(60) {
		off := rng.Int64N(d.Size()/sec) * sec
		n := min(d.Size()-off, sec*rng.Int64N(3*mib/sec)>>rng.Int64N(10)/sec*sec)
		p := pattern(int(n), i)
		if i%2 == 0 {
			p = append(blockdev.Aligned(int(n))[:0], p...)
		}
		write := d.WriteAt
		if i%5 == 0 {
			write = d.WriteAtDsync
		}
		if got, err := write(p, off); err != nil || got != int(n) {
			t.Fatalf("write %d at %d: %d, %v", n, off, got, err)
		}
		copy(model[off:], p)
	}
	must(t, d.Sync())
	for _, p := range [][]byte{blockdev.Aligned(8 * mib), pattern(8*mib, 0)} {
		n, err := d.ReadAt(p, 0)
		if err != nil || n != len(p) || !bytes.Equal(p, model) {
			t.Fatalf("read: %d, %v, or content differs", n, err)
		}
	}
}

func testRefuses(t *testing.T, d blockdev.Device) {
	sec, p := int64(d.SectorSize()), blockdev.Aligned(8192)
	for want, errs := range map[error][]error{
		blockdev.ErrMisaligned: {
			second(d.ReadAt(p[:100], 0)), second(d.WriteAt(p[:sec], sec/2)),
			second(d.WriteAtDsync(p[:sec-1], 0)), d.Zero(1, sec, blockdev.Overwrite),
		},
		blockdev.ErrPastEnd: {
			second(d.ReadAt(p, d.Size()-sec)), second(d.WriteAt(p, d.Size())), second(d.ReadAt(p, -sec)),
			second(d.WriteAtDsync(p, 1<<62)), d.Zero(0, d.Size()+sec, blockdev.Overwrite),
		},
		blockdev.ErrMethod:   {d.Zero(0, sec, 0), d.Zero(0, sec, blockdev.Method(77))},
		blockdev.ErrTooSmall: {d.Grow(d.Size() - sec)},
	} {
		for i, err := range errs {
			if !errors.Is(err, want) {
				t.Errorf("%v, case %d: %v", want, i, err)
			}
		}
	}
	must(t, second(d.WriteAt(nil, 0))) // nothing is not an error
	must(t, d.Zero(sec, 0, blockdev.Overwrite))
	must(t, d.Sync())
}

func testZero(t *testing.T, d blockdev.Device) {
	methods := d.(interface{ Methods() []blockdev.Method }).Methods()
	if !methods[0].Erases() || !slices.Contains(methods, blockdev.Overwrite) {
		t.Fatalf("methods %v", methods)
	}
	for _, m := range methods {
		must(t, second(d.WriteAt(pattern(4*mib, 5), 0)))
		must(t, d.Zero(4096, 3*mib, m))
		must(t, d.Sync())
		got := pattern(4*mib, 0)
		must(t, second(d.ReadAt(got, 0)))
		want := pattern(4*mib, 5)
		clear(want[4096 : 4096+3*mib])
		if !bytes.Equal(got, want) {
			t.Errorf("%s: content differs", m)
		}
	}
}

func testConcurrent(t *testing.T, d blockdev.Device) {
	var wg sync.WaitGroup
	for g := range int64(8) {
		wg.Go(func() {
			want, got := pattern(65536, byte(g)), pattern(65536, 0)
			for i := range int64(8) {
				off := g*mib + i*65536
				err := errors.Join(second(d.WriteAt(want, off)), d.Sync(), second(d.ReadAt(got, off)))
				if err != nil || !bytes.Equal(want, got) {
					t.Errorf("at %d: %v, or content differs", off, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMethodsAndWords(t *testing.T) {
	dev, _ := loop(t, t.TempDir(), 8*mib, 512)
	block := openFile(t, dev, blockdev.Options{})
	file := openFile(t, poolFile(t, t.TempDir(), true), blockdev.Options{})
	for _, err := range []error{
		block.Zero(0, 4096, blockdev.Release), file.Zero(0, 4096, blockdev.Unmap), file.Zero(0, 4096, blockdev.Zeroout),
	} {
		if !errors.Is(err, blockdev.ErrMethod) {
			t.Errorf("method of the other kind of device: %v", err)
		}
	}
	if n := file.WriteZeroesMax(); n != -1 {
		t.Errorf("a file zeroes %d bytes by itself", n)
	}
	if n, m := block.WriteZeroesMax(), block.Methods(); n < 0 || slices.Contains(m, blockdev.Unmap) != (n > 0) {
		t.Errorf("a loop device zeroes %d bytes by itself, and has %v", n, m)
	}
	var words []string
	for m := range blockdev.Method(6) {
		words = append(words, m.String()+":"+strconv.FormatBool(m.Erases()))
	}
	want := "auto:false overwrite:true zeroout:true unmap:true release:false method(5):false"
	if got := strings.Join(words, " "); got != want {
		t.Errorf("methods: %s", got)
	}
	for _, m := range []blockdev.Method{0, 1, 2, 3, 4} {
		if got, err := blockdev.ParseMethod(m.String()); got != m || err != nil {
			t.Errorf("%v is read as %v, %v", m, got, err)
		}
	}
	for _, v := range []blockdev.Verify{0, 1, 2} {
		if got, err := blockdev.ParseVerify(v.String()); got != v || err != nil {
			t.Errorf("%v is read as %v, %v", v, got, err)
		}
	}
	_, noMethod := blockdev.ParseMethod("shred")
	_, noVerify := blockdev.ParseVerify("verify(3)")
	if !errors.Is(noMethod, blockdev.ErrNoMethod) || !errors.Is(noVerify, blockdev.ErrNoMethod) {
		t.Errorf("words that are none: %v, %v", noMethod, noVerify)
	}
	if e := (blockdev.Extent{Off: 3, Len: 4}); e.End() != 7 {
		t.Errorf("end %d", e.End())
	}
}
