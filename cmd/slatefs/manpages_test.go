package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Each command has a page, which says all that its help says and which groff takes without a word.
func TestManPages(t *testing.T) {
	a := &app{host: testHost(t)}
	dir := t.TempDir()
	if err := a.execute(t.Context(), []string{"__man", dir}); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range documented(cmd) {
			walk(sub)
		}
		seen++
		b, err := os.ReadFile(filepath.Join(dir, pageName(cmd)+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		for line := range strings.SplitSeq(cmd.Long+"\n"+cmd.Example, "\n") {
			if !strings.Contains(string(b), roff(line)+"\n") {
				t.Errorf("the page of %s does not say: %s", cmd.CommandPath(), line)
			}
		}
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(string(b), roff("--"+f.Name)) {
				t.Errorf("the page of %s does not name --%s", cmd.CommandPath(), f.Name)
			}
		})
	}
	walk(a.root())
	if seen != len(pages) {
		t.Errorf("%d commands have %d pages", seen, len(pages))
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("!!! NOT TESTED: how groff likes the pages: ", err)
	}
	for _, page := range pages {
		// As lintian does.
		out, err := exec.Command("groff", "-mandoc", "-Kutf8", "-Tutf8", "-rLL=117n", "-ww", "-z", page).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", filepath.Base(page), err, out)
		}
	}
}

// What roff would take for its own is text.
func TestRoff(t *testing.T) {
	for in, want := range map[string]string{
		".TH":       `\&.TH`,
		"'quoted'":  `\&'quoted'`,
		`a\fBb`:     `a\efBb`,
		"--force -": `\-\-force \-`,
		"  .x":      "  .x",
	} {
		if got := roff(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	if got, want := manText("one\ntwo\n\n  a  b\n  c  d\nthree"), "one\ntwo\n.PP\n.nf\n  a  b\n  c  d\n.fi\nthree\n"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
}
