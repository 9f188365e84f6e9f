package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// guest is a virtual machine with a kernel of its own, for what the host's kernel may not have: device-mapper, modules,
// devices that lose writes. It has no network and no disk but those it is given, runs one command line, and ends.
//
// It is emulated (-accel tcg), so that it needs nothing of the host's processor: it is slow, what is measured in it can
// only be compared with what was measured in it.
type guest struct {
	t       *testing.T
	cmd     *exec.Cmd
	cancel  context.CancelFunc
	in      io.WriteCloser
	out     *bufio.Reader
	console string // file with the kernel's messages
	qmp     string // socket of its monitor
	text    bytes.Buffer
}

// disk is a raw image that a guest has as /dev/vda, /dev/vdb and so on, or as a SCSI disk.
type disk struct {
	path   string
	share  bool   // with another guest, at the same time
	aio    string // how qemu does asynchronous I/O; empty: as it likes
	device string // what the guest has, with its options; empty: virtio-blk-pci
}

// scsi tells that the device wants a controller.
func (d disk) scsi() bool { return strings.HasPrefix(d.device, "scsi-") }

// guestImage is made once for all guests of a run.
var guestImage struct {
	once            sync.Once
	kernel, initrd  string
	missing, broken error
}

// newGuest boots a guest that runs a command line in its shell. After limit it is killed. Where no guest can run here the
// test is skipped.
func (l *lab) newGuest(limit time.Duration, command string, disks ...disk) *guest {
	l.t.Helper()
	return l.newGuestOf(guestMemory, limit, command, disks...)
}

// guestMemory is what a guest has, in MiB.
const guestMemory = 1500

// newGuestOf is newGuest, of so many MiB of memory.
func (l *lab) newGuestOf(memory int, limit time.Duration, command string, disks ...disk) *guest {
	l.t.Helper()
	guestImage.once.Do(makeGuestImage)
	if guestImage.missing != nil {
		l.t.Skipf("SKIPPED: guest kernel: no virtual machine can be run here: %v", guestImage.missing)
	}
	must(l.t, guestImage.broken)
	for boots := 1; ; boots++ {
		g := l.bootGuest(memory, limit, disks)
		if line, ok := g.line(); ok && line == upLine {
			g.send(command)
			return g
		}
		g.end()
		if boots == maxBoots || !strings.Contains(g.log(), "Kernel panic") {
			l.t.Fatalf("guest: it does not come up\n%s", g.log())
		}
		l.t.Logf("guest: its kernel panicked before init ran, as one under emulation does now and then: it is booted again\n%s", g.log())
	}
}

// maxBoots is how often a guest is booted whose kernel does not come to its init: nothing of slatefs has run by then.
const maxBoots = 3

// upLine is what the guest's init prints when it waits for its command.
const upLine = "guest: up"

// bootGuest starts a guest, which will be up or not.
func (l *lab) bootGuest(memory int, limit time.Duration, disks []disk) *guest {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	n := labs.Add(1)
	g := &guest{t: l.t, cancel: cancel, console: l.path(fmt.Sprint("console", n)), qmp: l.path(fmt.Sprint("q", n))}
	g.cmd = exec.CommandContext(ctx, "qemu-system-x86_64", g.arguments(memory, disks)...)
	g.cmd.WaitDelay = 5 * time.Second
	var err error
	g.in, err = g.cmd.StdinPipe()
	must(l.t, err)
	out, err := g.cmd.StdoutPipe()
	must(l.t, err)
	g.out = bufio.NewReader(out)
	g.cmd.Stderr = os.Stderr
	must(l.t, g.cmd.Start())
	l.t.Cleanup(g.end)
	return g
}

func (g *guest) arguments(memory int, disks []disk) []string {
	args := []string{
		"-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", strconv.Itoa(memory), "-nic", "none", "-no-reboot",
		"-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", guestImage.kernel, "-initrd", guestImage.initrd,
		"-append", "console=ttyS0 loglevel=4 panic=-1 rdinit=/init",
		"-serial", "file:" + g.console, "-qmp", "unix:" + g.qmp + ",server=on,wait=off",
		"-chardev", "stdio,id=port,signal=off", "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port",
	}
	if slices.ContainsFunc(disks, disk.scsi) {
		args = append(args, "-device", "virtio-scsi-pci")
	}
	for i, d := range disks {
		share := "off"
		if d.share {
			share = "on"
		}
		id := "d" + strconv.Itoa(i)
		locking := "auto"
		if d.share {
			locking = "off"
		}
		drive := "if=none,format=raw,cache=none,discard=unmap,id=" + id + ",file=" + d.path + ",file.locking=" + locking
		if d.aio != "" {
			drive += ",aio=" + d.aio
		}
		device := d.device
		if device == "" {
			device = "virtio-blk-pci"
		}
		args = append(args, "-drive", drive, "-device", device+",drive="+id+",share-rw="+share)
	}
	return args
}

// send gives the guest's command a line on its standard input.
func (g *guest) send(line string) {
	g.t.Helper()
	if _, err := io.WriteString(g.in, line+"\n"); err != nil {
		g.t.Fatalf("guest: %v\n%s", err, g.log())
	}
}

// exitLine is what the guest's init prints when the command has ended.
const exitLine = "guest: exit "

// line is the next line that the command printed; ok is false when there is none any more.
func (g *guest) line() (line string, ok bool) {
	line, err := g.out.ReadString('\n')
	g.text.WriteString(line)
	return strings.TrimRight(line, "\r\n"), err == nil
}

// until reads lines up to one that has a prefix, and returns the rest of that. The command's end is the test's.
func (g *guest) until(prefix string) string {
	g.t.Helper()
	for {
		line, ok := g.line()
		switch {
		case ok && strings.HasPrefix(line, prefix):
			return line[len(prefix):]
		case !ok || strings.HasPrefix(line, exitLine):
			g.t.Fatalf("guest: ended before it printed %q\n%s", prefix, g.log())
		}
	}
}

// wait reads until the command has ended, and returns its exit code.
func (g *guest) wait() int {
	g.t.Helper()
	code, err := strconv.Atoi(g.until(exitLine))
	must(g.t, err)
	must(g.t, g.cmd.Wait()) // it powers off
	return code
}

// log is all that the guest has printed, with the kernel's messages.
func (g *guest) log() string {
	kernel, err := os.ReadFile(g.console)
	if err != nil {
		kernel = []byte(err.Error())
	}
	return fmt.Sprintf("%s--- kernel:\n%s", g.text.String(), kernel[max(0, len(kernel)-8<<10):])
}

// kill ends the guest as a power failure would, but for what the host has in its page cache.
func (g *guest) kill() {
	g.cancel()
	var exit *exec.ExitError
	if err := g.cmd.Wait(); err != nil && !errors.As(err, &exit) && !errors.Is(err, context.Canceled) {
		g.t.Error(err)
	}
}

func (g *guest) end() {
	if g.cmd.ProcessState == nil {
		g.kill()
	}
	g.cancel()
}

// makeGuestImage finds the kernel and makes the initramfs.
func makeGuestImage() {
	i := &guestImage
	for _, tool := range []string{"qemu-system-x86_64", "busybox", "lvm", "blkid", "xz", "ldd"} {
		if _, err := findProgram(tool); err != nil {
			i.missing = errors.Join(i.missing, err)
		}
	}
	if i.missing != nil {
		return
	}
	var text bytes.Buffer
	cmd := exec.Command("../.ci/guest-kernel")
	cmd.Stderr = &text
	out, err := cmd.Output()
	if err != nil {
		i.missing = fmt.Errorf(".ci/guest-kernel: %w\n%s", err, text.Bytes())
		return
	}
	dir := strings.TrimSpace(string(out))
	kernels, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		i.broken = fmt.Errorf("%s: kernels %v: %w", dir, kernels, err)
		return
	}
	i.kernel, i.initrd = kernels[0], filepath.Join(workDir, "guest.cpio")
	i.broken = makeInitramfs(i.initrd, dir)
}

// findProgram finds a program that ordinary users may not have in their path.
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	return path, err
}
