package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// propRow is a line of get. Value is canonical: sizes are numbers of bytes.
type propRow struct {
	Name     string `json:"name"`
	Property string `json:"property"`
	Value    string `json:"value"`
	Source   string `json:"source"`
	bytes    bool
	when     *time.Time // of a value that is a time
}

// getFlags are the flags of get.
type getFlags struct {
	recursive bool
	fields    []string
	show.Format
}

func (a *app) getCmd() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get [-rHpj] [-o FIELD,…] all|PROP[,PROP]… [PATH…]",
		Short: "Show properties",
		Long: `Shows properties of volumes, directories and pools, and where each value comes from: local, inherited from a
directory, kept on this host, or the default. Without a PATH, those of all mounted pools.

Beside them, numbers of what is there, which nobody sets, and whose source is "-", as zfs has them; those are a snapshot's,
too: ` + wrapped(statNames()) + `. What they are slatefs list --help says.

Properties:` + propHelp(everywhere),
		Example: `  slatefs get all /mnt/lab/vm.raw
  slatefs get -r quota,reservation /mnt/lab
  slatefs get -Hp -o value refreservation /mnt/lab/vm.raw    # for scripts`,
		Args: arguments(1, -1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.get(ctx, args[0], args[1:], f) }),
	}
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "what is below PATH as well")
	cmd.Flags().StringSliceVarP(&f.fields, "fields", "o", []string{"name", "property", "value", "source"},
		"columns, as `FIELD,…`: name, property, value, source")
	f.Flags(cmd, "Hpj")
	return cmd
}

func (a *app) get(ctx context.Context, props string, paths []string, f getFlags) error {
	var names []string
	if props != "all" {
		names = strings.Split(props, ",")
	}
	for _, name := range names {
		if _, err := propNamed(name); err != nil && !slices.Contains(statNames(), longName(name)) {
			return err
		}
	}
	for _, field := range f.fields {
		if _, ok := (propRow{}).field(field, &f.Format); !ok {
			return show.Usagef("get: -o %s: want name, property, value or source", field)
		}
	}
	rows, err := a.propRows(ctx, names, paths, f.recursive)
	if err != nil {
		return err
	}
	if f.JSON {
		return show.WriteJSON(a.stdout, "slatefs get", "properties", rows)
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		for _, field := range f.fields {
			cell, _ := r.field(field, &f.Format)
			cells[i] = append(cells[i], cell)
		}
	}
	return f.Table(a.stdout, show.Columns(strings.ToUpper(strings.Join(f.fields, " "))), cells)
}

// propRows asks the daemons.
func (a *app) propRows(ctx context.Context, names, paths []string, recursive bool) ([]propRow, error) {
	find, err := a.finder()
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		for _, l := range find.Live {
			if l.Dir != "" {
				paths = append(paths, l.Dir)
			}
		}
	}
	rows := []propRow{}
	for _, path := range paths {
		l, o, err := listedAt(find, path)
		if err != nil {
			return nil, err
		}
		more, err := propsOf(ctx, l, o, names, recursive)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// propsOf are the properties of an object, and of what is below it: of each first its numbers, then what can be set. No names: all.
func propsOf(ctx context.Context, l host.Live, o control.Object, names []string, recursive bool) (out []propRow, err error) {
	all := len(names) == 0
	stats, settable := divide(names)
	var rows []control.Row
	if len(stats) > 0 {
		args := control.ListArgs{Objects: []control.Object{o}, Recursive: recursive, Types: everyType}
		if !recursive {
			args.Levels = new(int64)
		}
		if rows, err = control.List.Call(ctx, l, args); err != nil {
			return nil, err
		}
	}
	var values []control.PropValue
	snapshots := len(rows) > 0 && rows[0].Type == control.TypeSnapshot // all that they have are numbers
	if len(settable) > 0 || all && !snapshots {
		if values, err = control.Get.Call(ctx, l, control.GetArgs{Object: o, Names: settable, Recursive: recursive}); err != nil {
			return nil, err
		}
	}
	set := map[string][]propRow{}
	for _, v := range values {
		set[v.Name] = append(set[v.Name], propRow{v.Name, v.Property, v.Value, v.Source, v.Bytes, nil})
	}
	for _, r := range rows {
		for _, name := range stats {
			if p, has := statOf(r, name); has || !all {
				out = append(out, p)
			}
		}
		out = append(out, set[r.Name]...)
		delete(set, r.Name)
	}
	for _, v := range values { // of which nobody asked numbers, or that came meanwhile
		out = append(out, set[v.Name]...)
		delete(set, v.Name)
	}
	return out, nil
}

// field is one cell; ok tells whether there is such a field.
func (r propRow) field(name string, f *show.Format) (cell string, ok bool) {
	switch name {
	case "name":
		return r.Name, true
	case "property":
		return r.Property, true
	case "source":
		return r.Source, true
	case "value":
		if r.when != nil {
			return f.Time(*r.when), true
		}
		if n, err := strconv.ParseInt(r.Value, 10, 64); err == nil && r.bytes && (n > 0 || r.Source == noSource) {
			return f.Size(n), true
		}
		return r.Value, true
	}
	return "", false
}
