package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/salvage"
	"slatefs/cmd/slatefs/internal/show"
)

// salvageFlags are how pool salvage was called.
type salvageFlags struct {
	show.Format
	snapshots, scan bool
	catalog         uint64
}

func (a *app) poolSalvageCmd() *cobra.Command {
	var f salvageFlags
	cmd := &cobra.Command{
		Use:   "salvage [-j] [--snapshots] [--scan [--catalog BLOCK]] POOL DIR",
		Short: "Copy the volumes out of a pool that does not open",
		Long: `Copies every volume that can be read into the new directory DIR, as sparse files with the paths they have in the pool; with
--snapshots every snapshot as well, as FILE@NAME. Nothing is written to the pool, which may be damaged: it needs names, layers and
maps, and neither the group table, the metadata store nor erase jobs. It shows what was durable last, or says that it does not.
What cannot be read is zeros in the copy, and told by its ranges.

With both superblocks lost --scan reads the whole device for the catalog. Where it finds more than one it lists them, for --catalog
to choose: a guest's disk may hold one as well. The state is that of some checkpoint then, and what was written since is not in it.

Names are bytes, and are escaped as they are shown: caf\351.raw. A file of which no path is known goes to DIR/lost+found. Copies
belong to who makes them, mode 0600. Exit code 1: not all of it could be copied, or not as it was last.`,
		Example: `  slatefs pool salvage lab /srv/rescue
  slatefs pool salvage --snapshots /dev/vg0/lab /srv/rescue
  slatefs pool salvage --scan ./lab.pool ./rescue
  slatefs pool salvage --scan --catalog 4711 ./lab.pool ./rescue`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("catalog") && !f.scan {
				return show.Usagef("--catalog is for what --scan finds")
			}
			return a.poolSalvage(cmd.Context(), args[0], args[1], f)
		},
	}
	cmd.Flags().BoolVar(&f.snapshots, "snapshots", false, "copy snapshots as well")
	cmd.Flags().BoolVar(&f.scan, "scan", false, "look for the catalog on the whole device: both superblocks are lost")
	cmd.Flags().Uint64Var(&f.catalog, "catalog", 0, "take the catalog at `BLOCK`, one of those that --scan lists")
	f.Flags(cmd, "j")
	return cmd
}

func (a *app) poolSalvage(ctx context.Context, arg, dir string, f salvageFlags) (err error) {
	find, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := find.Pool(arg)
	if err != nil {
		return err
	}
	if ref.Live != nil {
		return show.Hinted(fmt.Errorf("pool %s is mounted on %s", ref.Name, ref.Live.Dir), "copy its files from there, or slatefs umount %s", ref.Live.Dir)
	}
	s, close, err := a.openSalvage(ctx, ref, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, close()) }()
	to, err := salvage.OpenDir(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	var at progressMark
	all, err := slowly(ctx, a, "salvage", at.get, func(ctx context.Context) (salvage.Report, error) {
		return s.Copy(ctx, to, f.snapshots, at.set)
	})
	if printed := a.printSalvage(all, f); printed != nil || err != nil {
		return errors.Join(err, printed)
	}
	if !all.Whole() {
		return show.ErrQuiet
	}
	return nil
}

// openSalvage opens a device for reading, and what is left of the pool on it.
func (a *app) openSalvage(ctx context.Context, ref host.PoolRef, f salvageFlags) (s *salvage.Pool, close func() error, err error) {
	dev, release, err := a.reachReadOnly(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	if !f.scan {
		s, err = salvage.Open(dev)
		if err != nil {
			err = show.Hinted(fmt.Errorf("%s: %w", ref.Device, err), "where both superblocks are lost --scan looks for the catalog on the whole device")
		}
	} else {
		var at progressMark
		s, err = slowly(ctx, a, "scan", at.get, func(ctx context.Context) (*salvage.Pool, error) {
			return salvage.Scan(ctx, dev, f.catalog, at.set)
		})
		var many *salvage.ManyError
		if errors.As(err, &many) {
			err = errors.Join(a.printCatalogs(many), show.Hinted(fmt.Errorf("%s: %w", ref.Device, err), "choose one by --catalog BLOCK"))
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return s, release, nil
}

func (a *app) printCatalogs(many *salvage.ManyError) error {
	var rows [][]string
	for _, c := range many.Found {
		rows = append(rows, []string{
			fmt.Sprint(uint64(c.Block)), fmt.Sprint(c.Volumes), fmt.Sprint(c.Rows), fmt.Sprint(c.Lost), show.FormatTime(c.Changed),
		})
	}
	return (&show.Format{}).Table(a.stdout, show.Columns(">BLOCK >VOLUMES >ROWS >LOST CHANGED"), rows)
}

func (a *app) printSalvage(r salvage.Report, f salvageFlags) error {
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs pool salvage", "salvage", r)
	}
	text := ""
	for _, n := range r.Notes {
		text += show.Printable("note: %s\n", n)
	}
	whole := 0
	for i := range r.Files {
		x := &r.Files[i]
		for _, l := range x.Lost {
			text += show.Printable("lost: %s: bytes %d to %d: %s\n", x.Title(), l.Offset, l.Offset+l.Bytes, l.Error)
		}
		if x.Error != "" {
			text += show.Printable("lost: %s: %s\n", x.Title(), x.Error)
		}
		if x.Whole() {
			whole++
		}
	}
	text += show.Printable("%s: %d of %d files are whole, %s copied, %s lost", strings.TrimSpace("pool "+r.Pool), whole, len(r.Files), show.FormatSize(r.Copied()), show.FormatSize(r.Lost()))
	if !r.Exact {
		text += "; the state is not known to be the last one"
	}
	_, err := io.WriteString(a.stdout, text+"\n")
	return err
}
