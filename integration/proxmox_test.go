package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestProxmoxDirectoryStorage does what Proxmox VE's directory storage does to files, as its code has the commands.
func TestProxmoxDirectoryStorage(t *testing.T) {
	needs(t, "qemu-img", "chattr")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "1G", tr)
		p.env = append(p.env, "S="+p.mnt, "I="+p.mnt+"/images", "L="+p.dir)
		image(t, p.path("iso"))
		must(t, os.WriteFile(p.path("efi"), []byte(strings.Repeat("EFI vars", 528<<10/8)), 0o644))
		for _, c := range []struct{ what, script, want string }{
			{"activate", `for d in images private template/iso template/cache dump snippets import; do mkdir -p $S/$d; done
				ls $S | sort | tr '\n' ' '`, "dump images import private snippets template "},
			{"df", `df --output=size,avail -B1 $S | awk 'NR == 2 { print ($1 > 0 && $2 > 0 && $2 <= $1) }'`, "1\n"},
			{"a mount point", `grep -c " $S fuse.slatefs " /proc/mounts`, "1\n"},
			{"alloc", `umask 0037; mkdir -p $I/100
				qemu-img create -q -o preallocation=off -f raw $I/100/vm-100-disk-0.raw 65536K
				stat -c '%a %s' $I/100/vm-100-disk-0.raw`, "640 67108864\n"},
			{
				"list", `ls $I/[0-9][0-9]*/*
				qemu-img info --output=json -f raw $I/100/vm-100-disk-0.raw | jq -c '[."virtual-size", ."actual-size" < 1048576]'`,
				"$I/100/vm-100-disk-0.raw\n[67108864,true]\n",
			},
			{"resize", `qemu-img resize -q --preallocation=off -f raw $I/100/vm-100-disk-0.raw 134217728
				stat -c %s $I/100/vm-100-disk-0.raw`, "134217728\n"},
			{"import", `dd if=$L/iso of=$I/100/vm-100-disk-0.raw conv=sparse,notrunc bs=64k status=none
				cmp -n 67108864 $L/iso $I/100/vm-100-disk-0.raw`, ""},
			{"export", `dd if=$I/100/vm-100-disk-0.raw bs=4k count=16384 status=none | cmp - $L/iso`, ""},
			{"snapshot by name", `slatefs snapshot $I/100/vm-100-disk-0.raw@before && ls $I/100/.snap`, "vm-100-disk-0.raw@before\n"},
			{"template", `mv $I/100/vm-100-disk-0.raw $I/100/base-100-disk-0.raw; chmod 0444 $I/100/base-100-disk-0.raw
				chattr +i $I/100/base-100-disk-0.raw; lsattr $I/100/base-100-disk-0.raw | cut -c5`, "i\n"},
			{"a template stays", `rm -f $I/100/base-100-disk-0.raw 2>/dev/null || mv $I/100/base-100-disk-0.raw $I/x 2>/dev/null ||
				echo x >$I/100/base-100-disk-0.raw 2>/dev/null || echo no`, "no\n"},
			{"linked clone", `cd $I; mkdir 101; cd 101
				qemu-img create -q -b ../100/base-100-disk-0.raw -F raw -f qcow2 -o extended_l2=on,cluster_size=128k vm-101-disk-0.qcow2
				qemu-io -c 'write -P 9 0 1M' vm-101-disk-0.qcow2 >/dev/null; qemu-img check -q vm-101-disk-0.qcow2
				qemu-io -c 'read -P 9 0 1M' vm-101-disk-0.qcow2 | head -c 4`, "read"},
			{"full clone", `qemu-img create -q -f raw $I/101/vm-101-disk-1.raw 128M
				qemu-img convert -p -n --target-is-zero -f raw -O raw $I/100/base-100-disk-0.raw $I/101/vm-101-disk-1.raw >/dev/null
				qemu-img compare -q -f raw -F raw $I/100/base-100-disk-0.raw $I/101/vm-101-disk-1.raw && echo same`, "same\n"},
			{"rename to another guest", `mkdir $I/102
				[ ! -e $I/102/vm-102-disk-0.raw ] && mv $I/101/vm-101-disk-1.raw $I/102/vm-102-disk-0.raw; ls $I/102`, "vm-102-disk-0.raw\n"},
			{"EFI vars", `qemu-img create -q -f raw $I/102/vm-102-disk-1.raw 528K
				qemu-img convert -n -f raw -O raw $L/efi $I/102/vm-102-disk-1.raw
				cmp $L/efi $I/102/vm-102-disk-1.raw; stat -c %s $I/102/vm-102-disk-1.raw`, "540672\n"},
			{"TPM state", `head -c 4194304 /dev/zero >$I/102/vm-102-disk-2.raw
				printf tpm | dd of=$I/102/vm-102-disk-2.raw bs=1 seek=17 conv=notrunc,fsync status=none
				dd if=$I/102/vm-102-disk-2.raw bs=1 skip=17 count=3 status=none`, "tpm"},
			{"cloud-init", `I=$I/102/vm-102-cloudinit.raw; qemu-img create -q -f raw $I 4096K; truncate -s 374K $L/new
				for n in 1 2; do
					head -c 374K $L/iso | tr '\\000' $n >$L/new; truncate -s 4M $L/new
					dd if=$L/new of=$I bs=512 conv=notrunc,fsync status=none; cmp $L/new $I
				done; stat -c %s $I; rm $I`, "4194304\n"},
			{"vmdk, as in an OVA", `cd $I/102; qemu-img convert -q -f raw -O vmdk -o subformat=streamOptimized $L/iso $S/import/d.vmdk
				qemu-img convert -q -n --target-is-zero -f vmdk -O raw $S/import/d.vmdk $(qemu-img create -q -f raw vm-102-disk-3.raw 64M
				echo vm-102-disk-3.raw); qemu-img compare -q -f raw -F raw $L/iso vm-102-disk-3.raw && echo same
				qemu-img convert -q -f raw -O vmdk $L/iso vm-102-disk-4.vmdk
				qemu-img compare -q -f raw -F vmdk $L/iso vm-102-disk-4.vmdk && echo same; rm *-3.raw *.vmdk $S/import/*`, "same\nsame\n"},
			{"ISO", `cp $L/iso $S/template/iso/debian.iso; cmp $L/iso $S/template/iso/debian.iso; rm $S/template/iso/debian.iso`, ""},
			{"backup with notes", `printf note >$S/dump/vzdump-qemu-100.vma.zst.notes; : >$S/dump/vzdump-qemu-100.vma.zst.protected
				cat $S/dump/*.notes; rm $S/dump/*; ls $S/dump`, "note"},
			{"free", `chattr -i $I/100/base-100-disk-0.raw; rm $I/100/base-100-disk-0.raw; rm $I/101/*
				rmdir $I/100 $I/101; ls $I`, "102\n"},
			{"lock file", `exec 9>$S/lock; flock -n 9 && ! flock -n $S/lock true && echo held; rm $S/lock`, "held\n"},
		} {
			r := p.exec("bash", "-euo", "pipefail", "-c", fmt.Sprintf("slatefs() { %s \"$@\"; }\n%s", program, c.script))
			want := strings.ReplaceAll(c.want, "$I", p.at("images"))
			if r.code != 0 || r.stdout != want {
				t.Errorf("%s: want %q: %v", c.what, want, r)
			}
		}
		if n := p.number(p.mnt, "used"); n > 60<<20 {
			t.Errorf("%d bytes are used by 29 MiB", n)
		}
	})
}

// TestProxmoxContainer has a volume with ext4 on a loop device, as containers on raw files have.
func TestProxmoxContainer(t *testing.T) {
	needsRoot(t)
	needs(t, "losetup", "mkfs.ext4", "fstrim", "resize2fs")
	eachTransport(t, func(t *testing.T, tr string) {
		p := mountedPool(t, "1G", tr)
		vol, dir := p.at("vm-200-disk-0.raw"), p.path("ct")
		p.tool("qemu-img", "create", "-q", "-f", "raw", vol, "256M")
		// With the protection against two mounts, as Proxmox makes it, once only: who mounts waits 11 s for another's marks.
		mmp := tr == "transport="+transports[0]
		features := "^mmp"
		if mmp {
			features = "mmp"
		}
		p.tool("mkfs.ext4", "-q", "-O", features, "-E", "lazy_itable_init=0,lazy_journal_init=0", vol)
		dev := loop(t, p.lab, vol)
		must(t, os.Mkdir(dir, 0o755))
		p.tool("mount", dev, dir)
		mounted := true
		defer func() {
			if mounted {
				p.tool("umount", dir)
			}
		}()
		image(t, dir+"/data")
		p.tool("sync", "-f", dir)
		full := p.number(vol, "referenced")
		p.tool("rm", dir+"/data")
		p.tool("sync", "-f", dir)
		p.tool("fstrim", dir)
		if after := p.number(vol, "referenced"); full < 24<<20 || after > full-20<<20 {
			t.Errorf("%d bytes before fstrim, %d after it", full, after)
		}
		p.tool("qemu-img", "resize", "-q", "-f", "raw", vol, "384M")
		p.tool("losetup", "--set-capacity", dev)
		image(t, dir+"/again")
		if mmp {
			must(t, os.Mkdir(p.path("other"), 0o755))
			if r := p.exec("mount", loop(t, p.lab, vol), p.path("other")); r.code == 0 || !strings.Contains(r.stderr, "busy") {
				t.Errorf("mounted twice: %v", r)
				p.exec("umount", p.path("other"))
			}
		}
		p.tool("fsfreeze", "-f", dir)
		r := p.try("snapshot", vol+"@s")
		p.tool("fsfreeze", "-u", dir)
		p.ok(r)
		must(t, os.Remove(dir+"/again"))
		p.backUp(p.snap("vm-200-disk-0.raw", "s"))
		p.tool("umount", dir)
		mounted = false
		p.tool("e2fsck", "-fp", dev)
		p.tool("resize2fs", dev)
		p.tool("e2fsck", "-fn", dev)
		p.tool("losetup", "-d", dev)
	})
}

// backUp reads a container's snapshot as its backup does: from a loop device for reading, and no journal is replayed.
func (p *pool) backUp(snapshot string) {
	p.t.Helper()
	dir := p.path("backup")
	must(p.t, os.MkdirAll(dir, 0o755))
	p.tool("mount", "-o", "ro,noload", loop(p.t, p.lab, snapshot, "-r"), dir)
	defer p.tool("umount", dir)
	image(p.t, p.path("again"))
	p.tool("cmp", p.path("again"), dir+"/again")
}

// loop makes a loop device until the end of the test.
func loop(t *testing.T, l *lab, file string, more ...string) string {
	t.Helper()
	dev := strings.TrimSpace(l.tool("losetup", append(append([]string{"--show", "-f"}, more...), file)...))
	t.Cleanup(func() {
		backing, err := os.ReadFile("/sys/block/" + strings.TrimPrefix(dev, "/dev/") + "/loop/backing_file")
		if err == nil && strings.TrimSpace(string(backing)) == file {
			l.tool("losetup", "-d", dev)
		}
	})
	return dev
}
