package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// known is a pool that was made or mounted on this host; it need not be there any more.
type known struct {
	UUID   uuid   `json:"uuid"`
	Name   string `json:"name"`
	Device string `json:"device"`     // absolute path
	Dir    string `json:"mountpoint"` // where it was mounted last; empty: never
}

func (h host) poolDir() string { return filepath.Join(h.state, "pools") }

// register makes a pool known, or corrects what is known of it. The file is replaced as a whole.
func (h host) register(k known) error {
	if err := os.MkdirAll(h.poolDir(), 0o755); err != nil {
		return fmt.Errorf("register pool %s: %w", k.Name, err)
	}
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(h.poolDir(), k.UUID.String())
	tmp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("register pool %s: %w", k.Name, err)
	}
	return os.Rename(tmp, path)
}

// forget takes a pool out of the known ones.
func (h host) forget(id uuid) error {
	err := os.Remove(filepath.Join(h.poolDir(), id.String()))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// pools lists the known pools by name. Files that are not of the registry's are passed over.
func (h host) pools() ([]known, error) {
	entries, err := os.ReadDir(h.poolDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var list []known
	for _, e := range entries {
		id, err := parseUUID(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(h.poolDir(), e.Name()))
		if err != nil {
			return nil, err
		}
		var k known
		if err := json.Unmarshal(b, &k); err != nil || k.UUID != id {
			return nil, fmt.Errorf("%s: is not an entry of the registry", filepath.Join(h.poolDir(), e.Name()))
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b known) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// named finds the known pool of a name. Two pools of one name are an error, none is errUnknownPool.
func (h host) named(name string) (known, error) {
	list, err := h.pools()
	if err != nil {
		return known{}, err
	}
	list = slices.DeleteFunc(list, func(k known) bool { return k.Name != name })
	switch len(list) {
	case 0:
		return known{}, hinted(fmt.Errorf("%s: %w", name, errUnknownPool), "slatefs pool list shows the known ones; a path starts with / or ./")
	case 1:
		return list[0], nil
	}
	return known{}, fmt.Errorf("%d pools are named %s, on %s and %s: give the device", len(list), name, list[0].Device, list[1].Device)
}

var errUnknownPool = errors.New("no pool of that name is known here")
