package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseFio(t *testing.T) {
	const side = `{"iops": %s, "total_ios": %s, "clat_ns": {"max": 9000, "percentile": {"50.000000": 2000, "99.000000": 4000}}}`
	out := func(read, write, code string) string {
		fill := func(n string) string { return strings.Replace(strings.Replace(side, "%s", n, 1), "%s", n, 1) }
		return `{"jobs": [{"error": ` + code + `, "read": ` + fill(read) + `, "write": ` + fill(write) + `}]}`
	}
	s, err := parseFio([]byte(out("70", "30", "0")))
	if err != nil || s != (sample{Value: 100, P50: 2, P99: 4, Max: 9}) {
		t.Errorf("%+v, %v", s, err)
	}
	for what, bad := range map[string]string{
		"an error": out("70", "30", "5"), "no request": out("0", "0", "0"), "no jobs": `{"jobs": []}`, "no JSON": "fio: what?",
	} {
		if s, err := parseFio([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", what, s)
		}
	}
}

// TestJudge: a target is missed below its least and above its most, and is left out where one side was not measured.
func TestJudge(t *testing.T) {
	res := &results{}
	add := func(name, peer string, values ...float64) {
		for _, v := range values {
			res.add(row{name: name}, peer, sample{Value: v}, nil)
		}
	}
	add("read 4K, qd 32", native, 100, 90, 500) // the median is 100
	add("read 4K, qd 32", slate, 94)
	add("read 4K, qd 32", bare, 20)
	add(rowDeviceBytes, native, 1)
	add(rowDeviceBytes, slate, 1.2, 1.4)
	res.judge()
	got := map[string]bool{}
	for _, j := range res.Targets {
		got[j.Text] = j.Missed
	}
	want := map[string]bool{
		"read 4K, qd 32: slatefs over native":    true,  // .94
		"read 4K, qd 32: slatefs over bare":      false, // 4.7
		rowDeviceBytes + ": slatefs over native": true,  // 1.3
	} // nothing else was measured
	if len(got) != len(want) {
		t.Errorf("judged: %v", got)
	}
	for text, missed := range want {
		if m, ok := got[text]; !ok || m != missed {
			t.Errorf("%s: missed %v, judged %v", text, m, ok)
		}
	}
	if res.missed() != 2 {
		t.Errorf("%d missed", res.missed())
	}
}

// TestFailedRow: a row that fails is named with its error, its peer comes back, and all else is measured, judged and printed. Who
// interrupts has what was measured until then.
func TestFailedRow(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	old := rows
	t.Cleanup(func() { rows = old })
	broken := errors.New("no space\non the device")
	rounds := 0
	rows = []row{
		{name: "fails", op: func(_ context.Context, _ *ground, p peer) (sample, error) {
			if _, ok := p.(*nativePeer); ok {
				return sample{Value: 5}, nil
			}
			if rounds++; rounds == 2 { // what was measured in another round counts
				return sample{Value: 7}, nil
			}
			return sample{}, broken
		}},
		{name: rowMemory, unit: "MiB", op: func(context.Context, *ground, peer) (sample, error) { return sample{Value: 300}, nil }},
		{name: "interrupts", op: func(context.Context, *ground, peer) (sample, error) {
			if rounds == 3 {
				interrupt()
			}
			return sample{Value: 1}, ctx.Err()
		}},
	}
	sick := &healingPeer{}
	g := &ground{settings: settings{rounds: 9, rows: regexp.MustCompile(".")}, order: []string{native, slate}}
	g.peers = map[string]peer{native: &nativePeer{}, slate: sick}
	res := g.measure(ctx)
	res.judge()
	out := string(res.text(nil))
	for _, want := range []string{
		`(?m)^fails +native +5.00 requests/s`, `(?m)^ +slatefs +7.00 requests/s`, `(?m)^ +slatefs +failed: no space on the device$`,
		`(?m)^memory at most +native +300 MiB`, `(?m)^memory at most: MiB +<= 256.00 +300  missed$`, `interrupted`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("not printed: %s\n%s", want, out)
		}
	}
	if sick.healed != 2 || res.failed() != 2 {
		t.Errorf("healed %d times, %d runs failed", sick.healed, res.failed())
	}
	err := res.verdict()
	for _, want := range []error{errFailed, errMissed, errStopped} {
		if !errors.Is(err, want) {
			t.Errorf("verdict: %v, without %v", err, want)
		}
	}
}

// healingPeer counts how often it comes back.
type healingPeer struct {
	nativePeer
	healed int
}

func (p *healingPeer) heal(context.Context) error {
	p.healed++
	return nil
}

// TestCurves: a curve's last point is judged against its first, as a rate or as a wait, and both are drawn.
func TestCurves(t *testing.T) {
	res := &results{Peers: []string{slate}}
	values := map[string][]float64{"read 4K, qd 32, by layers": {100, 99, 97, 94}, "snapshot, by layers": {10, 9, 20, 14}}
	for _, r := range curveRows() {
		if v := values[r.curve]; v != nil {
			res.add(r, slate, sample{Value: v[0]}, nil)
			values[r.curve] = v[1:]
		}
	}
	res.judge()
	var got []string
	for _, j := range res.Targets {
		got = append(got, fmt.Sprintf("%s %s %.2f %v", j.Text, j.Want, j.Got, j.Missed))
	}
	want := []string{
		"read 4K, qd 32, by layers: 128 over 1 >= 0.95 0.94 true", "snapshot, by layers: 128 over 1 <= 1.50 1.40 false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("judged: %q", got)
	}
	if out := string(res.text(nil)); !strings.Contains(out, "  1: 1.00  8: 0.90  32: 2.00  128: 1.40\n") {
		t.Errorf("printed: %s", out)
	}
	svg := string(res.plot())
	if strings.Count(svg, "<polyline") != 2 || !strings.Contains(svg, "snapshot, by layers</text>") || !strings.Contains(svg, ">32: 2.00<") {
		t.Errorf("drawn: %s", svg)
	}
}

// TestTargetsNameRows: each target speaks of a row that there is.
func TestTargetsNameRows(t *testing.T) {
	names := map[string]bool{"": true}
	for _, r := range rows {
		if names[r.name] {
			t.Errorf("row %q is there twice", r.name)
		}
		names[r.name] = true
	}
	for _, g := range targets {
		if !names[g.row] || !names[g.toRow] {
			t.Errorf("%+v: no such row", g)
		}
	}
}

// TestRun measures two rows with two peers, on real mounts, and writes what it found.
func TestRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("no root: the bare peer mounts by itself (this is not for want of a guest kernel)")
	}
	dir, err := os.MkdirTemp("", "b") // t.TempDir's name is long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	program := filepath.Join(dir, "slatefs")
	if out, err := exec.Command("go", "build", "-o", program, "slatefs/cmd/slatefs").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bench := filepath.Join(dir, "bench") // the bare peer is a process of this program
	if out, err := exec.Command("go", "build", "-o", bench, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	js, svg := filepath.Join(dir, "r.json"), filepath.Join(dir, "r.svg")
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, bench, "-slatefs", program, "-dir", dir, "-quick", "-peers", "native,bare,slatefs", "-json", js,
		"-svg", svg, "-rows", "^(read 4K, qd 1|snapshot of a volume that is written)$")
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 1 { // targets may be missed here
		t.Fatalf("%v: %s", err, out)
	}
	res, err := readResults(js)
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range []string{native, bare, slate} {
		if res.value("read 4K, qd 1", peer) <= 0 {
			t.Errorf("%s has read nothing: %s", peer, out)
		}
	}
	if res.value(rowSnapshot, slate) <= 0 || res.value(rowSnapshot, native) != 0 {
		t.Errorf("the snapshot: %+v", res.row(rowSnapshot))
	}
	if b, err := os.ReadFile(svg); err != nil || !bytes.Contains(b, []byte("read 4K, qd 1</text>")) {
		t.Errorf("the plot: %v: %s", err, b)
	}
	if !regexp.MustCompile(`(?m)^read 4K, qd 1 +native +\d+ requests/s +1\.00 `).Match(out) {
		t.Errorf("printed: %s", out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "bench.*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
