package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	unitFile     = "systemd/slatefs@.service"
	exporterFile = "systemd/slatefs-exporter.service"
)

// instance is a copy of the unit for the pool lab, whose programs are there.
func instance(t *testing.T) string { return copyOf(t, unitFile, "slatefs@lab.service") }

// copyOf is a copy of a unit by a name, whose programs are there.
func copyOf(t *testing.T, unit, name string) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("!!! NOT TESTED: the unit: ", err)
	}
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	text := strings.ReplaceAll(string(b), "/usr/bin/slatefs", "/bin/true")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// systemd understands the units, and has nothing to say about them.
func TestUnitVerifies(t *testing.T) {
	for _, unit := range []string{instance(t), copyOf(t, exporterFile, "slatefs-exporter.service")} {
		out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify %s: %v\n%s", unit, err, out)
		}
	}
}

// The exporter mounts nothing, so nothing keeps it from being shut in: what it could do is what it needs for lvm2 and a socket.
func TestExporterIsShutIn(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=30",
		copyOf(t, exporterFile, "slatefs-exporter.service")).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The host sees the mount: no setting gives the daemon a mount namespace. (systemd.exec(5) says which do.)
func TestUnitHasNoMountNamespace(t *testing.T) {
	b, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`(?m)^(Private(Tmp|Devices|IPC)|Protect(System|Home|Proc|Kernel\w+|ControlGroups)|ProcSubset|` +
		`(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec)Paths|Bind(ReadOnly)?Paths|Root\w+|TemporaryFileSystem|MountFlags|MountImages|` +
		`ExtensionImages|ExtensionDirectories|DynamicUser|LogNamespace)=`)
	if found := own.FindAllString(string(b), -1); len(found) > 0 {
		t.Errorf("%q would hide the mount from the host", found)
	}
	if !strings.Contains(string(b), "\nPrivateMounts=no\n") {
		t.Error("PrivateMounts=no is not there")
	}
}

// Each exposure that systemd-analyze finds is explained, and nothing is explained that is none.
func TestExposuresAreExplained(t *testing.T) {
	out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--json=short", instance(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name     string
		Set      bool
		Exposure *string
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, docs, _ := strings.Cut(string(b), "### What the unit may do")
	docs, _, _ = strings.Cut(docs, "\n## ")
	docs = strings.ReplaceAll(docs, `\|`, "|")
	exposed := map[string]bool{}
	for _, e := range list {
		exposed[e.Name] = !e.Set && e.Exposure != nil
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*`) \\| ").FindAllStringSubmatch(docs, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			if !exposed[name[1]] {
				t.Errorf("docs/install.md explains %s, which systemd-analyze does not find", name[1])
			}
		}
	}
	for _, e := range list {
		if !e.Set && e.Exposure != nil && !strings.Contains(docs, "`"+e.Name+"`") {
			t.Errorf("docs/install.md does not say why %s is not set (exposure %s)", e.Name, *e.Exposure)
		}
	}
}

// What the examples set, the unit uses.
func TestExamples(t *testing.T) {
	unit, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	env, err := os.ReadFile("examples/lab.env")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^#?([A-Z]+)=`).FindAllStringSubmatch(string(env), -1)
	if len(names) != 3 {
		t.Errorf("the example sets %v", names)
	}
	for _, m := range names {
		if !strings.Contains(string(unit), "${"+m[1]+"}") {
			t.Errorf("the unit does not use %s", m[1])
		}
	}
}
