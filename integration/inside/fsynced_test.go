//go:build guest

package inside

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const fsyncedDir = "/mnt"

// fsynced keeps files on the ext4 of /dev/vda. Each is written once, and told when it is durable, so that its host knows what any
// later state of the disk must hold.
type fsynced struct {
	t    *testing.T
	rng  *rand.Rand
	next int
	all  []string
}

// TestFsynced does what its host asks by lines, and writes files meanwhile: "synced NAME SUM" for each that is durable.
//
//	make      a new file system, mounted
//	mount     the one that is there, after whatever happened to it: "holds NAME SUM" for each file
//	write     files, from now on
//	hold      no writes any more, all that was written goes to the disk, and it tells as mount does
//	drop N    removes all files but each Nth (0: all), and trims: "gone NAME" for each, then "freed BYTES", in blocks of 4 KiB
//	end       unmounts
//
// Each is answered by "done" and its first word.
func TestFsynced(t *testing.T) {
	f := &fsynced{t: t, rng: rand.New(rand.NewPCG(uint64(os.Getpid()), unixNano()))}
	lines := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			lines <- in.Text()
		}
		close(lines)
	}()
	fmt.Println("ready")
	for writing := false; ; {
		var line string
		if writing {
			select {
			case line = <-lines:
			default:
				f.write()
				continue
			}
		} else {
			line = <-lines
		}
		what, arg, _ := strings.Cut(line, " ")
		switch what {
		case "make":
			run(t, "mke2fs", "-q", "-t", "ext4", "-b", "4096", "/dev/vda")
			run(t, "mount", "-t", "ext4", "/dev/vda", fsyncedDir)
		case "mount":
			run(t, "mount", "-t", "ext4", "/dev/vda", fsyncedDir)
			f.hold()
		case "write":
			writing = true
		case "hold":
			writing = false
			unix.Sync()
			f.hold()
		case "drop":
			f.drop(arg)
		default:
			run(t, "umount", fsyncedDir)
			fmt.Println("done", what)
			return
		}
		fmt.Println("done", what)
	}
}

func unixNano() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &now) // a seed
	return uint64(now.Nano())
}

// fsyncedMark begins each 512 bytes of each file: the host looks for it on the device. Its number follows it.
const fsyncedMark = "SLTguest"

// marked is content of a file: n bytes.
func (f *fsynced) marked(n int) []byte {
	b := make([]byte, n+512)
	for i := 0; i < n; i += 512 {
		copy(b[i:], fsyncedMark)
		binary.LittleEndian.PutUint64(b[i+8:], uint64(f.next))
		binary.LittleEndian.PutUint64(b[i+16:], f.rng.Uint64())
	}
	return b[:n]
}

// write makes a new file, whole and durable, with its name, and beside it one that nobody has synced, larger or changed in place.
func (f *fsynced) write() {
	f.next++
	name := fmt.Sprintf("f%06d", f.next)
	data := f.marked(1 + f.rng.IntN(256<<10))
	noise, err := os.OpenFile(filepath.Join(fsyncedDir, "noise"), os.O_CREATE|os.O_WRONLY, 0o644)
	must(f.t, err)
	_, err = noise.WriteAt(f.marked(1+f.rng.IntN(64<<10)), f.rng.Int64N(4<<20))
	must(f.t, err)
	must(f.t, noise.Close())
	file, err := os.Create(filepath.Join(fsyncedDir, name))
	must(f.t, err)
	_, err = file.Write(data)
	must(f.t, errors.Join(err, file.Sync(), file.Close()))
	f.all = append(f.all, name)
	fmt.Printf("synced %s %x\n", name, sha256.Sum256(data))
}

// hold tells of all that is there.
func (f *fsynced) hold() {
	list, err := os.ReadDir(fsyncedDir)
	must(f.t, err)
	f.all = nil
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), "f0") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(fsyncedDir, e.Name()))
		must(f.t, err)
		fmt.Printf("holds %s %x\n", e.Name(), sha256.Sum256(data))
		f.all = append(f.all, e.Name())
		_, err = fmt.Sscanf(e.Name(), "f%d", &f.next)
		must(f.t, err)
	}
}

// drop removes files and tells the disk of all that is free. What was set aside for files that are open is free after a mount.
func (f *fsynced) drop(arg string) {
	var each int
	var freed int64
	_, err := fmt.Sscan(arg, &each)
	must(f.t, err)
	var kept []string
	for i, name := range f.all {
		if each > 0 && i%each == 0 {
			kept = append(kept, name)
			continue
		}
		file, err := os.Stat(filepath.Join(fsyncedDir, name))
		must(f.t, err)
		must(f.t, os.Remove(filepath.Join(fsyncedDir, name)))
		freed += (file.Size() + 4095) &^ 4095
		fmt.Println("gone", name)
	}
	f.all = kept
	if each == 0 {
		must(f.t, os.Remove(filepath.Join(fsyncedDir, "noise")))
	}
	run(f.t, "umount", fsyncedDir)
	run(f.t, "mount", "-t", "ext4", "/dev/vda", fsyncedDir)
	dir, err := os.Open(fsyncedDir)
	must(f.t, err)
	defer dir.Close()
	trim := struct{ start, bytes, least uint64 }{bytes: 1 << 62}
	const fitrim = 0xc0185879
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fitrim, uintptr(unsafe.Pointer(&trim))); e != 0 {
		f.t.Fatalf("FITRIM: %v", e)
	}
	fmt.Println("freed", freed)
}
