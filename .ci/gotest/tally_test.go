package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// stream writes lines to a new tally in pieces of n bytes.
func stream(w io.Writer, n int, lines ...string) *tally {
	t := newTally(w, false)
	s := strings.Join(lines, "\n")
	for len(s) > 0 {
		k := min(n, len(s))
		_, _ = t.Write([]byte(s[:k]))
		s = s[k:]
	}
	t.close()
	return t
}

func TestTally(t *testing.T) {
	lines := []string{
		`{"Action":"start","Package":"p"}`,
		`{"Action":"run","Package":"p","Test":"A"}`,
		`{"Action":"output","Package":"p","Test":"A","Output":"secret of a passed test\n"}`,
		`{"Action":"pass","Package":"p","Test":"A"}`,
		`{"Action":"run","Package":"p","Test":"B"}`,
		`{"Action":"output","Package":"p","Test":"B","Output":"=== RUN   B\n"}`,
		`{"Action":"output","Package":"p","Test":"B","Output":"    b_test.go:3: some log\n"}`,
		`{"Action":"output","Package":"p","Test":"B","Output":"    b_test.go:4: no fuse here:\n"}`,
		`{"Action":"output","Package":"p","Test":"B","Output":"        needs the guest kernel\n"}`,
		`{"Action":"output","Package":"p","Test":"B","Output":"--- SKIP: B (0.00s)\n"}`,
		`{"Action":"skip","Package":"p","Test":"B"}`,
		`{"Action":"run","Package":"p","Test":"C"}`,
		`{"Action":"skip","Package":"p","Test":"C"}`,
		`{"Action":"run","Package":"p","Test":"D"}`,
		`{"Action":"output","Package":"p","Test":"D","Output":"d is wrong\n"}`,
		`{"Action":"fail","Package":"p","Test":"D"}`,
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`,
		`{"Action":"fail","Package":"p"}`,
		`{"Action":"build-output","ImportPath":"q","Output":"q.go:1: no\n"}`,
		`{"Action":"fail","Package":"q"}`,
		`{"Action":"run","Package":"r","Test":"E"}`,
		`not json`,
	}
	for _, n := range []int{1, 7, 1 << 20} {
		var out strings.Builder
		c := stream(&out, n, lines...)
		if c.passed != 1 || c.failed != 3 || c.skipped != 2 {
			t.Errorf("pieces of %d: %d passed, %d failed, %d skipped; want 1, 3, 2", n, c.passed, c.failed, c.skipped)
		}
		if want := "b_test.go:4: no fuse here: needs the guest kernel"; c.skips[0].reason != want {
			t.Errorf("reason %q, want %q", c.skips[0].reason, want)
		}
		if c.skips[1].reason != "no reason given" || c.forbidden() != 1 {
			t.Errorf("skips %v, %d forbidden", c.skips, c.forbidden())
		}
		for _, want := range []string{"d is wrong\n", "q.go:1: no\n", "r E did not finish\n", "not json\n", "FAIL\tp"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("output lacks %q:\n%s", want, out.String())
			}
		}
		if strings.Contains(out.String(), "secret") {
			t.Errorf("a passed test was printed:\n%s", out.String())
		}
	}
}

func TestVerdict(t *testing.T) {
	const pass, skipped = `{"Action":"pass","Package":"p","Test":"A"}`, `{"Action":"skip","Package":"p","Test":"B"}`
	for _, c := range []struct {
		lines  []string
		err    error
		strict bool
		want   string
	}{
		{[]string{pass}, nil, true, "ok"},
		{[]string{pass}, errors.New("exit status 1"), false, "failed"},
		{nil, nil, false, "no tests"},
		{[]string{pass, skipped}, nil, false, "ok"},
		{[]string{pass, skipped}, nil, true, "skips"},
		{[]string{pass, `{"Action":"fail","Package":"p","Test":"C"}`}, nil, false, "failed"},
	} {
		if got := stream(io.Discard, 64, c.lines...).verdict(c.err, c.strict); got != c.want {
			t.Errorf("%v, %v, strict %v: %q, want %q", c.lines, c.err, c.strict, got, c.want)
		}
	}
}
