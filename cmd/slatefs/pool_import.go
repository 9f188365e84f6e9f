package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// States of pools that were found.
const (
	foundNew   = "new"
	foundMoved = "moved" // it is known, and not where it was
	foundCopy  = "copy"  // it is known, and still where it was
)

// foundPool is a line of pool import.
type foundPool struct {
	Name   string    `json:"name"`
	UUID   uuid.UUID `json:"uuid"`
	Size   int64     `json:"size"`
	State  string    `json:"state"`
	Device string    `json:"device"`
}

// importFlags are the flags of pool import.
type importFlags struct {
	dir   string
	adopt bool
	show.Format
}

func (a *app) poolImportCmd() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [-d DIR] [-Hpj] [[--adopt] NAME|UUID]",
		Short: "Find pools that this host does not know",
		Long: `Lists the pools on block devices, or in the files and devices of a directory, that this host does not know: new ones, those
that were moved from where they were, and copies of one that is still there. With a NAME or UUID that pool is made known, and
can be mounted by its name. A copy is refused: pool reguid makes it a pool of its own, --adopt makes it the one that is known.
Nothing is changed on a device.`,
		Example: `  slatefs pool import
  slatefs pool import -d /srv
  slatefs pool import -d /srv lab`,
		Args: arguments(0, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			list, err := a.findPools(ctx, f.dir)
			switch {
			case err != nil:
				return err
			case len(args) == 1:
				return a.importPool(ctx, list, args[0], f.adopt)
			case f.adopt:
				return show.Usagef("pool import: --adopt wants a NAME or UUID")
			case f.JSON:
				return show.WriteJSON(a.stdout, "slatefs pool import", "pools", list)
			}
			rows := make([][]string, len(list))
			for i, p := range list {
				rows[i] = []string{p.Name, p.UUID.String(), f.Size(p.Size), p.State, p.Device}
			}
			return f.Table(a.stdout, show.Columns("NAME UUID >SIZE STATE DEVICE"), rows)
		}),
	}
	cmd.Flags().StringVarP(&f.dir, "directory", "d", "", "look at the files and devices in `DIR`, not at block devices")
	cmd.Flags().BoolVar(&f.adopt, "adopt", false, "take a copy for the pool, in place of the one that is known")
	f.Flags(cmd, "Hpj")
	return cmd
}

// findPools looks at devices, or what is in a directory, for pools that are not known to lie there. One device is listed once.
func (a *app) findPools(ctx context.Context, dir string) ([]foundPool, error) {
	paths, err := a.candidates(ctx, dir)
	if err != nil {
		return nil, err
	}
	list := []foundPool{}
	seen := map[string]bool{}
	for _, path := range paths {
		id, err := host.Backing(path)
		if err != nil || seen[id] {
			continue
		}
		seen[id] = true
		i, err := host.Peek(path)
		if errors.Is(err, os.ErrPermission) && dir != "" {
			a.warnOnce("passed over: %v", err)
		}
		if err != nil {
			continue // no pool, as far as anybody can tell
		}
		if p := (foundPool{Name: i.Name, UUID: i.UUID, Size: i.Size(), Device: path}); a.unknown(ctx, &p) {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b foundPool) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Device, b.Device))
	})
	return list, nil
}

// unknown tells whether a pool is not known to lie where it was found, and sets its state.
func (a *app) unknown(ctx context.Context, p *foundPool) bool {
	if l, ok := a.host.Live(p.UUID); ok && host.SameDevice(l.Device, p.Device) {
		return false
	}
	k, err := a.host.KnownAs(p.UUID)
	switch {
	case err != nil:
		p.State = foundNew
	case k.Device == p.Device, host.SameDevice(k.Device, p.Device):
		return false
	case a.host.StillThere(ctx, k):
		p.State = foundCopy
	default:
		p.State = foundMoved
	}
	return true
}

// candidates are the paths at which pools may lie. Logical volumes come first, by the names that last.
func (a *app) candidates(ctx context.Context, dir string) (paths []string, err error) {
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
		return paths, err
	}
	lvs, err := host.LVPools(ctx)
	if err != nil {
		a.warnOnce("pools on logical volumes may be missing: %v", err)
	}
	for _, lv := range lvs {
		paths = append(paths, lv.Device)
	}
	f, err := os.Open("/proc/partitions") // whole devices too
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 4 && words[0] != "major" {
			paths = append(paths, "/dev/"+strings.ReplaceAll(words[3], "!", "/"))
		}
	}
	return paths, lines.Err()
}

// importPool makes a pool known that was found.
func (a *app) importPool(ctx context.Context, list []foundPool, which string, adopt bool) error {
	id, idErr := uuid.Parse(which)
	list = slices.DeleteFunc(list, func(p foundPool) bool { return p.Name != which && (idErr != nil || p.UUID != id) })
	switch {
	case len(list) == 0:
		return show.Hinted(fmt.Errorf("%s: no such pool is found that this host does not know", which),
			"slatefs pool import -d DIR looks at the files in DIR")
	case len(list) > 1 && list[0].UUID == list[1].UUID:
		return show.Hinted(fmt.Errorf("pool %s %s lies on %s, and on %s too: one of them is a copy",
			list[0].Name, host.Paren(list[0].UUID), list[0].Device, list[1].Device),
			"slatefs pool reguid %s makes that a pool of its own", list[1].Device)
	case len(list) > 1:
		return fmt.Errorf("%d pools are named %s, on %s and %s: give the UUID, %v or %v", len(list), which,
			list[0].Device, list[1].Device, list[0].UUID, list[1].UUID)
	}
	p := list[0]
	if p.State == foundCopy && !adopt {
		return a.host.CopyOf(ctx, p.UUID, p.Device)
	}
	for _, k := range a.host.KnownPools() {
		if k.Name == p.Name && k.UUID != p.UUID && a.host.StillThere(ctx, k) {
			return show.Hinted(fmt.Errorf("a pool %s is known, on %s", k.Name, k.Device), "slatefs pool rename %s NEWNAME", p.Device)
		}
	}
	k, _ := a.host.KnownAs(p.UUID) //nolint:errcheck // where it was mounted last stays, if that is known
	k.UUID, k.Name, k.Device = p.UUID, p.Name, p.Device
	return a.host.Remember(k)
}
