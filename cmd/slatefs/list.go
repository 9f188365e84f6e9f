package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

// listFlags are the flags of list.
type listFlags struct {
	recursive      bool
	depth          depth
	columns, types []string
	sort           []sortKey
	show.Format
}

// depth is a flag of levels below what is named.
type depth struct{ levels *int64 }

// String is the flag's default for help texts, which has none.
func (d *depth) String() string { return "" }

// Type is the flag's word in help texts.
func (d *depth) Type() string { return "DEPTH" }

// Set parses the flag.
func (d *depth) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return errors.New("want a number of levels, as 1")
	}
	d.levels = new(int64(n))
	return nil
}

// sortKey is a column to sort by.
type sortKey struct {
	column string
	down   bool
}

// sortFlag is -s or -S: both add to one list, whose order is that of the command line.
type sortFlag struct {
	keys *[]sortKey
	down bool
}

// String is the flag's default for help texts, which has none.
func (s sortFlag) String() string { return "" }

// Type is the flag's word in help texts.
func (s sortFlag) Type() string { return "COL" }

// Set takes a column.
func (s sortFlag) Set(column string) error {
	*s.keys = append(*s.keys, sortKey{column, s.down})
	return nil
}

const listHelp = `Lists volumes: those in a directory, with -r also below it; a file itself; FILE@NAME a snapshot, DIR@NAME
those of that name in it. Without a PATH, all that is mounted. A pool's own row is named by its mountpoint; directories stand
above what is in them.

Columns, by zfs's names:
  name               path
  type               pool, directory, volume or snapshot
  volsize            size in bytes as a guest sees it
  used               what the volume holds, with its snapshots; of a snapshot, what destroying it alone frees
  available, avail   what can still be written
  referenced, refer  what is visible through its map
  written            written since the last snapshot and still held
  usedbysnapshots, usedsnap
                     what destroying all its snapshots would free
  usedbydataset, usedds
                     what the volume itself refers to; of a directory, what outlived its volume because clones show it
  usedbyrefreservation, usedrefreserv
                     what its refreservation lacks of what is written
  usedbychildren, usedchild
                     of a directory or pool: what is charged by what is in it
                     used is the sum of these four
  refreservation, reservation, quota, refquota
                     the properties (see slatefs set --help); of refreservation=auto, the size
  metapromised       metadata that is promised along with a promise of space
  metadata           what its files, links and attributes take by themselves, with all below it; in no other column, but
                     a directory's quota bounds it together with used
  freeing            freed, and not in an erase job yet
  erasing            freed, and not erased yet
  origin             the snapshot that a clone was made of
  clones             the clones of a snapshot
  userrefs           how many tags hold a snapshot (see slatefs hold --help)
  holds              those tags
  creation           when it was made
  snapshot_count     how many snapshots it has
  id, destroyed, goes
                     of what was destroyed and is kept, because of destroy_delay: its ID for undestroy, when it was
                     destroyed, and when it goes; used is what its end frees

-t destroyed lists that, and nothing else does.

-d 0 lists only what is named, -d 1 what is in it as well, and so on; snapshots are a level below their volume. Of several -s and -S
the first decides, the next where that is equal.`

func (a *app) listCmd() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:     "list [-rHpj] [-d DEPTH] [-o space|COL,…] [-s COL]… [-S COL]… [-t volume|snapshot|directory|destroyed|all] [PATH…]",
		Aliases: []string{"ls"},
		Short:   "List volumes and snapshots",
		Long:    listHelp,
		Example: `  slatefs list
  slatefs list -t snapshot /mnt/lab/vm.raw
  slatefs list -r -o name,used,written -S used /mnt/lab
  slatefs list -Hp -o written /mnt/lab/vm.raw       # for scripts
  slatefs list -o space -r                          # where the space goes, as zfs shows it
  slatefs list -t destroyed lab                     # what undestroy can bring back
  slatefs list -o all -t all                        # every column
  slatefs list -t all -j | jq .`,
		Args: arguments(0, -1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.list(ctx, args, f) }),
	}
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "directories below PATH as well")
	cmd.Flags().StringSliceVarP(&f.columns, "columns", "o", nil,
		"columns, as `COL,…`; name,used,avail,refer,written,volsize without it")
	cmd.Flags().StringSliceVarP(&f.types, "type", "t", nil, "`TYPE` of rows: volume, snapshot, directory, pool, all, or destroyed")
	cmd.Flags().VarP(&f.depth, "depth", "d", "so many levels below PATH")
	cmd.Flags().VarP(sortFlag{&f.sort, false}, "sort", "s", "sort by the column `COL`")
	cmd.Flags().VarP(sortFlag{&f.sort, true}, "sort-descending", "S", "sort by the column `COL`, the greatest first")
	f.Flags(cmd, "Hpj")
	return cmd
}

func (a *app) list(ctx context.Context, paths []string, f listFlags) error {
	cols, types, order, err := f.parse()
	if err != nil {
		return err
	}
	rows, err := a.listRows(ctx, paths, types, f.recursive, f.depth.levels)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, order)
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs list", "rows", rows)
	}
	heads := make([]show.Column, len(cols))
	for i, c := range cols {
		heads[i] = show.Column{Head: strings.ToUpper(c.short), Right: c.number != nil}
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		for _, c := range cols {
			cells[i] = append(cells[i], c.cell(&f.Format, r))
		}
	}
	return f.Table(a.stdout, heads, cells)
}

// parse checks columns, types and order.
func (f *listFlags) parse() (cols []listColumn, types []string, order func(a, b control.Row) int, err error) {
	var names []string
	if types, err = parseTypes(f.types); err != nil {
		return nil, nil, nil, err
	}
	if f.columns == nil {
		f.columns = []string{"name", "used", "avail", "refer", "written", "volsize"}
		if slices.Equal(types, []string{control.TypeDestroyed}) {
			f.columns = []string{"id", "name", "used", "volsize", "destroyed", "goes"}
		}
	}
	for _, name := range f.columns {
		names = append(names, columnSet(name)...)
	}
	for _, name := range names {
		c, err := columnNamed(name)
		if err != nil {
			return nil, nil, nil, err
		}
		cols = append(cols, c)
	}
	var orders []func(a, b control.Row) int
	for _, k := range f.sort {
		c, err := columnNamed(k.column)
		if err != nil {
			return nil, nil, nil, err
		}
		order := c.compare
		if k.down {
			order = func(a, b control.Row) int { return c.compare(b, a) }
		}
		orders = append(orders, order)
	}
	return cols, types, func(a, b control.Row) int {
		for _, o := range orders {
			if c := o(a, b); c != 0 {
				return c
			}
		}
		return 0
	}, nil
}

// parseTypes reads -t; without it, everything but snapshots.
func parseTypes(names []string) ([]string, error) {
	if len(names) == 0 {
		return []string{control.TypePool, control.TypeDirectory, control.TypeVolume}, nil
	}
	var types []string
	for _, n := range names {
		switch strings.TrimSuffix(n, "s") {
		case "all":
			types = append(types, control.TypePool, control.TypeDirectory, control.TypeVolume, control.TypeSnapshot)
		case control.TypePool, control.TypeVolume, control.TypeSnapshot:
			types = append(types, strings.TrimSuffix(n, "s"))
		case control.TypeDirectory, "directorie", "dir":
			types = append(types, control.TypeDirectory)
		case "snap":
			types = append(types, control.TypeSnapshot)
		case "vol":
			types = append(types, control.TypeVolume)
		case control.TypeDestroyed:
			types = append(types, control.TypeDestroyed)
		default:
			return nil, show.Usagef("list: -t %s: want volume, snapshot, directory, pool, destroyed or all", n)
		}
	}
	return types, nil
}

// listRows asks the daemons for rows.
func (a *app) listRows(ctx context.Context, paths, types []string, recursive bool, levels *int64) (rows []control.Row, err error) {
	f, err := a.finder()
	if err != nil {
		return nil, err
	}
	rows = []control.Row{}
	if len(paths) == 0 {
		for _, l := range f.Live {
			if l.Dir == "" {
				continue // it is just starting
			}
			more, err := control.List.Call(ctx, l, control.ListArgs{Types: types, Recursive: true, Levels: levels})
			if err != nil {
				return nil, err
			}
			rows = append(rows, more...)
		}
	}
	for _, p := range paths {
		l, o, err := listedAt(f, p)
		if err != nil {
			return nil, err
		}
		more, err := control.List.Call(ctx, l, control.ListArgs{Objects: []control.Object{o}, Types: types, Recursive: recursive, Levels: levels})
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}
