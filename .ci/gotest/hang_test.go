package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHang: a command that hangs is asked for its goroutines and ended; one that takes longer than its budget is not.
func TestHang(t *testing.T) {
	const pass = `{"Action":"run","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"A"}`
	for _, c := range []struct {
		name, script         string
		stall, grace, budget time.Duration
		want                 string
	}{
		{"over budget", "echo '" + pass + "'", time.Hour, time.Hour, time.Nanosecond, "\tok\n"},
		{"hangs", "trap 'echo asked >asked; exit 2' QUIT; echo '" + pass + "'; sleep 100000; :", 3 * time.Second, time.Hour, time.Hour, "\thang\n"},
		{"hangs and does not listen", "trap '' QUIT; echo '" + pass + "'; sleep 100000; :", time.Second, time.Second, time.Hour, "\thang\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			results := filepath.Join(dir, "results")
			_, err := run(context.Background(), config{
				suite: "s", budget: c.budget, stall: c.stall, grace: c.grace, results: results,
				skips: filepath.Join(dir, "skips"), command: []string{"/bin/sh", "-c", c.script},
			})
			if err != nil {
				t.Fatal(err)
			}
			line, err := os.ReadFile(results)
			if err != nil || !strings.HasSuffix(string(line), c.want) {
				t.Errorf("recorded %q, %v; want …%q", line, err, c.want)
			}
			if _, err := os.Stat("asked"); (err == nil) != (c.name == "hangs") {
				t.Errorf("asked for its goroutines: %v", err)
			}
		})
	}
}
