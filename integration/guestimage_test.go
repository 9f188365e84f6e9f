package integration

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// guestModules are loaded when a guest boots, guestSpare lie there for tests that load them with parameters.
var (
	guestModules = []string{
		"virtio_blk", "loop", "dm-mod", "dm-bufio", "dm-flakey", "dm-log-writes", "dm-mirror", "dm-thin-pool", "sd_mod", "virtio_scsi",
	}
	guestSpare = []string{"scsi_debug", "nbd"}
)

// guestTools are the host's programs that a guest has; guestOptional those that it has if the host does.
var (
	guestTools    = []string{"lvm", "dmsetup", "blkid"}
	guestOptional = []string{"qemu-img", "qemu-io", "blkdiscard", "fusermount3", "mke2fs", "e2fsck"}
)

const guestInit = `#!/bin/busybox sh
export PATH=/usr/sbin:/bin HOME=/ TMPDIR=/tmp LC_ALL=C DM_DISABLE_UDEV=1
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/mapper
mount -t tmpfs tmp /tmp
ln -s /proc/self/fd /dev/fd
while read -r m; do insmod "/modules/$m.ko" || echo "no module $m"; done </modules/order
for i in 1 2 3 4 5 6 7 8 9; do port=$(echo /dev/vport*p1); [ -e "$port" ] && break; sleep 0.2; done
exec 3<>"$port"
echo "` + upLine + `" >&3
read -r command <&3
sh -c "$command" <&3 >&3 2>&1 3<&-
echo "` + exitLine + `$?" >&3
poweroff -f
`

// udev does not run in a guest: lvm2 makes the nodes itself, and asks nobody.
const guestLVM = `devices { obtain_device_list_from_udev=0 external_device_info_source="none" use_devicesfile=0
  global_filter=["r|^/dev/loop|"] }
activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
global { event_activation=0 use_lvmpolld=0 use_lvmlockd=0 }
backup { backup=0 archive=0 }
`

// makeInitramfs writes the file system that guests run from: tools, modules, slatefs and the tests for the inside.
func makeInitramfs(path, kernel string) error {
	inside, err := buildInside()
	if err != nil {
		return err
	}
	c := cpio{done: map[string]bool{}}
	busybox, err := findProgram("busybox")
	if err != nil {
		return err
	}
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run", "etc/lvm", "modules", "var/lib", "mnt", "usr/sbin"} {
		c.dir(dir)
	}
	c.file("init", []byte(guestInit), 0o755)
	c.file("etc/lvm/lvm.conf", []byte(guestLVM), 0o644)
	c.file("etc/machine-id", []byte("0123456789abcdef0123456789abcdef\n"), 0o644)
	err = errors.Join(c.copy("bin/busybox", busybox), c.copy("bin/slatefs", program), c.copy("inside.test", inside), c.modules(kernel))
	for _, tool := range append(guestTools, guestOptional...) {
		from, findErr := findProgram(tool)
		if findErr != nil {
			if slices.Contains(guestTools, tool) {
				err = errors.Join(err, findErr)
			}
			continue
		}
		err = errors.Join(err, c.program("usr/sbin/"+tool, from))
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, c.end(), 0o644)
}

// buildInside compiles the tests that run in a guest.
func buildInside() (string, error) {
	path := filepath.Join(workDir, "inside.test")
	cmd := exec.Command("go", "test", "-c", "-tags", "guest", "-trimpath", "-o", path, "./inside")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return path, nil
}

// cpio is an archive in the kernel's "newc" format, in memory.
type cpio struct {
	b    bytes.Buffer
	done map[string]bool
	ino  int
}

func (c *cpio) entry(name string, mode uint32, data []byte) {
	if c.done[name] {
		return
	}
	c.done[name] = true
	if dir := filepath.Dir(name); dir != "." && name != cpioEnd {
		c.dir(dir)
	}
	c.ino++
	fmt.Fprintf(&c.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	c.b.WriteString(name + "\x00")
	c.pad()
	c.b.Write(data)
	c.pad()
}

func (c *cpio) pad() {
	for c.b.Len()%4 != 0 {
		c.b.WriteByte(0)
	}
}

const cpioEnd = "TRAILER!!!"

func (c *cpio) end() []byte {
	c.entry(cpioEnd, 0, nil)
	return c.b.Bytes()
}

func (c *cpio) dir(name string) { c.entry(name, 0o040755, nil) }

func (c *cpio) file(name string, data []byte, mode uint32) { c.entry(name, 0o100000|mode, data) }

func (c *cpio) copy(name, from string) error {
	data, err := os.ReadFile(from)
	c.file(name, data, 0o755)
	return err
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// program copies a program, and the libraries that it is linked with to where the loader looks for them.
func (c *cpio) program(name, from string) error {
	out, err := exec.Command("ldd", from).CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("not a dynamic executable")) {
		return fmt.Errorf("ldd %s: %w: %s", from, err, out)
	}
	for _, m := range library.FindAllSubmatch(out, -1) {
		lib := string(m[1])
		if err := c.copy(strings.TrimPrefix(lib, "/"), lib); err != nil {
			return err
		}
	}
	return c.copy(name, from)
}

// modules copies the modules, unpacked, and the order to load them in.
func (c *cpio) modules(kernel string) error {
	paths := map[string]string{}
	found, err := exec.Command("find", filepath.Join(kernel, "lib/modules"), "-name", "*.ko*").Output()
	if err != nil {
		return err
	}
	for path := range strings.FieldsSeq(string(found)) {
		name, _, _ := strings.Cut(filepath.Base(path), ".ko")
		paths[moduleName(name)] = path
	}
	var order []string
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if c.done["modules/"+name+".ko"] {
			return nil
		}
		if paths[name] == "" {
			return fmt.Errorf("%s: no module %s", kernel, name)
		}
		data, err := unpack(paths[name])
		if err != nil {
			return err
		}
		needs, err := moduleNeeds(data)
		if err != nil {
			return fmt.Errorf("%s: %w", paths[name], err)
		}
		c.file("modules/"+name+".ko", data, 0o644)
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		order = append(order, name)
		return nil
	}
	for _, name := range append(guestModules, guestSpare...) {
		if err := add(name); err != nil {
			return err
		}
	}
	order = slices.DeleteFunc(order, func(name string) bool { return slices.Contains(guestSpare, name) })
	c.file("modules/order", []byte(strings.Join(order, "\n")+"\n"), 0o644)
	return nil
}

func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// unpack reads a module that may be compressed.
func unpack(path string) ([]byte, error) {
	if strings.HasSuffix(path, ".xz") {
		return exec.Command("xz", "-dc", path).Output()
	}
	return os.ReadFile(path)
}

// moduleNeeds are the modules that one depends on.
func moduleNeeds(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
