package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testName = regexp.MustCompile(`\bTest[A-Z]\w+`)

// testsOfTree are the names of all tests in Go.
func testsOfTree(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func Test\w+\(t `, "../..").Output()
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, name := range testName.FindAllString(string(out), -1) {
		tests[name] = true
	}
	return tests
}

// rowsBelow are the cells of the rows of the table that follows a heading, without its head.
func rowsBelow(t *testing.T, path, heading string) (rows [][]string) {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(doc), "\n"+heading+"\n")
	part, _, _ = strings.Cut(part, "\n## ")
	for line := range strings.Lines(part) {
		if row, ok := strings.CutPrefix(strings.TrimSpace(line), "|"); ok {
			cells := strings.Split(strings.TrimSuffix(row, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) < 10 {
		t.Fatalf("%s: %q has %d rows", path, heading, len(rows))
	}
	return rows[2:]
}

// TestTruthTable: what docs/proxmox.md says of each thing in Proxmox VE is yes or no; for each yes it names a test that is there, in Go
// or among those of the plugin in Perl, and for each no it has a reason.
func TestTruthTable(t *testing.T) {
	tests := testsOfTree(t)
	subtests := map[string]bool{}
	files, err := filepath.Glob("../../packaging/proxmox/t/*.t")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	subtest := regexp.MustCompile(`(?m)^subtest (?:'([^']+)'|"([^"]+)") => sub`)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range subtest.FindAllStringSubmatch(string(b), -1) {
			subtests[m[1]+m[2]] = true
		}
	}
	slanted := regexp.MustCompile(`\*([^*]+)\*`)
	for _, row := range rowsBelow(t, "../../docs/proxmox.md", "## What works, and what does not") {
		if len(row) != 4 {
			t.Errorf("%q: %d cells", row[0], len(row))
			continue
		}
		inGo := testName.FindAllString(row[3], -1)
		inPerl := slanted.FindAllStringSubmatch(row[3], -1)
		for _, name := range inGo {
			if !tests[name] {
				t.Errorf("%q names %s, which is not there", row[0], name)
			}
		}
		for _, m := range inPerl {
			if !subtests[m[1]] {
				t.Errorf("%q names the subtest %q of the plugin, which is not there", row[0], m[1])
			}
		}
		reason := slanted.ReplaceAllString(testName.ReplaceAllString(row[3], ""), "")
		for i, says := range row[1:3] {
			switch word, _, _ := strings.Cut(says, ","); word {
			case "yes":
				if len(inGo) == 0 && (i == 0 || len(inPerl) == 0) {
					t.Errorf("%q: %q, and no test", row[0], says)
				}
			case "no":
				if len(strings.Trim(reason, " ,;:.")) < 20 {
					t.Errorf("%q: no, and no reason but %q", row[0], reason)
				}
			default:
				t.Errorf("%q: neither yes nor no: %q", row[0], says)
			}
		}
	}
}

// TestTableOfQemu: each thing that works with qemu has a test that is there.
func TestTableOfQemu(t *testing.T) {
	tests := testsOfTree(t)
	for _, row := range rowsBelow(t, "../../docs/qemu.md", "## What works") {
		names := testName.FindAllString(row[len(row)-1], -1)
		if len(row) != 2 || len(names) == 0 {
			t.Errorf("%q: no test", row)
		}
		for _, name := range names {
			if !tests[name] {
				t.Errorf("%q names %s, which is not there", row[0], name)
			}
		}
	}
}
