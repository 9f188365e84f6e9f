package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// libvirtHost is a host for libvirt in a mount namespace: its directories are its own, and it ends with the script that runs in it.
const libvirtHost = `for d in /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt; do
	mkdir -p $d; mount -t tmpfs none $d
done
mkdir -p /run/libvirt
printf '%s\n' 'security_driver = "none"' 'user = "root"' 'group = "root"' 'cgroup_controllers = []' 'namespaces = []' \
	'stdio_handler = "file"' 'dynamic_ownership = 0' 'remember_owner = 0' >/etc/libvirt/qemu.conf
libvirtd 2>$LOG &
daemon=$!
trap 'virsh -q destroy vm 2>/dev/null || true; kill $daemon; wait $daemon || true' EXIT
virsh() { command virsh -q -c qemu:///system "$@"; }
until virsh version >/dev/null 2>&1; do kill -0 $daemon; sleep .1; done
slatefs() { $SLATEFS "$@"; }
`

// TestLibvirt uses the pool and the guest of packaging/examples as libvirt's manual has it: a directory pool, volumes made, grown,
// copied and removed through it, and a guest that runs from one (emulated, without a system on its disk).
func TestLibvirt(t *testing.T) {
	needsRoot(t)
	needs(t, "virsh", "libvirtd", "qemu-system-x86_64", "virt-xml-validate", "xmllint")
	p := mountedPool(t, "1G", "")
	for _, name := range []string{"pool", "domain"} {
		example, err := filepath.Abs("../packaging/examples/libvirt-" + name + ".xml")
		must(t, err)
		p.tool("virt-xml-validate", example)
		text, err := os.ReadFile(example)
		must(t, err)
		mine := strings.NewReplacer("/mnt/lab", p.mnt, "type='kvm'", "type='qemu'", "'MiB'>512", "'MiB'>64").Replace(string(text))
		must(t, os.WriteFile(p.path(name+".xml"), []byte(mine), 0o644))
	}
	p.env = append(p.env, "SLATEFS="+program, "M="+p.mnt, "LOG="+p.path("libvirtd.log"), "D="+p.dir)
	const script = libvirtHost + `
virsh pool-define $D/pool.xml; virsh pool-start lab
virsh vol-create-as lab vm.raw 64M --format raw
virsh vol-resize vm.raw 96M --pool lab
stat -c 'a volume of %s' $M/vm.raw
virsh define $D/domain.xml; virsh start vm
echo "the guest is $(virsh domstate vm)"
slatefs snapshot $M/vm.raw@running
slatefs rollback $M/vm.raw@running 2>&1 | grep -o 'qemu-system-x86 (pid' || true
virsh blockresize vm vda 128M
stat -c 'a volume of %s' $M/vm.raw
virsh destroy vm
slatefs rollback $M/vm.raw@running
stat -c 'a volume of %s' $M/vm.raw
virsh undefine vm
printf data | dd of=$M/vm.raw bs=1 seek=4096 conv=notrunc status=none
virsh vol-clone vm.raw copy.raw --pool lab
cmp $M/vm.raw $M/copy.raw && echo copied
virsh vol-delete vm.raw --pool lab; virsh vol-delete copy.raw --pool lab
ls -A $M
virsh pool-destroy lab; virsh pool-undefine lab
`
	const want = `a volume of 100663296
the guest is running
qemu-system-x86 (pid
a volume of 134217728
a volume of 100663296
copied
`
	r := p.exec("unshare", "-m", "bash", "-eu", "-c", script)
	if r.code != 0 || r.stdout != want {
		log, _ := os.ReadFile(p.path("libvirtd.log"))
		t.Errorf("want %q: %v\n%s", want, r, log)
	}
}
