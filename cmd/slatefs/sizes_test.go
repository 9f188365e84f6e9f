package main

import (
	"errors"
	"testing"
)

// A bad size is a usage error that says what is wanted, and nothing of the engine's.
func TestParseSize(t *testing.T) {
	_, err := parseSize("20GB")
	var u *usageError
	if !errors.As(err, &u) || err.Error() != `size "20GB": use 20G` {
		t.Errorf("20GB: %v", err)
	}
	if n, err := parseSize("20G"); err != nil || n != 20<<30 {
		t.Errorf("20G: %d, %v", n, err)
	}
}
