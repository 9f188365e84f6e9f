package control

import (
	"runtime/debug"
	"testing"
)

// A version names the build, or says that nobody has named it.
func TestVersion(t *testing.T) {
	module := func(v string) *debug.BuildInfo { return &debug.BuildInfo{Main: debug.Module{Version: v}} }
	for _, c := range []struct {
		stamp string
		info  *debug.BuildInfo
		want  string
	}{
		{"1.2.3", module("v9.9.9"), "1.2.3"},
		{"", module("v0.1.0"), "v0.1.0"},
		{"", module("(devel)"), unstamped},
		{"", module(""), unstamped},
		{"", nil, unstamped},
	} {
		if got := versionOf(c.stamp, c.info); got != c.want {
			t.Errorf("stamp %q, build %+v: version %q, want %q", c.stamp, c.info, got, c.want)
		}
	}
	if Version() == "" {
		t.Error("this binary has no version")
	}
}
