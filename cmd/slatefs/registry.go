package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"slatefs/cmd/slatefs/internal/show"
)

// known is a pool that was made or mounted on this host; it need not be there any more.
type known struct {
	UUID   uuid.UUID `json:"uuid"`
	Name   string    `json:"name"`
	Device string    `json:"device"`     // absolute path
	Dir    string    `json:"mountpoint"` // where it was mounted last; empty: never
}

func (h host) poolDir() string { return filepath.Join(h.state, "pools") }

// register makes a pool known, or corrects what is known of it. The file is replaced as a whole.
func (h host) register(k known) error {
	if err := os.MkdirAll(h.poolDir(), 0o755); err != nil {
		return fmt.Errorf("register pool %s: %w", k.Name, err)
	}
	b, err := show.Encode(k)
	if err != nil {
		return err
	}
	if err := writeWhole(filepath.Join(h.poolDir(), k.UUID.String()), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("register pool %s: %w", k.Name, err)
	}
	return nil
}

// forget takes a pool out of the known ones.
func (h host) forget(id uuid.UUID) error {
	path := filepath.Join(h.poolDir(), id.String())
	if err := os.Remove(path); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil // there is no entry
		}
		return err
	}
	return syncDir(h.poolDir())
}

// forget takes a pool that is gone out of the known ones. An entry that stays is warned of: it harms nobody.
func (a *app) forget(id uuid.UUID) {
	if err := a.host.forget(id); err != nil {
		a.warnOnce("the pool is gone, but its entry stays: %v", err)
	}
}

// pools lists the known pools by name. Files that are not of the registry's are passed over. unread says of each entry that
// can't be read why: the registry only helps to find pools, so that one bad entry keeps nobody from another pool.
func (h host) pools() (list []known, unread []error) {
	entries, err := os.ReadDir(h.poolDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		unread = append(unread, err)
	}
	for _, e := range entries {
		id, err := uuid.Parse(e.Name())
		if err != nil {
			continue
		}
		k, err := readKnown(filepath.Join(h.poolDir(), e.Name()))
		if err == nil && k.UUID != id {
			err = fmt.Errorf("%s: is of another pool, %v", filepath.Join(h.poolDir(), e.Name()), k.UUID)
		}
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) { // it went meanwhile
				unread = append(unread, err)
			}
			continue
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b known) int { return strings.Compare(a.Name, b.Name) })
	return list, unread
}

// knownAs is the known pool of a UUID.
func (h host) knownAs(id uuid.UUID) (known, error) {
	k, err := readKnown(filepath.Join(h.poolDir(), id.String()))
	if err == nil && k.UUID != id {
		err = fmt.Errorf("%v: is of another pool", id)
	}
	return k, err
}

// maxKnown bounds an entry of the registry, in bytes.
const maxKnown = 1 << 20

// readKnown reads an entry of the registry. What is no plain file is not opened: a FIFO would hold us.
func readKnown(path string) (k known, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return k, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxKnown {
		return k, fmt.Errorf("%s: is no entry of the registry", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	if len(b) == 0 {
		return k, fmt.Errorf("%s: is empty", path)
	}
	if err := show.Decode(b, &k); err != nil {
		return k, fmt.Errorf("%s: is no entry of the registry: %w", path, err)
	}
	return k, nil
}

// knownPools lists the known pools by name, and tells once of each entry that can't be read.
func (a *app) knownPools() []known {
	list, unread := a.host.pools()
	for _, err := range unread {
		if a.child {
			break
		}
		a.warnOnce("a pool that this host knew is passed over: %v", err)
	}
	return list
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

// named finds the known pool of a name. Two pools of one name are an error, none is errUnknownPool.
func (a *app) named(name string) (known, error) {
	list := slices.DeleteFunc(a.knownPools(), func(k known) bool { return k.Name != name })
	if len(list) > 1 { // those that are where they were
		here := slices.DeleteFunc(slices.Clone(list), func(k known) bool { return !a.stillThere(context.Background(), k) })
		if len(here) > 0 {
			list = here
		}
	}
	switch len(list) {
	case 0:
		return known{}, show.Hinted(fmt.Errorf("%s: %w", name, errUnknownPool), "slatefs pool list shows the known ones; a path starts with / or ./")
	case 1:
		return list[0], nil
	}
	return known{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the device, as %s",
		len(list), name, list[0].Device, list[1].Device, list[0].Device)
}

var errUnknownPool = errors.New("no pool of that name is known here")
