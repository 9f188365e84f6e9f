package host

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slatefs/fs/mounts"
)

// Media is a device below a pool, as the kernel of this host knows it. All strings are bytes, of whoever made the device or named
// what lies between.
type Media struct {
	Vendor string `json:"vendor,omitempty"`
	Model  string `json:"model,omitempty"`
	Serial string `json:"serial,omitempty"`
	WWID   string `json:"wwid,omitempty"`
	Type   string `json:"type"`
	Size   int64  `json:"size"` // bytes; 0: not known
	Device string `json:"device"`
	Path   string `json:"path,omitempty"` // what lies between it and the pool, the pool's side first
}

// mediaView is where facts of devices are found.
type mediaView struct {
	sys, udev string
	table     mounts.Table
	stat      func(path string, st *unix.Stat_t) error
	found     []Media
	visits    int
}

// Bounds of what is looked at: device-mapper tables can be wide and deep.
const (
	maxMediaDepth = 16
	maxMedia      = 256 // devices that are looked at, those between included
)

// MediaBelow lists the devices that the bytes of a pool lie on, from a device or file down through partitions, device-mapper, md,
// loop devices and file systems. What the kernel does not say is left empty; an error beside it says why the list may be short.
func MediaBelow(path string) ([]Media, error) {
	table, err := mounts.Own()
	v := mediaView{sys: "/sys", udev: "/run/udev/data", table: table, stat: unix.Stat}
	v.below(path, nil)
	return v.found, err
}

// below goes on with a device or file. via is what was gone through.
func (v *mediaView) below(path string, via []string) {
	var st unix.Stat_t
	switch err := v.stat(path, &st); {
	case err != nil:
		v.add(Media{Type: "not known: " + err.Error(), Device: path}, via)
	case st.Mode&unix.S_IFMT == unix.S_IFBLK:
		v.device(st.Rdev, via)
	default:
		v.file(path, st.Dev, via)
	}
}

// file goes on below the file system that a file lies on.
func (v *mediaView) file(path string, dev uint64, via []string) {
	m, ok := v.mountOf(path, dev)
	if ok {
		via = append(via, fmt.Sprintf("file %s in %s on %s", path, m.Type, m.Dir))
	} else {
		via = append(via, "file "+path)
	}
	var st unix.Stat_t
	switch {
	case unix.Major(dev) != 0:
		v.device(dev, via)
	case ok && strings.HasPrefix(m.Source, "/dev/") && len(via) < maxMediaDepth && v.stat(m.Source, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK:
		v.device(st.Rdev, via) // a file system of several devices, or subvolumes, names one of them
	default:
		v.add(Media{Type: "file system " + m.Type, Device: cmp.Or(m.Source, "not known")}, via)
	}
}

// mountOf is the mount that a file lies on: of those of its file system the one with the longest directory above it.
func (v *mediaView) mountOf(path string, dev uint64) (m mounts.Mount, ok bool) {
	id := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	for _, e := range v.table {
		if e.Dev == id && mounts.Below(path, e.Dir) && len(e.Dir) >= len(m.Dir) {
			m, ok = e, true
		}
	}
	if !ok {
		m, _, ok = v.table.Of(path) // btrfs has other numbers for its subvolumes
	}
	return m, ok
}

// device goes on with a block device by its number.
func (v *mediaView) device(dev uint64, via []string) {
	number := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	dir, err := filepath.EvalSymlinks(filepath.Join(v.sys, "dev/block", number))
	if v.visits++; err != nil || len(via) >= maxMediaDepth || v.visits > maxMedia {
		v.add(Media{Type: "not known to the kernel", Device: "device " + number}, via)
		return
	}
	if v.has(dir, "partition") {
		via = append(via, "partition "+filepath.Base(dir))
		dir = filepath.Dir(dir)
		number = v.read(dir, "dev")
	}
	name := filepath.Base(dir)
	if file := v.read(dir, "loop/backing_file"); file != "" {
		v.below(strings.TrimSuffix(file, " (deleted)"), append(via, "loop device "+name))
		return
	}
	slaves, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if err != nil || len(slaves) == 0 {
		v.add(v.disk(dir, number), via)
		return
	}
	via = append(via, v.stacked(dir, name))
	for _, s := range slaves {
		sub := filepath.Join(dir, "slaves", s.Name())
		major, minor, _ := strings.Cut(v.read(sub, "dev"), ":")
		if v.visits > maxMedia {
			return
		}
		v.device(unix.Mkdev(uint32(decimal(major)), uint32(decimal(minor))), append([]string{}, via...))
	}
}

// stacked says what a device that is made of others is.
func (v *mediaView) stacked(dir, name string) string {
	if label := v.read(dir, "dm/name"); label != "" {
		kind, _, _ := strings.Cut(v.read(dir, "dm/uuid"), "-")
		return strings.TrimSpace(fmt.Sprintf("%s %s (%s)", strings.TrimSpace("device-mapper "+kind), label, name))
	}
	if level := v.read(dir, "md/level"); level != "" {
		return fmt.Sprintf("md %s (%s)", level, name)
	}
	return name
}

// disk is what the kernel, or else udev, knows of a device that is made of no other.
func (v *mediaView) disk(dir, number string) Media {
	name, udev := filepath.Base(dir), v.udevOf(number)
	m := Media{
		Vendor: cmp.Or(v.read(dir, "device/vendor"), udev["ID_VENDOR"]),
		Model:  cmp.Or(v.read(dir, "device/model"), udev["ID_MODEL"]),
		Serial: cmp.Or(v.read(dir, "device/serial"), v.read(dir, "serial"), v.page80(dir), udev["ID_SERIAL_SHORT"]),
		WWID:   cmp.Or(v.read(dir, "wwid"), v.read(dir, "device/wwid"), udev["ID_WWN"]),
		Size:   decimal(v.read(dir, "size")) * 512,
		Device: "/dev/" + name,
	}
	if strings.HasPrefix(m.Vendor, "0x") && strings.HasPrefix(name, "vd") {
		m.Vendor = "virtio, PCI vendor " + m.Vendor
	}
	rotates := v.read(dir, "queue/rotational")
	switch {
	case strings.HasPrefix(name, "nvme"):
		m.Type = "NVMe SSD"
	case strings.HasPrefix(name, "vd"), strings.HasPrefix(name, "xvd"):
		m.Type = "virtual disk"
	case strings.HasPrefix(name, "zram"), strings.HasPrefix(name, "ram"), strings.HasPrefix(name, "pmem"):
		m.Type = "memory"
	case strings.HasPrefix(name, "mmcblk"):
		m.Type = "flash card"
	case rotates == "1":
		m.Type = "HDD"
	case rotates == "0":
		m.Type = "SSD"
	default:
		m.Type = "block device"
	}
	if v.read(dir, "removable") == "1" {
		m.Type += ", removable"
	}
	return m
}

// page80 is the serial number that a SCSI or ATA disk says itself: four bytes of header, then the text.
func (v *mediaView) page80(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80"))
	if err != nil || len(b) < 4 || b[1] != 0x80 {
		return ""
	}
	return string(bytes.Trim(b[4:], " \x00\n"))
}

// udevOf are the properties that udev keeps of a block device.
func (v *mediaView) udevOf(number string) map[string]string {
	b, err := os.ReadFile(filepath.Join(v.udev, "b"+number))
	if err != nil {
		return nil
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if prop, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "E:"); ok {
			key, val, _ := strings.Cut(prop, "=")
			out[key] = val
		}
	}
	return out
}

func (v *mediaView) add(m Media, via []string) {
	m.Path = strings.Join(via, ", ")
	for _, have := range v.found {
		if have == m {
			return
		}
	}
	v.found = append(v.found, m)
}

func (v *mediaView) has(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

// read is the text of an attribute, without blanks around it; empty if there is none.
func (v *mediaView) read(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.Trim(string(b), " \n\x00")
}

// decimal is a number of the kernel's, or 0.
func decimal(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
