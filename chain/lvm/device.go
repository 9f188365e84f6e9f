package lvm

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// OfDevice tells which logical volume a device node is, by what device-mapper says of it; false: none, or one that only
// is a part of another. It runs no command.
func OfDevice(path string) (Name, bool) {
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil || st.Mode&syscall.S_IFMT != syscall.S_IFBLK {
		return Name{}, false
	}
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/dm/", major(st.Rdev), minor(st.Rdev))
	uuid, err := os.ReadFile(dir + "uuid")
	if err != nil || !isVolume(strings.TrimSpace(string(uuid))) {
		return Name{}, false
	}
	name, err := os.ReadFile(dir + "name")
	if err != nil {
		return Name{}, false
	}
	return parseDM(strings.TrimSpace(string(name)))
}

// isVolume tells whether device-mapper's uuid of a device is that of a whole logical volume: "LVM-", the uuids of group
// and volume, and no suffix.
func isVolume(uuid string) bool {
	rest, ok := strings.CutPrefix(uuid, "LVM-")
	return ok && len(rest) == 64 && !strings.Contains(rest, "-")
}

// parseDM takes device-mapper's name of a volume apart: VG-LV, with hyphens in either doubled.
func parseDM(s string) (Name, bool) {
	const hyphen = "\x00"
	parts := strings.Split(strings.ReplaceAll(s, "--", hyphen), "-")
	if len(parts) != 2 {
		return Name{}, false
	}
	n := Name{strings.ReplaceAll(parts[0], hyphen, "-"), strings.ReplaceAll(parts[1], hyphen, "-")}
	return n, n.valid() == nil
}

// The parts of a device number, as the kernel lays them out for user space.
func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&^0xfff }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&^0xff }
