package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each command that docs/recovery.md gives is one that a script has tried, word for word, but for names and directories.
func TestRecoveryPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/recovery.md")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, pattern := range []string{"testdata/*.txtar", "testdata/mount/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			scripts.Write(b)
		}
	}
	commands := regexp.MustCompile("`(slatefs [^`]+)`").FindAllSubmatch(page, -1)
	if len(commands) < 10 {
		t.Fatalf("%d commands", len(commands))
	}
	name := regexp.MustCompile(`\b[A-Z]{3,}\b`)
	for _, c := range commands {
		words := name.ReplaceAllString(regexp.QuoteMeta(string(c[1])), `\S+`)
		if !regexp.MustCompile(`(?m)\b` + words + `(\s|['"]|$)`).MatchString(scripts.String()) {
			t.Errorf("%s: no script tries that", c[1])
		}
	}
}
