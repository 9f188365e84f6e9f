package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// showSize lets the kernel see the size of a volume, or of that of a snapshot, that a command has changed, by a look at
// the file. The kernel can be told to forget what it knew, but asks only for a stat; until then asynchronous reads of who
// has the file open end where it ended before. The daemon must not look at its own mount.
func showSize(l host.Live, o control.Object) {
	file := filepath.Join(l.Dir, o.Path)
	if dir := filepath.Dir(file); filepath.Base(dir) == control.SnapDir {
		file = filepath.Join(filepath.Dir(dir), filepath.Base(file))
	}
	files := []string{file}
	if i := strings.LastIndexByte(file, '@'); i > 0 {
		files = append(files, file[:i])
	}
	for _, file := range files {
		_, _ = os.Stat(file) //nolint:errcheck // what was to be done is done, whatever comes of the look
	}
}

func (a *app) resizeCmd() *cobra.Command {
	var shrink, force, dry bool
	cmd := &cobra.Command{
		Use:   "resize [-n] [--shrink [--force]] FILE [+]S",
		Short: "Change the size of a volume",
		Long: `Makes a volume S bytes long, or S longer with +S. What a volume gains reads as zeros. Shrinking must be asked for; what
is cut off is freed, but for what snapshots hold. While the volume is open for writing (a guest, a loop device, a mounted
file system on one) shrinking is refused, unless forced. refreservation=auto moves with the size.`,
		Example: `  slatefs resize /mnt/lab/vm.raw 40G
  slatefs resize /mnt/lab/vm.raw +8G
  slatefs resize --shrink /mnt/lab/vm.raw 10G`,
		Args: arguments(2, 2),
		RunE: plain(func(ctx context.Context, args []string) error {
			text, grow := strings.CutPrefix(args[1], "+")
			n, err := show.ParseSize(text)
			if err != nil {
				return err
			}
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, o, err := objectAt(f, args[0])
			if err != nil {
				return err
			}
			list, err := control.Resize.Call(ctx, l, control.ResizeArgs{
				Object: o, Size: n, Grow: grow, AllowCut: shrink, Force: force, Dry: dry,
			})
			if err != nil {
				return err
			}
			showSize(l, o)
			return a.printForecasts(list)
		}),
	}
	cmd.Flags().BoolVar(&shrink, "shrink", false, "the new size may be smaller")
	cmd.Flags().BoolVar(&force, "force", false, "shrink even while the volume is open for writing")
	dryFlag(cmd, &dry)
	return cmd
}
