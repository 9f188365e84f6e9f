package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// machineID tells this host from others that reach the same disks: /etc/machine-id, or, where there is none, a number that
// is made once and kept with the state.
func (h host) machineID() (id uuid, err error) {
	for _, path := range []string{"/etc/machine-id", h.idPath()} {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return id, err
		}
		if id, err := parseUUID(strings.TrimSpace(string(b))); err == nil && id != (uuid{}) {
			return id, nil
		}
	}
	if id, err = newUUID(); err != nil {
		return id, err
	}
	if err := os.MkdirAll(h.state, 0o755); err != nil {
		return id, err
	}
	if err := os.WriteFile(h.idPath(), []byte(hex.EncodeToString(id[:])+"\n"), 0o644); err != nil {
		return id, fmt.Errorf("this host has no /etc/machine-id, and none can be kept: %w", err)
	}
	return id, nil
}

func (h host) idPath() string { return filepath.Join(h.state, "host-id") }
