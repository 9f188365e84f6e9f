package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// propRow is a line of get.
type propRow struct {
	Name     string `json:"name"`
	Property string `json:"property"`
	Value    string `json:"value"`
	Source   string `json:"source"`
}

func (a *app) getCmd() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "get [-Hpj] all|PROP[,PROP]… PATH…",
		Short: "Show properties",
		Long:  "Shows properties, and whether they were set or are the default.\n\nProperties:" + propHelp,
		Example: `  slatefs get erase_throughput /mnt/lab
  slatefs get -Hp all lab`,
		Args: arguments(2, -1),
		RunE: plain(func(ctx context.Context, args []string) error { return a.get(ctx, args[0], args[1:], f) }),
	}
	f.flags(cmd, "Hpj")
	return cmd
}

func (a *app) get(ctx context.Context, props string, paths []string, f format) error {
	keys := strings.Split(props, ",")
	if props == "all" {
		keys = []string{propThroughput}
	}
	for _, k := range keys {
		if err := checkProp(k); err != nil {
			return err
		}
	}
	find, err := a.finder()
	if err != nil {
		return err
	}
	rows := []propRow{}
	for _, path := range paths {
		l, err := find.mountedPool(path)
		if err != nil {
			return err
		}
		for _, k := range keys {
			res, err := call[propResult](ctx, l, opGetProp, propArgs{Key: k})
			if err != nil {
				return err
			}
			r, err := f.propRow(l.Dir, k, res)
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
	}
	if f.json {
		return writeJSON(a.stdout, "slatefs get", "properties", rows)
	}
	cells := make([][]string, len(rows))
	for i, r := range rows {
		cells[i] = []string{r.Name, r.Property, r.Value, r.Source}
	}
	return f.table(a.stdout, parseColumns("NAME PROPERTY VALUE SOURCE"), cells)
}

// propRow prints a value as -p and -j want it.
func (f *format) propRow(name, key string, res propResult) (propRow, error) {
	rate, err := strconv.ParseInt(res.Value, 10, 64)
	if err != nil {
		return propRow{}, err
	}
	r := propRow{name, key, f.rate(rate), "default"}
	if f.json {
		r.Value = res.Value
	}
	if res.Set {
		r.Source = "local"
	}
	return r, nil
}

// rate prints bytes per second; 0, unlimited, has no unit.
func (f *format) rate(n int64) string {
	if n == 0 {
		return "0"
	}
	return f.size(n)
}
