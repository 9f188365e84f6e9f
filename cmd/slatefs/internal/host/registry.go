package host

import (
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

// Known is a pool that was made or mounted on this host; it need not be there any more.
type Known struct {
	UUID   uuid.UUID `json:"uuid"`
	Name   string    `json:"name"`
	Device string    `json:"device"`     // absolute path
	Dir    string    `json:"mountpoint"` // where it was mounted last; empty: never
}

// PoolDir is where the entries of the known pools lie, each named by the UUID.
func (h Host) PoolDir() string { return filepath.Join(h.State, "pools") }

// Register makes a pool known, or corrects what is known of it, durably. The file is replaced as a whole.
func (h Host) Register(k Known) error {
	if err := os.MkdirAll(h.PoolDir(), 0o755); err != nil {
		return fmt.Errorf("register pool %s: %w", k.Name, err)
	}
	b, err := show.Encode(k)
	if err != nil {
		return err
	}
	if err := WriteWhole(filepath.Join(h.PoolDir(), k.UUID.String()), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("register pool %s: %w", k.Name, err)
	}
	return nil
}

// Forget takes a pool out of the known ones, durably. That it is none is no error.
func (h Host) Forget(id uuid.UUID) error {
	path := filepath.Join(h.PoolDir(), id.String())
	if err := os.Remove(path); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil // there is no entry
		}
		return err
	}
	return SyncDir(h.PoolDir())
}

// Pools lists the known pools by name. Files that are not of the registry's are passed over. unread says of each entry that
// can't be read why: the registry only helps to find pools, so that one bad entry keeps nobody from another pool.
func (h Host) Pools() (list []Known, unread []error) {
	entries, err := os.ReadDir(h.PoolDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		unread = append(unread, err)
	}
	for _, e := range entries {
		id, err := uuid.Parse(e.Name())
		if err != nil {
			continue
		}
		k, err := readKnown(filepath.Join(h.PoolDir(), e.Name()))
		if err == nil && k.UUID != id {
			err = fmt.Errorf("%s: is of another pool, %v", filepath.Join(h.PoolDir(), e.Name()), k.UUID)
		}
		if err != nil {
			if !errors.Is(err, os.ErrNotExist) { // it went meanwhile
				unread = append(unread, err)
			}
			continue
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Known) int { return strings.Compare(a.Name, b.Name) })
	return list, unread
}

// KnownAs is the known pool of a UUID; an error if there is none, or its entry can't be read.
func (h Host) KnownAs(id uuid.UUID) (Known, error) {
	k, err := readKnown(filepath.Join(h.PoolDir(), id.String()))
	if err == nil && k.UUID != id {
		err = fmt.Errorf("%v: is of another pool", id)
	}
	return k, err
}

// maxKnown bounds an entry of the registry, in bytes.
const maxKnown = 1 << 20

// readKnown reads an entry of the registry. What is no plain file is not opened: a FIFO would hold us.
func readKnown(path string) (k Known, err error) {
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
