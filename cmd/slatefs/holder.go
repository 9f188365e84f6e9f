package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// asHolder is this host as it stands in the superblock of a pool that it opens now.
func asHolder(h host.Host, now time.Time) (*chain.Host, error) {
	id, err := h.MachineID()
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	return &chain.Host{Machine: id, Since: now, Name: name}, err
}

// heldElsewhere refuses what would take a pool from another host.
func heldElsewhere(h host.Host, i chain.Identity) error {
	id, err := h.MachineID()
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
