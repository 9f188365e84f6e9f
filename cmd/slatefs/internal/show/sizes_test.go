package show

import (
	"errors"
	"testing"
)

// A bad size is a usage error that says what is wanted, and nothing of the engine's.
func TestParseSize(t *testing.T) {
	_, err := ParseSize("20GB")
	var u *UsageError
	if !errors.As(err, &u) || err.Error() != `size "20GB": sizes are binary, use 20G` {
		t.Errorf("20GB: %v", err)
	}
	if n, err := ParseSize("20G"); err != nil || n != 20<<30 {
		t.Errorf("20G: %d, %v", n, err)
	}
}
