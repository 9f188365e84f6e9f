package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// build makes the packages of a version, and unpacks the one that is called name.
func build(t *testing.T, name, version string) (deb, root string) {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("./deb")
	cmd.Env = append(os.Environ(), "OUT="+out, "VERSION="+version)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("packaging/deb: %v\n%s", err, text)
	}
	made, err := filepath.Glob(filepath.Join(out, "*"))
	found, _ := filepath.Glob(filepath.Join(out, name+"_"+version+"-1_*.deb"))
	if err != nil || len(made) != 2 || len(found) != 1 {
		t.Fatalf("packaging/deb made %v, %v", made, err)
	}
	root = filepath.Join(out, "root")
	tool(t, "dpkg-deb", "-x", found[0], root)
	tool(t, "dpkg-deb", "-e", found[0], filepath.Join(root, "DEBIAN"))
	return found[0], root
}

// tool runs a program that must succeed, and returns what it printed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("!!! NOT TESTED: the package: ", err)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// The package has what a host needs, at its place, and lintian finds nothing that is not explained.
func TestPackage(t *testing.T) {
	if testing.Short() {
		return // it builds the program
	}
	const version = "9.8.7~test"
	deb, root := build(t, "slatefs", version)
	for path, mode := range map[string]os.FileMode{
		"usr/bin/slatefs":                                  0o755,
		"lib/systemd/system/slatefs@.service":              0o644,
		"lib/systemd/system/slatefs-exporter.service":      0o644,
		"etc/logrotate.d/slatefs":                          0o644,
		"etc/slatefs":                                      os.ModeDir | 0o755,
		"etc/slatefs/keys":                                 os.ModeDir | 0o700,
		"usr/share/man/man1/slatefs-pool-create.1.gz":      0o644,
		"usr/share/man/man8/umount.fuse.slatefs.8.gz":      0o644,
		"usr/share/bash-completion/completions/slatefs":    0o644,
		"usr/share/zsh/vendor-completions/_slatefs":        0o644,
		"usr/share/fish/vendor_completions.d/slatefs.fish": 0o644,
		"usr/share/doc/slatefs/install.md":                 0o644,
		"usr/share/doc/slatefs/examples/lab.env":           0o644,

		"usr/share/doc/slatefs/examples/prometheus-alerts.yml": 0o644,
		"usr/share/doc/slatefs/examples/grafana-slatefs.json":  0o644,
	} {
		if st, err := os.Lstat(filepath.Join(root, path)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v; want mode %v", path, st, err, mode)
		}
	}
	for _, helper := range []string{"mount.slatefs", "mount.fuse.slatefs", "umount.slatefs", "umount.fuse.slatefs"} {
		to, err := filepath.EvalSymlinks(filepath.Join(root, "usr/sbin", helper))
		if err != nil || to != filepath.Join(root, "usr/bin/slatefs") {
			t.Errorf("%s is %s, %v", helper, to, err)
		}
	}
	program := filepath.Join(root, "usr/bin/slatefs")
	if got := tool(t, program, "--version"); got != "slatefs "+version+"\n" {
		t.Errorf("the program says %q", got)
	}
	if got := tool(t, "dpkg-deb", "-f", deb, "Version"); got != version+"-1\n" {
		t.Errorf("the package is of version %q", got)
	}
	if text := tool(t, "file", program); !strings.Contains(text, "statically linked") || !strings.Contains(text, ", stripped") {
		t.Errorf("the program is not static and stripped: %s", text)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		tool(t, "sh", "-n", filepath.Join(root, "DEBIAN", script))
	}
	if text := tool(t, "lintian", "--allow-root", "--fail-on=none", "--tag-display-limit=0", deb); text != "" {
		t.Errorf("lintian says\n%s", text)
	}
}

// The plugin of Proxmox VE is a package of its own, which hurts nobody who has no Proxmox.
func TestProxmoxPackage(t *testing.T) {
	if testing.Short() {
		return // it builds the program
	}
	const version = "9.8.7~test"
	deb, root := build(t, "slatefs-proxmox", version)
	plugin, err := os.ReadFile(filepath.Join(root, "usr/share/perl5/PVE/Storage/Custom/SlatefsPlugin.pm"))
	source, sourceErr := os.ReadFile("proxmox/SlatefsPlugin.pm")
	if err != nil || sourceErr != nil || !bytes.Equal(plugin, source) {
		t.Errorf("the plugin in the package: %v, %v, %d and %d bytes", err, sourceErr, len(plugin), len(source))
	}
	if got, want := tool(t, "dpkg-deb", "-f", deb, "Depends"), "slatefs (>= "+version+"-1), libpve-storage-perl\n"; got != want {
		t.Errorf("it depends on %q, want %q", got, want)
	}
	if scripts, err := filepath.Glob(filepath.Join(root, "DEBIAN/*inst")); err != nil || len(scripts) > 0 {
		t.Errorf("scripts that would run: %v, %v", scripts, err)
	}
	if text := tool(t, "lintian", "--allow-root", "--fail-on=none", "--tag-display-limit=0", deb); text != "" {
		t.Errorf("lintian says\n%s", text)
	}
}

// No script of the package stops or restarts a daemon, and each override of lintian's has a reason above it.
func TestPackageRestartsNothing(t *testing.T) {
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		b, err := os.ReadFile(filepath.Join("debian", script))
		if err != nil {
			t.Fatal(err)
		}
		if at := regexp.MustCompile(`systemctl[^\n]* (stop|restart|try-restart|kill)\b|\bkill\b`).Find(b); at != nil {
			t.Errorf("%s: %s", script, at)
		}
	}
	b, err := os.ReadFile("debian/lintian-overrides")
	if err != nil {
		t.Fatal(err)
	}
	explained := false
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "#") && !explained {
			t.Errorf("no reason for: %s", line)
		}
		explained = strings.HasPrefix(line, "#")
	}
}
