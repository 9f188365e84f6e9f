//go:build guest

package inside

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// writer does one thing after the other, and knows how long the longest took since it was asked.
type writer struct {
	name    string
	done    atomic.Int64
	longest atomic.Int64 // nanoseconds
}

// run does steps until stop is set.
func (w *writer) run(t *testing.T, stop *atomic.Bool, step func() error) {
	for !stop.Load() {
		began := time.Now()
		if err := step(); err != nil {
			t.Errorf("%s: %v", w.name, err)
			return
		}
		w.longest.Store(max(w.longest.Load(), int64(time.Since(began))))
		w.done.Add(1)
	}
}

// stall is the longest step since it was asked last; the one that is under way counts.
func (w *writer) stall(t *testing.T) string {
	for n := w.done.Load(); w.done.Load() < n+2 && !t.Failed(); {
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Sprintf("%s %v", w.name, time.Duration(w.longest.Swap(0)).Round(time.Millisecond))
}

// trouble is what the kernel says of I/O that failed, and of who waited too long.
var trouble = regexp.MustCompile(`(?i)i/o error|ext4-fs (error|warning)|aborted journal|remounting|blocked for more than|timed? ?out`)

// TestOutlive writes, syncs and reads back: files on /dev/vda, which has an ext4, and blocks on /dev/vdb, while its host does to them
// what it likes. It is asked by lines: "stall" for the longest step since the last one, "end" to come to its end. Then all is
// there, and the kernel has said nothing of errors.
func TestOutlive(t *testing.T) {
	run(t, "mount", "-t", "ext4", "/dev/vda", "/mnt")
	raw, err := os.OpenFile("/dev/vdb", os.O_RDWR|unix.O_DIRECT, 0)
	must(t, err)
	files, blocks := newFiles("/mnt"), newBlocks(raw)
	writers := []*writer{{name: "file"}, {name: "block"}}
	var stop atomic.Bool
	var running sync.WaitGroup
	running.Go(func() { writers[0].run(t, &stop, files.step) })
	running.Go(func() { writers[1].run(t, &stop, blocks.step) })
	fmt.Println("writing")
	for in := bufio.NewScanner(os.Stdin); in.Scan() && in.Text() == "stall"; {
		fmt.Println("stalled:", writers[0].stall(t)+",", writers[1].stall(t))
	}
	stop.Store(true)
	running.Wait()
	run(t, "umount", "/mnt")
	run(t, "mount", "-t", "ext4", "-o", "ro", "/dev/vda", "/mnt")
	must(t, files.verify())
	must(t, blocks.verify())
	run(t, "umount", "/mnt")
	must(t, raw.Close())
	log := make([]byte, 1<<20)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, log)
	must(t, err)
	for line := range bytes.Lines(log[:n]) {
		if trouble.Match(line) {
			t.Errorf("the kernel says: %s", line)
		}
	}
	fmt.Printf("written: %d files, %d blocks\n", writers[0].done.Load(), writers[1].done.Load())
}

// files are written, synced and read back, each again and again.
type files struct {
	dir   string
	rng   *rand.Rand
	n     uint64
	there map[string][]byte
}

func newFiles(dir string) *files {
	return &files{dir: dir, rng: rand.New(rand.NewPCG(1, 1)), there: map[string][]byte{}}
}

func (f *files) step() error {
	f.n++
	name := filepath.Join(f.dir, fmt.Sprint("f", f.rng.IntN(40)))
	data := tagged(1+f.rng.IntN(200<<10), f.n)
	delete(f.there, name) // either, until it is synced
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return err
	}
	f.there[name] = data
	return errors.Join(same(name, data), file.Close())
}

func (f *files) verify() (err error) {
	for name, data := range f.there {
		err = errors.Join(err, same(name, data))
	}
	return err
}

func same(name string, want []byte) error {
	got, err := os.ReadFile(name)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s holds other bytes than were written", name)
	}
	return err
}

// tagged is n bytes of write w.
func tagged(n int, w uint64) []byte {
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], w<<24+uint64(i))
	}
	return b[:n]
}

// blocks are written to a disk past its caches.
type blocks struct {
	disk  *os.File
	rng   *rand.Rand
	n     uint64
	there map[int64]uint64 // writes, by block
	buf   []byte
}

const blockBytes = 4096

func newBlocks(disk *os.File) *blocks {
	b := make([]byte, 2*blockBytes)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (blockBytes - 1)
	return &blocks{disk: disk, rng: rand.New(rand.NewPCG(2, 2)), there: map[int64]uint64{}, buf: b[skip:][:blockBytes]}
}

func (b *blocks) step() error {
	b.n++
	at := b.rng.Int64N(4096)
	copy(b.buf, tagged(blockBytes, b.n))
	if _, err := b.disk.WriteAt(b.buf, at*blockBytes); err != nil {
		return err
	}
	b.there[at] = b.n
	if b.n%8 == 0 {
		if err := b.disk.Sync(); err != nil {
			return err
		}
	}
	return b.holds(at)
}

func (b *blocks) holds(at int64) error {
	if _, err := b.disk.ReadAt(b.buf, at*blockBytes); err != nil {
		return err
	}
	if !bytes.Equal(b.buf, tagged(blockBytes, b.there[at])) {
		return fmt.Errorf("block %d does not hold write %d", at, b.there[at])
	}
	return nil
}

func (b *blocks) verify() (err error) {
	for at := range b.there {
		err = errors.Join(err, b.holds(at))
	}
	return err
}
