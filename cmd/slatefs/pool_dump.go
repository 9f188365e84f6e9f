package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"slatefs/chain"
	"slatefs/cmd/slatefs/internal/control"
	"slatefs/cmd/slatefs/internal/daemon"
	"slatefs/cmd/slatefs/internal/host"
	"slatefs/cmd/slatefs/internal/show"
)

// dumpFlags are how pool dump was called.
type dumpFlags struct {
	json, noMaps bool
	output       string
}

func (a *app) poolDumpCmd() *cobra.Command {
	var f dumpFlags
	cmd := &cobra.Command{
		Use:   "dump [-j [--no-maps] [-o FILE]] POOL",
		Short: "Print what a pool consists of, or all of its metadata as JSON",
		Long: `Prints superblock, space, volumes with their layers, and erase jobs of a pool, for people: that form may change. With -j
all metadata is printed, an object of JSON in each line: superblocks, extents of the metadata store, groups, rows of the catalog, maps,
lists, and the journal. Its field kind says what it is of; docs/recovery.md describes them. It works for a pool that does not open as
well: what cannot be read is a line of kind lost, and the exit code is 1 then. Of a mounted pool a checkpoint is printed that is
taken first, without the journal; nobody waits for that. One that is not mounted is opened read-only.`,
		Example: `  slatefs pool dump lab
  slatefs pool dump -j -o lab.jsonl ./lab.pool
  slatefs pool dump -j --no-maps lab | jq 'select(.of == "layer") | .value.name'`,
		Args: arguments(1, 1),
		RunE: plain(func(ctx context.Context, args []string) error {
			if !f.json && (f.noMaps || f.output != "") {
				return show.Usagef("--no-maps and -o are for -j")
			}
			return a.poolDump(ctx, args[0], f)
		}),
	}
	cmd.Flags().BoolVarP(&f.json, "json", "j", false, "print all metadata, a line of JSON for each thing")
	cmd.Flags().BoolVar(&f.noMaps, "no-maps", false, "leave out where the blocks of layers lie")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "write to the new `FILE`")
	return cmd
}

func (a *app) poolDump(ctx context.Context, arg string, f dumpFlags) error {
	find, err := a.finder()
	if err != nil {
		return err
	}
	ref, err := find.Pool(arg)
	switch {
	case err != nil:
		return err
	case f.json:
		return a.dumpAll(ctx, ref, f)
	case ref.Live != nil:
		text, err := control.Dump.Call(ctx, *ref.Live, control.None{})
		if err != nil {
			return err
		}
		_, err = io.WriteString(a.stdout, text)
		return err
	}
	p, close, err := a.openOffline(ctx, ref)
	if err != nil {
		return show.Hinted(err, "slatefs pool dump -j %s prints what can be read", ref.Device)
	}
	return errors.Join(daemon.Dump(ctx, a.stdout, p), close())
}

// dumpAll prints all metadata.
func (a *app) dumpAll(ctx context.Context, ref host.PoolRef, f dumpFlags) (err error) {
	to := a.stdout
	if f.output != "" {
		file, err := os.OpenFile(f.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		to = file
	}
	w := bufio.NewWriter(to)
	tell := func(text string) error {
		_, err := w.WriteString(text)
		return err
	}
	var lost int
	if ref.Live != nil {
		lost, err = dumpOnline(ctx, *ref.Live, f, tell)
	} else {
		lost, err = a.dumpOffline(ctx, ref, f, tell)
	}
	if err = errors.Join(w.Flush(), err); err != nil || lost == 0 {
		return err
	}
	return fmt.Errorf("%d things cannot be read: lines of kind lost say which", lost)
}

// dumpOnline prints what the daemon tells.
func dumpOnline(ctx context.Context, l host.Live, f dumpFlags, tell func(string) error) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := control.DumpAll.Call(ctx, l, control.DumpArgs{Maps: !f.noMaps}, func(text string) {
		if err := tell(text); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return r.Lost, err
}

// dumpOffline prints what is on a device.
func (a *app) dumpOffline(ctx context.Context, ref host.PoolRef, f dumpFlags, tell func(string) error) (lost int, err error) {
	dev, release, err := a.reachReadOnly(ctx, ref)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	line, flush := daemon.DumpLines(tell)
	lost, err = chain.Dump(ctx, dev, !f.noMaps, line)
	return lost, errors.Join(flush(), err)
}
