package exporter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the package brings for Prometheus and Grafana.
const (
	alertsDir = "../../../../packaging/prometheus"
	dashboard = "../../../../packaging/grafana/slatefs.json"
	runbooks  = "../../../../docs/operations.md"
)

// promtool runs Prometheus' tool, which must have nothing to complain of.
func promtool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("!!! NOT TESTED: alerts and dashboard: ", err)
	}
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("promtool %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// known are the names that a scrape can have.
func known() map[string]bool {
	names := map[string]bool{"up": true}
	for name := range New(options(nil, nil)).descs {
		names[name] = true
	}
	for _, h := range histograms {
		names[h.name+"_bucket"], names[h.name+"_sum"], names[h.name+"_count"] = true, true, true
	}
	return names
}

var (
	aName    = regexp.MustCompile(`slatefs_\w+`)
	anAlert  = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	aTest    = regexp.MustCompile(`(?m)^ +alertname: (\w+)$`)
	aRunbook = regexp.MustCompile(`(?m)^ +runbook_url: 'file:///usr/share/doc/slatefs/operations\.md#([a-z-]+)'$`)
	aHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// TestAlerts: each alert names what is told, has a runbook, and a test in which it comes, and comes for nothing else.
func TestAlerts(t *testing.T) {
	text, tests := readText(t, filepath.Join(alertsDir, "alerts.yml")), readText(t, filepath.Join(alertsDir, "alerts_test.yml"))
	var alerts, tested []string
	for _, m := range anAlert.FindAllStringSubmatch(text, -1) {
		alerts = append(alerts, m[1])
	}
	for _, m := range aTest.FindAllStringSubmatch(tests, -1) {
		tested = append(tested, m[1])
	}
	if !slices.Equal(alerts, tested) || len(alerts) == 0 {
		t.Errorf("alerts   %v\ntested are %v", alerts, tested)
	}
	names := known()
	for _, name := range aName.FindAllString(text, -1) {
		if !names[name] {
			t.Errorf("alerts.yml: nobody tells %s", name)
		}
	}
	books := aRunbook.FindAllStringSubmatch(text, -1)
	if len(books) != len(alerts) {
		t.Errorf("%d alerts have %d runbooks", len(alerts), len(books))
	}
	docs, err := os.ReadFile(runbooks)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, m := range aHeading.FindAllStringSubmatch(string(docs), -1) {
		anchors[strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	for _, b := range books {
		if err == nil && !anchors[b[1]] {
			t.Errorf("docs/operations.md has no heading for %s", b[1])
		}
	}
	promtool(t, alertsDir, "check", "rules", "alerts.yml")
	promtool(t, alertsDir, "test", "rules", "alerts_test.yml")
}

// TestDashboard: each panel asks for what is told, in words that Prometheus understands.
func TestDashboard(t *testing.T) {
	var d struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, dashboard)), &d); err != nil || len(d.Panels) == 0 {
		t.Fatalf("%v: %d panels", err, len(d.Panels))
	}
	names, seen := known(), map[int]bool{}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	for _, p := range d.Panels {
		if seen[p.ID] || len(p.Targets) == 0 {
			t.Errorf("panel %q has a number twice, or asks nothing", p.Title)
		}
		seen[p.ID] = true
		for i, target := range p.Targets {
			for _, name := range aName.FindAllString(target.Expr, -1) {
				if !names[name] {
					t.Errorf("panel %q: nobody tells %s", p.Title, name)
				}
			}
			expr := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$pool", ".*").Replace(target.Expr)
			fmt.Fprintf(&rules, "      - record: panel_%d_%d\n        expr: %q\n", p.ID, i, expr)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "panels.yml"), []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "check", "rules", "panels.yml")
}
