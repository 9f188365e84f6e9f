package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pluginDir has the storage plugin of Proxmox VE and its tests in Perl.
const pluginDir = "../packaging/proxmox"

// TestProxmoxPlugin runs the tests of the storage plugin: against a stand-in of Proxmox' modules, and against those themselves
// where SLATEFS_PVE names their folders (packaging/proxmox/t/lib/Lab.pm says which).
func TestProxmoxPlugin(t *testing.T) {
	needsRoot(t) // chattr
	needs(t, "prove", "chattr", "qemu-img")
	if _, err := exec.Command("perl", "-MJSON", "-e", "1").Output(); err != nil {
		t.Skip("Perl's JSON is not installed")
	}
	upstream := os.Getenv("SLATEFS_PVE")
	for _, c := range []struct{ name, modules string }{{"stand-in", ""}, {"upstream", upstream}} {
		if c.name == "upstream" && upstream == "" {
			t.Log("SLATEFS_PVE is not set: not against Proxmox' own modules")
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.env = append(l.env, "SLATEFS="+program, "SLATEFS_LAB="+l.dir, "SLATEFS_PVE="+c.modules)
			tests, err := filepath.Abs(filepath.Join(pluginDir, "t"))
			must(t, err)
			r := l.exec("prove", "-v", tests)
			t.Logf("%v", r)
			if r.code != 0 || !strings.Contains(r.stdout, "Result: PASS") {
				t.Errorf("the tests of the plugin: exit %d", r.code)
			}
		})
	}
	if upstream != "" {
		t.Run("loaded by Proxmox itself", func(t *testing.T) { loadedByProxmox(t, upstream) })
	}
}

// loadedByProxmox lays the plugin where Proxmox looks for plugins, in a mount namespace, and has Proxmox load it: nothing may be
// said, and the plugin is there beside Proxmox' own.
func loadedByProxmox(t *testing.T, modules string) {
	l := newLab(t)
	custom := l.path("over/PVE/Storage/Custom")
	must(t, os.MkdirAll(custom, 0o755))
	plugin, err := filepath.Abs(filepath.Join(pluginDir, "SlatefsPlugin.pm"))
	must(t, err)
	l.tool("cp", plugin, custom)
	tests, err := filepath.Abs(filepath.Join(pluginDir, "t"))
	must(t, err)
	l.env = append(l.env, "SLATEFS="+program, "SLATEFS_LAB="+l.dir, "SLATEFS_PVE="+modules)
	const over = `mount -t overlay overlay -o lowerdir="$1":/usr/share/perl5 /usr/share/perl5 && exec perl -T "$2"`
	r := l.exec("unshare", "-m", "sh", "-c", over, "sh", l.path("over"), filepath.Join(tests, "lib/loader.pl"))
	if r.code != 0 || !strings.Contains(r.stdout, " slatefs ") || strings.Contains(r.stderr, "Slatefs") {
		t.Error(r)
	}
	t.Log(r.stdout)
}
