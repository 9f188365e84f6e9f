package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/show"
)

func (a *app) treeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "tree PATH",
		Short: "Show the layers that volumes are made of",
		Long: `Shows the chain that a volume belongs to: all layers, of clones too, parents before children. A layer without a name is
one that clones still need. For a directory, all chains in it and below.`,
		Example: `  slatefs tree /mnt/lab/vm.raw
  slatefs tree /mnt/lab`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			f, err := a.finder()
			if err != nil {
				return err
			}
			l, o, err := listedAt(f, args[0])
			if err != nil {
				return err
			}
			trees, err := control.Tree.Call(ctx, l, o)
			if err != nil {
				return err
			}
			for _, t := range trees {
				if err := printTree(a.stdout, t); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// printTree draws one chain.
func printTree(w io.Writer, t control.TreeInfo) error {
	d := treeDrawing{layers: map[string]control.Layer{}, owners: map[string]string{}}
	for i, l := range t.Layers {
		d.layers[l.ID], d.owners[l.ID] = l, t.Owners[i]
	}
	for _, l := range t.Layers {
		if _, ok := d.layers[l.Parent]; !ok {
			d.draw(l, "", "")
		}
	}
	_, err := io.WriteString(w, d.b.String())
	return err
}

type treeDrawing struct {
	layers map[string]control.Layer
	owners map[string]string
	b      strings.Builder
}

// draw draws a layer and what is above it. A line of history without branches stays in its column.
func (d *treeDrawing) draw(l control.Layer, lead, rest string) {
	fmt.Fprintf(&d.b, "%s%s  size %s  written %s  refer %s  %s\n", lead, show.Escape(d.title(l)),
		show.FormatSize(l.Size), show.FormatSize(l.Written), show.FormatSize(l.Refer), show.FormatTime(l.Created))
	for i, id := range l.Children {
		switch {
		case len(l.Children) == 1:
			d.draw(d.layers[id], rest, rest)
		case i == len(l.Children)-1:
			d.draw(d.layers[id], rest+"└─ ", rest+"   ")
		default:
			d.draw(d.layers[id], rest+"├─ ", rest+"│  ")
		}
	}
}

// title names a layer as users know it.
func (d *treeDrawing) title(l control.Layer) string {
	owner := d.owners[l.ID]
	if owner == "" {
		owner = "(volume is gone)"
	}
	switch {
	case l.Head:
		return owner
	case l.Nameless:
		return fmt.Sprintf("%s (nameless layer %v)", owner, l.ID)
	}
	return owner + "@" + l.Name
}
