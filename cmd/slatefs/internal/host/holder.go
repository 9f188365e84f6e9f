package host

import (
	"errors"
	"os"
	"time"

	"slatefs/chain/super"
	"slatefs/cmd/slatefs/internal/show"
)

// AsHolder is this host as it stands in the superblock of a pool that it opens now.
func (h Host) AsHolder(now time.Time) (*super.Host, error) {
	id, err := h.MachineID()
	if err != nil {
		return nil, err
	}
	name, err := os.Hostname()
	return &super.Host{Machine: id, Since: now, Name: name}, err
}

// HeldElsewhere refuses, as super.ErrHeld with a hint, what would take a pool from the host that has it.
func (h Host) HeldElsewhere(pool string, by super.Host) error {
	id, err := h.MachineID()
	if err != nil {
		return err
	}
	return TakeOverHint((&super.Block{Name: pool, Host: by}).MayHold(id), pool)
}

// TakeOverHint adds to a super.ErrHeld what must be true before a pool is taken from its host.
func TakeOverHint(err error, pool string) error {
	if !errors.Is(err, super.ErrHeld) {
		return err
	}
	return show.Hinted(err, "unmount it there; or, once that host is surely off or fenced, slatefs mount --take-over %s DIR", pool)
}
