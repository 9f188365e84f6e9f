package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// knownPools lists the known pools by name, and tells once of each entry that can't be read.
func (a *app) knownPools() []host.Known {
	list, unread := a.host.Pools()
	for _, err := range unread {
		if a.child {
			break
		}
		a.warnOnce("a pool that this host knew is passed over: %v", err)
	}
	return list
}

// named finds the known pool of a name. Two pools of one name are an error, none is errUnknownPool.
func (a *app) named(name string) (host.Known, error) {
	list := slices.DeleteFunc(a.knownPools(), func(k host.Known) bool { return k.Name != name })
	if len(list) > 1 { // those that are where they were
		here := slices.DeleteFunc(slices.Clone(list), func(k host.Known) bool { return !a.stillThere(context.Background(), k) })
		if len(here) > 0 {
			list = here
		}
	}
	switch len(list) {
	case 0:
		return host.Known{}, show.Hinted(fmt.Errorf("%s: %w", name, errUnknownPool), "slatefs pool list shows the known ones; a path starts with / or ./")
	case 1:
		return list[0], nil
	}
	return host.Known{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the device, as %s",
		len(list), name, list[0].Device, list[1].Device, list[0].Device)
}

var errUnknownPool = errors.New("no pool of that name is known here")

// forget takes a pool that is gone out of the known ones. An entry that stays is warned of: it harms nobody.
func (a *app) forget(id uuid.UUID) {
	if err := a.host.Forget(id); err != nil {
		a.warnOnce("the pool is gone, but its entry stays: %v", err)
	}
}

// warnOnce tells something on stderr that keeps nothing from being done, once in a command.
func (a *app) warnOnce(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if slices.Contains(a.warned, text) {
		return
	}
	a.warned = append(a.warned, text)
	_ = a.note("warning: %s", text) //nolint:errcheck // what is warned of keeps nothing from being done
}
