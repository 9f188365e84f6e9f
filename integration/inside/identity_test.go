//go:build guest

package inside

import (
	"slices"
	"strings"
	"testing"
)

// uuidOf is a pool's UUID, as pool status has it.
func uuidOf(t *testing.T, pool string) string {
	t.Helper()
	for line := range strings.Lines(slatefs(t, "pool status "+pool)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "uuid: "); ok {
			return id
		}
	}
	t.Fatalf("pool %s has no UUID", pool)
	return ""
}

// ownTagsOf are the tags of a volume by which a pool is found.
func ownTagsOf(t *testing.T, lv string) []string {
	t.Helper()
	tags := slices.DeleteFunc(strings.Split(lvs(t, lv, "lv_tags"), ","), func(s string) bool { return s == "slatefs" || s == "slatefs-made" })
	slices.Sort(tags)
	return tags
}

// TestIdentity: the tags of a volume say what its superblocks say, and a copy of a volume, tags and all, is not the pool.
func TestIdentity(t *testing.T) {
	newVG(t, "vg0", "/dev/vda")
	dir := mountpoint(t, "vms")
	slatefs(t, "pool create --size 64M vms vg0/vms")
	id := uuidOf(t, "vms")
	slatefs(t, "pool rename vms old")
	if tags := ownTagsOf(t, "vg0/vms"); !slices.Equal(tags, []string{"slatefs-" + id, "slatefs-name=old"}) {
		t.Errorf("tags: %q", tags)
	}
	refused(t, "no pool of that name", "pool check vms")
	slatefs(t, "pool check old")
	slatefs(t, "pool reguid vg0/vms")
	now := uuidOf(t, "old")
	if tags := ownTagsOf(t, "vg0/vms"); now == id || !slices.Equal(tags, []string{"slatefs-" + now, "slatefs-name=old"}) {
		t.Errorf("tags: %q", tags)
	}
	slatefs(t, "mount old "+dir)
	put(t, dir+"/a.raw", pattern(1<<20, 'a'), 0)
	slatefs(t, "umount old")
	if lvs(t, "vg0/vms", "lv_active") != "" {
		t.Error("a pool that is not mounted is active")
	}

	run(t, "lvm", "lvcreate", "-q", "-y", "-L", "64M", "-n", "a", "vg0") // before the pool's by name
	run(t, "lvm", "lvchange", "-q", "-y", "-ay", "vg0/vms")
	run(t, "dd", "if=/dev/vg0/vms", "of=/dev/vg0/a", "bs=1M", "conv=fsync")
	run(t, "lvm", "lvchange", "-q", "-y", "-an", "vg0/vms")
	for _, tag := range append(ownTagsOf(t, "vg0/vms"), "slatefs") {
		run(t, "lvm", "lvchange", "-q", "-y", "--addtag", tag, "vg0/a")
	}
	if out := slatefs(t, "pool list -H"); !strings.Contains(out, "\tunmounted\t-\t/dev/vg0/vms\t-\n") || !strings.Contains(out, "\tcopy\t-\t/dev/vg0/a\t-\n") {
		t.Errorf("pool list: %q", out)
	}
	refused(t, "lies on /dev/vg0/vms, and on /dev/vg0/a too: one of them is a copy", "mount vg0/a "+dir)
	slatefs(t, "mount old "+dir)
	if !holds(t, dir+"/a.raw", pattern(1<<20, 'a'), 0) {
		t.Error("what was written is not there")
	}
	refused(t, "is mounted on "+dir, "pool reguid vg0/a") // of two devices nobody can say that they are two
	slatefs(t, "umount old")
	slatefs(t, "pool reguid vg0/a")
	slatefs(t, "pool rename vg0/a copy")
	if out := slatefs(t, "pool list -H"); !strings.Contains(out, "copy\t") || strings.Contains(out, "\tcopy\t-") {
		t.Errorf("pool list: %q", out)
	}
	slatefs(t, "pool check copy")
	slatefs(t, "pool destroy --force copy")
	slatefs(t, "pool check old")
	slatefs(t, "pool destroy --force old")
}
