package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/show"
)

// machineID tells this host from others that reach the same disks: /etc/machine-id, or, where there is none, a number that
// is made once and kept with the state.
func (h host) machineID() (id uuid.UUID, err error) {
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
	if err := os.MkdirAll(h.state, 0o755); err != nil {
		return id, err
	}
	if err := writeWhole(h.idPath(), []byte(hex.EncodeToString(id[:])+"\n"), 0o644); err != nil {
		return id, fmt.Errorf("this host has no /etc/machine-id, and none can be kept: %w", err)
	}
	return id, nil
}

func (h host) idPath() string { return filepath.Join(h.state, "host-id") }

// asHolder is this host as it stands in the superblock of a pool that it opens now.
func (h host) asHolder(now time.Time) (*chain.Host, error) {
	id, err := h.machineID()
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	return &chain.Host{Machine: id, Since: now, Name: name}, err
}

// heldElsewhere refuses what would take a pool from another host.
func (h host) heldElsewhere(i chain.Identity) error {
	id, err := h.machineID()
	if err != nil || i.Host.None() || i.Host.Machine == id {
		return err
	}
	return takeOverHint(fmt.Errorf("pool %s is held by host %v: %w", i.Name, i.Host, chain.ErrHeld), i.Name)
}

// takeOverHint says what must be true before a pool is taken from its host.
func takeOverHint(err error, pool string) error {
	if !errors.Is(err, chain.ErrHeld) {
		return err
	}
	return show.Hinted(err, "unmount it there; or, once that host is surely off or fenced, slatefs mount --take-over %s DIR", pool)
}
