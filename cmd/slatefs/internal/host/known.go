package host

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/show"
)

// KnownPools lists the known pools by name, and warns of each entry that can't be read.
func (h Host) KnownPools() []Known {
	list, unread := h.Pools()
	for _, err := range unread {
		if h.Child {
			break
		}
		h.Warn("a pool that this host knew is passed over: %v", err)
	}
	return list
}

// Named finds the known pool of a name. Two pools of one name are an error, none is ErrUnknown.
func (h Host) Named(name string) (Known, error) {
	list := slices.DeleteFunc(h.KnownPools(), func(k Known) bool { return k.Name != name })
	if len(list) > 1 { // those that are where they were
		here := slices.DeleteFunc(slices.Clone(list), func(k Known) bool { return !h.StillThere(context.Background(), k) })
		if len(here) > 0 {
			list = here
		}
	}
	switch len(list) {
	case 0:
		return Known{}, show.Hinted(fmt.Errorf("%s: %w", name, ErrUnknown),
			"slatefs pool list shows the known ones; a path starts with / or ./")
	case 1:
		return list[0], nil
	}
	return Known{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the device, as %s",
		len(list), name, list[0].Device, list[1].Device, list[0].Device)
}

// ErrUnknown is for a name that no known pool has.
var ErrUnknown = errors.New("no pool of that name is known here")

// Drop takes a pool that is gone out of the known ones. An entry that stays is warned of: it harms nobody.
func (h Host) Drop(id uuid.UUID) {
	if err := h.Forget(id); err != nil {
		h.Warn("the pool is gone, but its entry stays: %v", err)
	}
}

// Paren is a UUID as it stands behind a name.
func Paren(id uuid.UUID) string { return "(" + id.String() + ")" }
