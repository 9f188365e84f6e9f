package host

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// MachineID tells this host from others that reach the same disks: /etc/machine-id, or, where there is none, a number that
// is made once and kept with the state.
func (h Host) MachineID() (id uuid.UUID, err error) {
	for _, path := range []string{"/etc/machine-id", h.idPath()} {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return id, err
		}
		if id, err := uuid.Parse(strings.TrimSpace(string(b))); err == nil && id != uuid.Nil {
			return id, nil
		}
	}
	if id, err = uuid.NewRandom(); err != nil {
		return id, err
	}
	if err := os.MkdirAll(h.State, 0o755); err != nil {
		return id, err
	}
	if err := WriteWhole(h.idPath(), []byte(hex.EncodeToString(id[:])+"\n"), 0o644); err != nil {
		return id, fmt.Errorf("this host has no /etc/machine-id, and none can be kept: %w", err)
	}
	return id, nil
}

func (h Host) idPath() string { return filepath.Join(h.State, "host-id") }
