package main

import (
	"context"
	"strings"

	"slatefs/cmd/slatefs/internal/control"

	"github.com/spf13/cobra"
)

func (a *app) renameCmd() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "rename FILE NEWFILE | FILE@OLD NEW | [-r] DIR@OLD NEW",
		Short: "Rename a volume or a snapshot",
		Long: `Gives a volume another name or directory in its pool; its snapshots go with it. mv(1) does the same. An existing NEWFILE
is refused. A snapshot stays with its volume: only its name changes. DIR@OLD means that of all volumes in DIR that have it: all
can have the new name, or none gets it.`,
		Example: `  slatefs rename /mnt/lab/vm.raw /mnt/lab/old/vm.raw
  slatefs rename /mnt/lab/vm.raw@clean installed
  slatefs rename -r /mnt/lab@nightly lastnight      # of every volume of the pool`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error { return a.rename(ctx, args[0], args[1], recursive) }),
	}
	recursiveFlag(cmd, &recursive)
	return cmd
}

func (a *app) rename(ctx context.Context, from, to string, recursive bool) error {
	f, err := a.finder()
	if err != nil {
		return err
	}
	l, o, err := objectAt(f, from)
	if err != nil {
		return err
	}
	// Which of the two it is only the daemon can tell: it gets both meanings of the second argument.
	args := control.RenameArgs{Object: o, Name: snapshotName(from, to), Recursive: recursive}
	if other, n, err := objectAt(f, to); err == nil && other.UUID == l.UUID {
		args.New = n
	}
	_, err = control.Rename.Call(ctx, l, args)
	return err
}

// snapshotName is the new name of a snapshot: NEW, @NEW and FILE@NEW mean the same; empty: to can't be one.
func snapshotName(from, to string) string {
	file, _, _ := control.SplitSnapshot(from)
	name := strings.TrimPrefix(strings.TrimPrefix(to, file), "@")
	if strings.Contains(name, "/") {
		return ""
	}
	return name
}
