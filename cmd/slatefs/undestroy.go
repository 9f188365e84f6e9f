package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) undestroyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "undestroy ID POOL [NEWNAME]",
		Short: "Bring back what was destroyed",
		Long: `Brings back what was destroyed and is kept, because the pool's property destroy_delay was set: a volume with its snapshots,
attributes and properties under its name, or a snapshot of a volume. list -t destroyed shows the IDs, and until when each
is kept. If the name is taken it is refused; NEWNAME is another one, or for a volume also another path in the pool.`,
		Example: `  slatefs list -t destroyed lab
  slatefs undestroy 17 lab
  slatefs undestroy 17 lab vm-old.raw               # in the directory where it was
  slatefs undestroy 17 lab /mnt/lab/other/vm.raw`,
		Args: arguments(2, 3),
		RunE: plain(func(ctx context.Context, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return show.Usagef("undestroy: %q is not an ID; list -t destroyed shows them", args[0])
			}
			find, err := a.finder()
			if err != nil {
				return err
			}
			l, err := find.MountedPool(args[1])
			if err != nil {
				return err
			}
			q := control.UndestroyArgs{ID: id}
			if len(args) == 3 {
				if q, err = newName(find, q, l, args[2]); err != nil {
					return err
				}
			}
			_, err = control.Undestroy.Call(ctx, l, q)
			return err
		}),
	}
}

// newName takes a name, or the path of a volume that is to be.
func newName(f *host.Finder, q control.UndestroyArgs, l host.Live, name string) (control.UndestroyArgs, error) {
	if !strings.Contains(name, "/") {
		q.Name = strings.TrimPrefix(name, "@")
		return q, nil
	}
	other, o, err := objectAt(f, name)
	if err == nil && other.UUID != l.UUID {
		err = fmt.Errorf("%s: lies in pool %s, not in %s", name, other.Name, l.Name)
	}
	q.New = &o
	return q, err
}
