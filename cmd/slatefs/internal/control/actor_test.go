package control

import (
	"strings"
	"testing"
)

func TestCleanActor(t *testing.T) {
	for in, want := range map[string]string{
		"root@pam": "root@pam", "a, b\nc": "a_ b_c", strings.Repeat("x", 500): strings.Repeat("x", maxActor), strings.Repeat("ü", 100): strings.Repeat("ü", 64),
	} {
		if got := cleanActor(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
