//go:build guest

package inside

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestDisks does to disks, past its cache, what its host asks by lines. A DISK is a name as vda, or the size in bytes of a SCSI disk.
//
//	fill DISK           writes all of it, by 1 MiB, flushes, and reads it back: "sum SUM" of all that it holds
//	put DISK OFF N BYTE    writes N bytes
//	fua DISK OFF N BYTE    the same by one command of a SCSI disk, WRITE with FUA, and no flush with it: durable when it is done
//	neighbours DISK     has eight writers write sectors of the first 256 KiB, from now on: of each block of 4 KiB each has one
//	rest                ends them: each sector has what was written to it last: "sum SUM" of the 256 KiB
//	end
//
// Each is answered by "done" and its first word.
func TestDisks(t *testing.T) {
	var writing sync.WaitGroup
	var stop atomic.Bool
	var rest func()
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		words := append(strings.Fields(in.Text()), "")
		switch words[0] {
		case "fill":
			fill(t, openDisk(t, words[1]))
		case "put":
			b, off := putting(t, words[2:])
			_, err := openDisk(t, words[1]).WriteAt(b, off)
			must(t, err)
		case "fua":
			b, off := putting(t, words[2:])
			writeThrough(t, openDisk(t, words[1]), b, off)
		case "neighbours":
			stop.Store(false)
			rest = neighbours(t, openDisk(t, words[1]), &writing, &stop)
		case "rest":
			stop.Store(true)
			writing.Wait()
			rest()
		default:
			return
		}
		fmt.Println("done", words[0])
	}
}

// openDisk opens a disk past the guest's cache.
func openDisk(t *testing.T, name string) *os.File {
	t.Helper()
	if strings.Trim(name, "0123456789") == "" {
		all, err := filepath.Glob("/sys/block/sd*")
		must(t, err)
		for _, dir := range all {
			b, err := os.ReadFile(dir + "/size")
			must(t, err)
			var sectors int64
			_, err = fmt.Sscan(string(b), &sectors)
			must(t, err)
			if fmt.Sprint(sectors<<9) == name {
				name = filepath.Base(dir)
			}
		}
	}
	f, err := os.OpenFile("/dev/"+name, os.O_RDWR|unix.O_DIRECT, 0)
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	return f
}

// direct is memory for O_DIRECT.
func direct(n int) []byte {
	b := make([]byte, n+4096)
	at := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	return b[at : at+n]
}

func fill(t *testing.T, f *os.File) {
	t.Helper()
	size, err := f.Seek(0, io.SeekEnd)
	must(t, err)
	const chunk = 1 << 20
	b := direct(chunk)
	for at := int64(0); at < size; at += chunk {
		copy(b, tagged(chunk, uint64(at/chunk+1)))
		_, err := f.WriteAt(b, at)
		must(t, err)
	}
	must(t, f.Sync())
	sum := sha256.New()
	for at := int64(0); at < size; at += chunk {
		_, err := f.ReadAt(b, at)
		must(t, err)
		if !bytes.Equal(b, tagged(chunk, uint64(at/chunk+1))) {
			t.Fatalf("%d: other bytes than were written", at)
		}
		sum.Write(b)
	}
	fmt.Printf("sum %x\n", sum.Sum(nil))
}

// putting is what is to be written, and where.
func putting(t *testing.T, words []string) (b []byte, off int64) {
	t.Helper()
	var n int
	var what byte
	_, err := fmt.Sscan(strings.Join(words, " "), &off, &n, &what)
	must(t, err)
	b = direct(n)
	copy(b, bytes.Repeat([]byte{what}, n))
	return b, off
}

// writeThrough gives a SCSI disk a WRITE(10) with FUA, by SG_IO of linux/include/scsi/sg.h. (A write with O_DSYNC is one, too, but Linux
// sends a flush after it.) The disk must be one that has a cache and says that it knows FUA.
func writeThrough(t *testing.T, f *os.File, b []byte, off int64) {
	t.Helper()
	for file, want := range map[string]string{"fua": "1", "write_cache": "write back", "logical_block_size": "512"} {
		got, err := os.ReadFile("/sys/block/" + filepath.Base(f.Name()) + "/queue/" + file)
		must(t, err)
		if strings.TrimSpace(string(got)) != want {
			t.Fatalf("%s of %s is %s", file, f.Name(), got)
		}
	}
	command := []byte{0x2a, 0x08, 9: 0}
	binary.BigEndian.PutUint32(command[2:], uint32(off/sectorBytes))
	binary.BigEndian.PutUint16(command[7:], uint16(len(b)/sectorBytes))
	const sgIO, toDevice = 0x2285, -2
	h := struct {
		id, direction                     int32
		commandLen, senseMax              uint8
		vectors                           uint16
		n                                 uint32
		data, command, sense              unsafe.Pointer
		timeout, flags                    uint32
		pack                              int32
		user                              unsafe.Pointer
		status, masked, message, senseLen uint8
		host, driver                      uint16
		residual                          int32
		duration, info                    uint32
	}{
		id: 'S', direction: toDevice, commandLen: uint8(len(command)), n: uint32(len(b)),
		data: unsafe.Pointer(&b[0]), command: unsafe.Pointer(&command[0]), timeout: 600_000,
	}
	_, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), sgIO, uintptr(unsafe.Pointer(&h)))
	if e != 0 || h.status != 0 || h.host != 0 || h.driver != 0 || h.residual != 0 {
		t.Fatalf("WRITE with FUA: %v, status %#x, host %#x, driver %#x, %d bytes left", e, h.status, h.host, h.driver, h.residual)
	}
}

const (
	sectorBytes    = 512
	neighbourBytes = 256 << 10
	neighbourCount = 8 // sectors of a block
)

// marked makes the content of a sector of a writer: its count, and who it is, again and again.
func marked(b []byte, who int, count uint64) {
	for i := 0; i < sectorBytes; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], count<<8|uint64(who+1))
	}
}

// neighbours starts the writers; rest looks at what they wrote when they have ended.
func neighbours(t *testing.T, f *os.File, writing *sync.WaitGroup, stop *atomic.Bool) (rest func()) {
	want := direct(neighbourBytes)
	for who := range neighbourCount {
		rng := rand.New(rand.NewPCG(7, uint64(who)))
		b := direct(sectorBytes)
		writing.Go(func() {
			for count := uint64(1); !stop.Load(); count++ {
				at := (rng.Int64N(neighbourBytes/4096)*neighbourCount + int64(who)) * sectorBytes
				marked(b, who, count)
				if _, err := f.WriteAt(b, at); err != nil {
					t.Error(err)
					return
				}
				copy(want[at:], b)
			}
		})
	}
	return func() {
		got := direct(neighbourBytes)
		_, err := f.ReadAt(got, 0)
		must(t, err)
		for at := 0; at < neighbourBytes; at += sectorBytes {
			if a, b := got[at:at+sectorBytes], want[at:at+sectorBytes]; !bytes.Equal(a, b) {
				t.Fatalf("sector %d holds %x, not %x", at/sectorBytes, a[:16], b[:16])
			}
		}
		must(t, f.Sync())
		fmt.Printf("sum %x\n", sha256.Sum256(got))
	}
}
